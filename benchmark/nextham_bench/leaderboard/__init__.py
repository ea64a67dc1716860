"""The leaderboard: one record a score, ranked within what may be compared."""

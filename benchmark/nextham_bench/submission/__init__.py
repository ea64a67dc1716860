"""Submissions: a card and a prediction store, read as data and never run."""

"""Scores as one HTML page that opens offline."""

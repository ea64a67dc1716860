"""ABACUS: its inputs, runs, logs and matrix files."""

"""Compares Hamiltonian models: scores predictions against a reference dataset and renders the result.

It imports no model and runs nothing of a submission: predictions are data.
"""

"""Datasets, models and benchmarks of DFT Hamiltonians with spin-orbit coupling."""

__version__ = "0.1.0"

"""Pseudopotentials and numerical orbitals: reading UPF and .orb files, and what an element needs."""

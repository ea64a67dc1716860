"""Pseudopotentials and numerical orbitals from published parameters and our own atoms.

``build.build(element)`` runs the chain: GTH parameters (``gth``), spin-orbit strength fitted to an
all-electron Dirac atom (``dirac``, ``spin_orbit``), pseudo-atom (``pseudo_atom``), orbitals that
lift the bands of small crystals least (``crystal``, ``bands``, ``orbitals``), files (``files``).
Hartree and Bohr inside; the files are in Rydberg and Bohr as their formats ask.
"""

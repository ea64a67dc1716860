"""Generalised eigenproblems H(k) c = ε S(k) c in float64, with a stated treatment of near-singular S."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

OVERLAP_FILTER: Final = 1e-6


@dataclasses.dataclass(frozen=True)
class Eigenproblem:
    """Solution at each k.

    Filtered directions leave fewer bands: missing levels are NaN at the end of each row.
    """

    energies: NDArray[np.float64]  # (n_k, n_bands) eV, ascending
    vectors: NDArray[np.complex128] | None  # (n_k, n_basis, n_bands), S-orthonormal columns
    overlap_range: NDArray[np.float64]  # (n_k, 2) smallest and largest eigenvalue of S(k)


def solve(
    hamiltonian: NDArray[np.complex128],
    overlap: NDArray[np.complex128],
    *,
    vectors: bool = False,
    overlap_filter: float = OVERLAP_FILTER,
) -> Eigenproblem:
    """Solve H c = ε S c for stacks of matrices.

    Directions in which the eigenvalue of S is below ``overlap_filter`` (and all where it is not
    positive) are projected out before the problem is solved: they hold no norm, and rounding noise
    divided by that norm is what makes ghost states.

    Args:
        hamiltonian: (n_k, 2n, 2n) spinor matrices, eV.
        overlap: (n_k, 2n, 2n) spinor matrices or (n_k, n, n) matrices that sit on both spin diagonals.
        vectors: whether to return eigenvectors.
        overlap_filter: smallest eigenvalue of S(k) that is kept.
    """
    n_k, n, _ = hamiltonian.shape
    energies = np.full((n_k, n), np.nan)
    found = np.zeros((n_k, n, n), dtype=np.complex128) if vectors else None
    span = np.zeros((n_k, 2))
    for q in range(n_k):
        s, u = scipy.linalg.eigh(overlap[q])
        span[q] = s[0], s[-1]
        keep = s > overlap_filter
        half = u[:, keep] / np.sqrt(s[keep])
        if len(u) * 2 == n:
            half = np.kron(np.eye(2), half)
        reduced = half.conj().T @ hamiltonian[q] @ half
        if found is None:
            level = scipy.linalg.eigh(reduced, eigvals_only=True)
        else:
            level, c = scipy.linalg.eigh(reduced)
            found[q, :, : len(level)] = half @ c
        energies[q, : len(level)] = level
    return Eigenproblem(energies, found, span)

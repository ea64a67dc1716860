"""Generalised eigenproblems H(k) c = ε S(k) c in float64, with a stated treatment of near-singular S."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
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
    s, u = np.linalg.eigh(overlap)
    span = s[:, [0, -1]] if n_k else np.zeros((0, 2))
    energies = np.full((n_k, n), np.nan)
    found = np.zeros((n_k, n, n), dtype=np.complex128) if vectors else None
    kept = s > overlap_filter
    for pattern in np.unique(kept, axis=0):  # nearly always one: nothing is filtered anywhere
        q = np.flatnonzero((kept == pattern).all(axis=1))
        half = u[q][:, :, pattern] / np.sqrt(s[q][:, None, pattern])
        reduced, n_spin = _reduced(hamiltonian[q], half), n // len(u[0])
        m = n_spin * half.shape[-1]
        if found is None:
            energies[q, :m] = np.linalg.eigvalsh(reduced)
            continue
        energies[q, :m], c = np.linalg.eigh(reduced)
        c = c.reshape(len(q), n_spin, half.shape[-1], m)
        found[q, :, :m] = (half[:, None] @ c).reshape(len(q), n, m)
    return Eigenproblem(energies, found, span)


def _reduced(hamiltonian: NDArray[np.complex128], half: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return X† H X, (n_k, m, m), where X is ``half`` on each spin diagonal of H (one or two spins)."""
    n_k, n, m = half.shape
    n_spin = hamiltonian.shape[-1] // n
    blocks = hamiltonian.reshape(n_k, n_spin, n, n_spin, n).swapaxes(2, 3)
    small = half.conj().swapaxes(-1, -2)[:, None, None] @ blocks @ half[:, None, None]
    return np.asarray(small.swapaxes(2, 3).reshape(n_k, n_spin * m, n_spin * m))

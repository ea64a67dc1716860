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
    return Orthogonalised.of(overlap, overlap_filter=overlap_filter).solve(hamiltonian, vectors=vectors)


@dataclasses.dataclass(frozen=True)
class Orthogonalised:
    """Combinations X(k) of orbitals with X† S X = 1, made once for every Hamiltonian that shares an overlap."""

    overlap_range: NDArray[np.float64]  # (n_k, 2) smallest and largest eigenvalue of S(k)
    n: int  # orbitals
    groups: tuple[tuple[slice | NDArray[np.int64], NDArray[np.complex128]], ...]  # which k, and their X (n_q, n, m)

    @classmethod
    def of(cls, overlap: NDArray[np.complex128], *, overlap_filter: float = OVERLAP_FILTER) -> Orthogonalised:
        """Diagonalise (n_k, n, n) overlaps; directions below the filter are left out of X."""
        s, u = np.linalg.eigh(overlap)
        kept = s > overlap_filter
        groups: list[tuple[slice | NDArray[np.int64], NDArray[np.complex128]]] = []
        if kept.all():  # nearly always
            groups.append((slice(None), u / np.sqrt(s[:, None])))
        else:
            for pattern in np.unique(kept, axis=0):
                q = np.flatnonzero((kept == pattern).all(axis=1))
                groups.append((q, u[q][:, :, pattern] / np.sqrt(s[q][:, None, pattern])))
        return cls(s[:, [0, -1]] if len(s) else np.zeros((0, 2)), overlap.shape[-1], tuple(groups))

    def solve(self, hamiltonian: NDArray[np.complex128], *, vectors: bool = False) -> Eigenproblem:
        """Solve for (n_k, n, n) matrices, or for spinor matrices (n_k, 2n, 2n) with S on both spin diagonals."""
        n_k, n_rows, _ = hamiltonian.shape
        n_spin = n_rows // self.n
        blocks = hamiltonian.reshape(n_k, n_spin, self.n, n_spin, self.n).swapaxes(2, 3)
        energies = np.full((n_k, n_rows), np.nan)
        found = np.zeros((n_k, n_rows, n_rows), dtype=np.complex128) if vectors else None
        for q, x in self.groups:
            m = n_spin * x.shape[-1]
            small = reduced(blocks[q], x[:, None, None]).swapaxes(2, 3).reshape(len(x), m, m)
            if found is None:
                energies[q, :m] = np.linalg.eigvalsh(small)
                continue
            energies[q, :m], c = np.linalg.eigh(small)
            c = c.reshape(len(x), n_spin, x.shape[-1], m)
            found[q, :, :m] = (x[:, None] @ c).reshape(len(x), n_rows, m)
        return Eigenproblem(energies, found, self.overlap_range)


def reduced(matrix: NDArray[np.complex128], x: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return X† M X of stacks of matrices."""
    return np.asarray(x.conj().swapaxes(-1, -2) @ matrix @ x)

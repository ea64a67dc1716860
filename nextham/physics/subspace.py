"""Errors in the reference's eigenvectors: what an error of the matrix does to its levels.

C(k) are S-orthonormal eigenvectors of the reference, E(k) the error after the energy shift. The levels up to a cut
above the Fermi level are P, those above are Q. |C† E C| among P moves its levels to first order, between P and Q to
second; S(k) of a large basis is nearly singular, so that a tiny E(R) can be large here.

Arrays and tensors are treated alike: training and the benchmark take the same means.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextham.physics.bands import monkhorst_pack


def low_and_high(
    energies: NDArray[np.float64], fermi_ev: float | None, cut_ev: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which levels belong to P and which to Q, (n_k, n_bands) each; filtered levels (NaN) to neither.

    Args:
        energies: (n_k, n_bands) eV of the reference.
        fermi_ev: Fermi level; without one every level belongs to P.
        cut_ev: P reaches up to this above the Fermi level.
    """
    kept = np.isfinite(energies)
    low = kept if fermi_ev is None else kept & (energies <= fermi_ev + cut_ev)
    return low, kept & ~low


def projected(error: Any, vectors: Any) -> Any:
    """Return C† E C, (n_k, n_bands, n_bands), of Hermitian E (n_k, n, n) and C (n_k, n, n_bands)."""
    return vectors.conj().swapaxes(-1, -2) @ error @ vectors


def k_points(mesh: tuple[int, int, int], offset: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return a mesh moved by an offset, (n_k, 3) fractional: at k without symmetry no two levels are degenerate.

    Eigenvectors of degenerate levels are not unique, and neither would the means be.
    """
    return np.asarray(monkhorst_pack(mesh) + np.array(offset))


def sums(size: Any, low: Any, high: Any) -> tuple[tuple[Any, Any], ...]:
    """Return Σ |C† E C| and how many elements there are: among P, between P and Q, among Q.

    Args:
        size: |C† E C|, (n_k, n_bands, n_bands).
        low: (n_k, n_bands) 1 for the levels of P, 0 for others.
        high: the same of Q.
    """
    rows_low, columns_low = low[:, :, None], low[:, None, :]
    rows_high, columns_high = high[:, :, None], high[:, None, :]
    parts = (rows_low * columns_low, rows_low * columns_high, rows_high * columns_high)
    return tuple(((size * part).sum(), part.sum()) for part in parts)

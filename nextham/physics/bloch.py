"""Bloch sums M(k) = Σ_R exp(+2πi k·R) M(R)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nextham.core import LCAOSystem, SpinLayout
from nextham.core._arrays import offsets

Gauge = Literal["lattice", "atom"]


def bloch_sum(
    system: LCAOSystem, operator: str, k: NDArray[np.float64], *, gauge: Gauge = "lattice"
) -> NDArray[np.complex128]:
    """Return M(k) of each Pauli component of an operator of one structure.

    M_ij(k) = Σ_R exp(+2πi k·R) M_ij(R) in the lattice gauge; in the atom gauge the phase is
    exp(+2πi k·(R + s_j - s_i)) with fractional coordinates s. Eigenvalues agree in both.

    Args:
        system: one structure.
        operator: name of the operator.
        k: (n_k, 3) in units of the reciprocal lattice vectors.
        gauge: what is in the phase.

    Returns:
        (n_k, n_spin_components, n_orb, n_orb), each Hermitian. A time-reversal layout comes out as
        the four components h_0, h_x, h_y, h_z, like a full one.
    """
    if len(system) != 1:
        raise ValueError("a Bloch sum is of one structure; index the system first")
    matrix = system.operator(operator)
    components = _phased(matrix.values, matrix.layout)
    k = np.atleast_2d(np.asarray(k, dtype=np.float64))
    phases = np.exp(2j * np.pi * (k @ _lattice_part(system, gauge).T))  # (n_k, n_pairs)
    phases[:, system.pairs.onsite] = 0.5  # the Hermitian conjugate adds the other half
    ptr = offsets(system.n_orb)
    n = int(ptr[-1])
    total = np.zeros((len(k), len(components), n, n), dtype=np.complex128)
    starts = np.flatnonzero(np.r_[True, np.diff(system.pairs.ij, axis=0).any(axis=1)])
    for begin, end in zip(starts, np.r_[starts[1:], system.pairs.n_pairs], strict=True):
        i, j = system.pairs.ij[begin]
        n_i, n_j = system.n_orb[i], system.n_orb[j]
        numbers = components[:, matrix.block_ptr[begin] : matrix.block_ptr[end]]
        blocks = phases[:, begin:end] @ numbers.reshape(len(components), end - begin, n_i * n_j)
        total[:, :, ptr[i] : ptr[i + 1], ptr[j] : ptr[j + 1]] = np.moveaxis(
            blocks.reshape(len(components), len(k), n_i, n_j), 0, 1
        )
    return total + total.conj().swapaxes(-1, -2)


def spinor_bloch_sum(
    system: LCAOSystem, operator: str, k: NDArray[np.float64], *, gauge: Gauge = "lattice"
) -> NDArray[np.complex128]:
    """Return the spinor matrix M(k) = [[↑↑, ↑↓], [↓↑, ↓↓]], (n_k, 2 n_orb, 2 n_orb), of one structure."""
    m = bloch_sum(system, operator, k, gauge=gauge)
    n_k, n_components, n, _ = m.shape
    out = np.zeros((n_k, 2, n, 2, n), dtype=np.complex128)
    out[:, 0, :, 0] = out[:, 1, :, 1] = m[:, 0]
    if n_components == 4:
        out[:, 0, :, 0] += m[:, 3]
        out[:, 1, :, 1] -= m[:, 3]
        out[:, 0, :, 1] = m[:, 1] - 1j * m[:, 2]
        out[:, 1, :, 0] = m[:, 1] + 1j * m[:, 2]
    return out.reshape(n_k, 2 * n, 2 * n)


def _phased(values: NDArray[Any], layout: SpinLayout) -> NDArray[Any]:
    if layout is not SpinLayout.TIME_REVERSAL:
        return values
    return np.concatenate([values[:1].astype(np.complex128), 1j * values[1:]])


def _lattice_part(system: LCAOSystem, gauge: Gauge) -> NDArray[np.float64]:
    if gauge == "lattice":
        return system.pairs.R.astype(np.float64)
    if gauge == "atom":
        return np.linalg.solve(system.cells[0].T, system.vectors.T).T
    raise ValueError(f"the gauge is 'lattice' or 'atom', not {gauge!r}")

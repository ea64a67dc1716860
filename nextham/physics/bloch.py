"""Bloch sums M(k) = Σ_R exp(+2πi k·R) M(R)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, SpinLayout
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
    return bloch_sums(system, [system.operator(operator)], k, gauge=gauge)[0]


def bloch_sums(
    system: LCAOSystem, matrices: Sequence[BlockMatrix], k: NDArray[np.float64], *, gauge: Gauge = "lattice"
) -> list[NDArray[np.complex128]]:
    """Return M(k) of several operators of one structure, each as :func:`bloch_sum` does.

    The independent real numbers of all operators meet the phases in one product for each pair of atoms.

    Args:
        system: one structure.
        matrices: operators on its pairs.
        k: (n_k, 3) in units of the reciprocal lattice vectors.
        gauge: what is in the phase.
    """
    if len(system) != 1:
        raise ValueError("a Bloch sum is of one structure; index the system first")
    rows = _Rows.of(matrices)
    k = np.atleast_2d(np.asarray(k, dtype=np.float64))
    angles = 2 * np.pi * (k @ _lattice_part(system, gauge).T)  # (n_k, n_pairs)
    phases = np.stack([np.cos(angles), np.sin(angles)])
    phases[:, :, system.pairs.onsite] = np.array([0.5, 0.0])[:, None, None]  # the conjugate adds the other half
    ptr, blocks = offsets(system.n_orb), matrices[0].block_ptr
    n = int(ptr[-1])
    total = np.zeros((len(k), rows.n_components, n, n), dtype=np.complex128)
    starts = np.flatnonzero(np.r_[True, np.diff(system.pairs.ij, axis=0).any(axis=1)])
    for begin, end in zip(starts, np.r_[starts[1:], system.pairs.n_pairs], strict=True):
        i, j = system.pairs.ij[begin]
        n_i, n_j = system.n_orb[i], system.n_orb[j]
        numbers = rows.values[:, blocks[begin] : blocks[end]].reshape(len(rows.values), end - begin, n_i * n_j)
        summed = phases[:, None, :, begin:end] @ numbers  # cos and sin, (2, n_rows, n_k, n_orb_i * n_orb_j)
        block = rows.combined(summed).reshape(len(k), rows.n_components, n_i, n_j)
        at_i, at_j = slice(ptr[i], ptr[i + 1]), slice(ptr[j], ptr[j + 1])
        total[:, :, at_i, at_j] = block
        total[:, :, at_j, at_i] += block.conj().swapaxes(-1, -2)
    return np.split(total, np.cumsum(rows.of_matrix)[:-1], axis=1)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Those real rows of several operators that are not zero, and which Pauli component each is a part of."""

    values: NDArray[np.float64]  # (n_rows, n_values)
    component: list[int]  # (n_rows,) counted through all operators
    imaginary: list[bool]  # (n_rows,)
    of_matrix: list[int]  # how many components each operator has

    @classmethod
    def of(cls, matrices: Sequence[BlockMatrix]) -> _Rows:
        held, component, imaginary = [], [], []
        sizes = [len(matrix.values) for matrix in matrices]
        for first, matrix in zip(offsets(sizes), matrices, strict=False):
            for c, row in enumerate(matrix.values):
                only_imaginary = matrix.layout is SpinLayout.TIME_REVERSAL and c > 0
                parts = [(row.real, only_imaginary)]
                if matrix.layout is SpinLayout.FULL:
                    parts.append((row.imag, True))
                for values, turned in parts:
                    if values.any():
                        held.append(values)
                        component.append(int(first) + c)
                        imaginary.append(turned)
        values = np.stack(held) if held else np.zeros((0, matrices[0].values.shape[1]))
        return cls(values, component, imaginary, sizes)

    @property
    def n_components(self) -> int:
        return sum(self.of_matrix)

    def combined(self, summed: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Return (n_k, n_components, n) from sums with cos and sin, (2, n_rows, n_k, n): i (c + i s) = -s + i c."""
        cos, sin = summed
        _, n_k, n = cos.shape
        out = np.zeros((n_k, self.n_components, n), dtype=np.complex128)
        for row, (c, imaginary) in enumerate(zip(self.component, self.imaginary, strict=True)):
            if imaginary:
                out.real[:, c] -= sin[row]
                out.imag[:, c] += cos[row]
            else:
                out.real[:, c] += cos[row]
                out.imag[:, c] += sin[row]
        return out


def spinor_bloch_sum(
    system: LCAOSystem, operator: str, k: NDArray[np.float64], *, gauge: Gauge = "lattice"
) -> NDArray[np.complex128]:
    """Return the spinor matrix M(k) = [[↑↑, ↑↓], [↓↑, ↓↓]], (n_k, 2 n_orb, 2 n_orb), of one structure."""
    return spinor(bloch_sum(system, operator, k, gauge=gauge))


def spinor(components: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return spinor matrices (n_k, 2n, 2n) of Pauli components (n_k, 1 or 4, n, n)."""
    n_k, n_components, n, _ = components.shape
    out = np.zeros((n_k, 2, n, 2, n), dtype=np.complex128)
    out[:, 0, :, 0] = out[:, 1, :, 1] = components[:, 0]
    if n_components == 4:
        _, x, y, z = components.swapaxes(0, 1)
        out[:, 0, :, 0] += z
        out[:, 1, :, 1] -= z
        np.multiply(y, -1j, out=out[:, 0, :, 1])
        np.multiply(y, 1j, out=out[:, 1, :, 0])
        out[:, 0, :, 1] += x
        out[:, 1, :, 0] += x
    return out.reshape(n_k, 2 * n, 2 * n)


def _lattice_part(system: LCAOSystem, gauge: Gauge) -> NDArray[np.float64]:
    if gauge == "lattice":
        return system.pairs.R.astype(np.float64)
    if gauge == "atom":
        return np.linalg.solve(system.cells[0].T, system.vectors.T).T
    raise ValueError(f"the gauge is 'lattice' or 'atom', not {gauge!r}")

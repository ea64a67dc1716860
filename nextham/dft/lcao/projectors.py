"""The non-local pseudopotential with spin-orbit coupling.

    ⟨φ_i| V_nl |φ_j⟩ = Σ_c Σ_pq ⟨φ_i|β_p⟩ D_pq F_pq ⟨β_q|φ_j⟩,   F = Σ_j projector onto total momentum j

For j = l ± 1/2, F = (l + 1/2 ± (1/2 + L·σ)) / (2l + 1). In real harmonics L is i times a real antisymmetric matrix, so
that V_nl = h_0 + i (h_x σ_x + h_y σ_y + h_z σ_z) with four real matrices: the time-reversal layout.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextham.core import BlockMatrix, PairList
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.neighbours import Bridges, bridges
from nextham.dft.lcao.radial import RadialGrid, orbital_set, projector_set
from nextham.dft.lcao.twocentre import Operator, two_centre
from nextham.dft.species.upf import Pseudopotential

_NOTHING_RY = 1e-10
_ELEMENTS_AT_ONCE = 2**23  # of a batch of products


@cache
def angular_momentum(l: int) -> NDArray[np.float64]:
    """Return Im L_a, (3, 2l + 1, 2l + 1) for a = x, y, z, in real harmonics of house order (L is purely imaginary)."""
    m = np.arange(-l, l + 1)
    raising = np.diag(np.sqrt(l * (l + 1) - m[:-1] * (m[:-1] + 1)), k=-1).astype(np.complex128)
    lowering = raising.conj().T
    operators = [(raising + lowering) / 2, (raising - lowering) / 2j, np.diag(m).astype(np.complex128)]
    to_real = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)  # rows: real harmonics in terms of complex ones
    to_real[l, l] = 1
    for k in range(1, l + 1):
        sign = (-1) ** k
        to_real[l + k, [l - k, l + k]] = np.array([1, sign]) / np.sqrt(2)
        to_real[l - k, [l - k, l + k]] = np.array([1j, -1j * sign]) / np.sqrt(2)
    found: NDArray[np.float64] = np.stack([(to_real.conj() @ op @ to_real.T).imag for op in operators])
    return found


def spinor_coupling(pseudo: Pseudopotential) -> NDArray[np.float64]:
    """Return D_pq F_pq between all projectors with their m, (4, n, n): the parts with 1, i σ_x, i σ_y, i σ_z."""
    starts = np.cumsum([0] + [2 * p.l + 1 for p in pseudo.projectors])
    out = np.zeros((4, starts[-1], starts[-1]))
    for a, p in enumerate(pseudo.projectors):
        for b, q in enumerate(pseudo.projectors):
            if p.l != q.l or abs(p.j - q.j) > 1e-7:
                continue
            block = (slice(starts[a], starts[a + 1]), slice(starts[b], starts[b + 1]))
            strength = pseudo.coupling[a, b] / (2 * p.l + 1)
            upper = p.j > p.l
            out[0][block] = strength * (p.l + upper) * np.eye(2 * p.l + 1)
            for axis, momentum in enumerate(angular_momentum(p.l), start=1):
                out[axis][block] = strength * (1 if upper else -1) * momentum
    return out


def nonlocal_potential(crystal: Crystal, grid: RadialGrid, local: PairList) -> BlockMatrix:
    """Return V_nl in Ry on the union of the local pairs and all pairs that share a projector atom."""
    found = bridges(crystal, local)
    local_keys = found.code.of(local.ij[:, 0], local.ij[:, 1], local.R)
    keys = np.union1d(local_keys, found.keys)
    pairs = found.code.pairs(keys)
    matrix = BlockMatrix(crystal.basis, crystal.numbers, pairs, np.zeros((1, _n_values(crystal, pairs))))
    values = torch.zeros((4, matrix.values.shape[1]), dtype=torch.float64)
    overlaps = _projections(crystal, grid, found)
    place = np.searchsorted(keys, found.keys)  # pair of each bridge
    of_centre = crystal.numbers[found.centre]
    for group in matrix.groups:
        n_i, n_j = group.index.shape[1:]
        total = torch.zeros((len(group.pairs), 4 * n_i * n_j), dtype=torch.float64)
        row = np.full(pairs.n_pairs, -1)
        row[group.pairs] = np.arange(len(group.pairs))
        for z in crystal.elements:
            chosen = np.flatnonzero((of_centre == z) & (row[place] >= 0))
            coupling = torch.from_numpy(spinor_coupling(crystal.species[z].pseudo))
            _add_bridges(total, overlaps, coupling, _rows(found, chosen), row[place[chosen]])
        index = torch.from_numpy(group.index.reshape(len(group.pairs), -1))
        for s in range(4):
            values[s, index] = total[:, s * n_i * n_j : (s + 1) * n_i * n_j]
    return _without_nothing(matrix.with_values(values.numpy()), np.isin(keys, local_keys))


def _without_nothing(matrix: BlockMatrix, local: NDArray[np.bool_]) -> BlockMatrix:
    """Drop the pairs that do not overlap (``local``, (n_pairs,)) and hold nothing above what ABACUS writes."""
    largest = np.maximum.reduceat(np.abs(matrix.values).max(axis=0), matrix.block_ptr[:-1])
    keep = local | (largest > _NOTHING_RY)
    pairs = PairList(matrix.pairs.ij[keep], matrix.pairs.R[keep], np.array([0, int(keep.sum())]))
    return matrix.on(pairs)


def _n_values(crystal: Crystal, pairs: PairList) -> int:
    return int((crystal.n_orb[pairs.ij[:, 0]] * crystal.n_orb[pairs.ij[:, 1]]).sum())


def _rows(found: Bridges, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return found.first[chosen], found.second[chosen]


class _Projections:
    """⟨φ_i|β_c⟩ of every row of ``Bridges.reaching``, grouped by the two elements."""

    def __init__(self, n: int) -> None:
        self._place = np.zeros(n, dtype=np.int64)
        self._group = np.zeros(n, dtype=np.int64)
        self._blocks: list[Tensor] = []  # (n_rows, n_orb, n_projectors)

    def add(self, rows: NDArray[np.int64], blocks: Tensor) -> None:
        self._place[rows] = np.arange(len(rows))
        self._group[rows] = len(self._blocks)
        self._blocks.append(blocks)

    def of(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return the blocks of one group and where rows, all of that group, stand in it."""
        return self._blocks[int(self._group[rows[0]])], torch.from_numpy(self._place[rows])


def _projections(crystal: Crystal, grid: RadialGrid, found: Bridges) -> _Projections:
    centre, atom = found.reaching.ij.T
    out = _Projections(len(centre))
    for z_c in crystal.elements:
        for z_i in crystal.elements:
            rows = np.flatnonzero((crystal.numbers[centre] == z_c) & (crystal.numbers[atom] == z_i))
            if len(rows):
                first = orbital_set(grid, crystal.species[z_i])
                second = projector_set(grid, crystal.species[z_c])
                integrals = two_centre(grid, first, second, Operator.OVERLAP)
                out.add(rows, integrals(-found.reaching.vectors[rows]))
    return out


def _add_bridges(
    total: Tensor,
    overlaps: _Projections,
    coupling: Tensor,
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    place: NDArray[np.int64],
) -> None:
    """Add ⟨φ_i|β⟩ D ⟨β|φ_j⟩ of bridges between two elements through a third to the blocks at ``place``."""
    if not len(place):
        return
    left, at_i = overlaps.of(rows[0])
    right, at_j = overlaps.of(rows[1])
    n_i, n_j, n_p = left.shape[1], right.shape[1], coupling.shape[1]
    dressed = torch.einsum("spq,noq->npso", coupling, right).reshape(len(right), n_p, 4 * n_j)
    step = max(1, _ELEMENTS_AT_ONCE // (4 * n_j * max(n_i, n_p)))
    target = torch.from_numpy(place)
    for begin in range(0, len(place), step):
        part = slice(begin, begin + step)
        block = torch.bmm(left[at_i[part]], dressed[at_j[part]])  # (n, n_i, 4 n_j)
        block = block.view(-1, n_i, 4, n_j).transpose(1, 2).reshape(-1, 4 * n_i * n_j)
        total.index_add_(0, target[part], block)

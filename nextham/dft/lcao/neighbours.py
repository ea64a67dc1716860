"""Which orbitals meet: pairs within reach of each other, and pairs that share a projector."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nextham.core import PairList
from nextham.core.pairs import is_canonical
from nextham.dft.lcao.crystal import Crystal

Ints = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """Directed pairs (i, j, R) with d = x_j + R·cell - x_i, sorted by i; the pair of an atom with itself is in."""

    ij: Ints  # (n, 2)
    R: Ints  # (n, 3)
    vectors: NDArray[np.float64]  # (n, 3) Bohr


def neighbours(crystal: Crystal, first: NDArray[np.float64], second: NDArray[np.float64]) -> Neighbours:
    """Return all pairs with |d| < first_i + second_j, for radii (n_atoms,) in Bohr."""
    from vesin import NeighborList

    reach = float(first.max() + second.max()) * (1 + 1e-9)
    i, j, R = NeighborList(cutoff=reach, full_list=True).compute(
        points=crystal.positions, box=crystal.cell, periodic=True, quantities="ijS"
    )
    atoms = np.arange(crystal.n_atoms)
    ij = np.concatenate([np.stack([atoms, atoms], axis=1), np.stack([i, j], axis=1).astype(np.int64)])
    cells = np.concatenate([np.zeros((len(atoms), 3), dtype=np.int64), np.asarray(R).astype(np.int64).reshape(-1, 3)])
    d = crystal.vectors(ij, cells)
    keep = np.linalg.norm(d, axis=1) < first[ij[:, 0]] + second[ij[:, 1]]
    order = np.flatnonzero(keep)[np.lexsort((*cells[keep].T[::-1], *ij[keep].T[::-1]))]
    return Neighbours(ij[order], cells[order], d[order])


class PairKeys:
    """One integer per pair (i, j, R), ascending in the order of a pair list."""

    def __init__(self, n_atoms: int, reach: Ints) -> None:
        """Args: n_atoms; reach: (3,) largest |R| along each axis."""
        self._n, self._reach = n_atoms, np.asarray(reach, dtype=np.int64)
        self._box = 2 * self._reach + 1

    def of(self, i: Ints, j: Ints, R: Ints) -> Ints:
        """Return the keys of pairs; -1 where R is out of reach."""
        near = (np.abs(R) <= self._reach).all(axis=-1)
        u = R + self._reach
        cell = (u[..., 0] * self._box[1] + u[..., 1]) * self._box[2] + u[..., 2]
        keys: Ints = np.where(near, (i * self._n + j) * int(self._box.prod()) + cell, -1)
        return keys

    def pairs(self, keys: Ints) -> PairList:
        """Return the pair list of ascending keys."""
        ij, cell = np.divmod(keys, int(self._box.prod()))
        R = np.stack(np.unravel_index(cell, tuple(self._box)), axis=1) - self._reach
        return PairList(np.stack(np.divmod(ij, self._n), axis=1), R, np.array([0, len(keys)]))


class PairFinder:
    """Finds where pairs stand in a pair list."""

    def __init__(self, pairs: PairList, n_atoms: int) -> None:
        reach = np.abs(pairs.R).max(axis=0, initial=0)
        self._code = PairKeys(n_atoms, reach)
        self._keys = self._code.of(pairs.ij[:, 0], pairs.ij[:, 1], pairs.R)

    def __call__(self, i: Ints, j: Ints, R: Ints) -> Ints:
        """Return the places of canonical pairs, -1 where the list has none."""
        wanted = self._code.of(i, j, R)
        where = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[where] == wanted, where, -1)


def local_pairs(crystal: Crystal) -> PairList:
    """Return the pairs whose orbitals overlap: |d| < r_i + r_j."""
    found = neighbours(crystal, crystal.orbital_cutoffs, crystal.orbital_cutoffs)
    keep = is_canonical(found.ij, found.R)
    return PairList(found.ij[keep], found.R[keep], np.array([0, int(keep.sum())]))


@dataclasses.dataclass(frozen=True, eq=False)
class Bridges:
    """Pairs of orbitals that reach one projector atom: what the non-local potential couples."""

    reaching: Neighbours  # (projector atom c, orbital atom i, R)
    first: Ints  # (n_bridges,) row of ``reaching`` with atom i
    second: Ints  # (n_bridges,) row with atom j
    keys: Ints  # (n_bridges,) PairKeys of the pair (i, j, R_j - R_i), canonical
    code: PairKeys

    @cached_property
    def centre(self) -> Ints:
        """Projector atom of each bridge."""
        atoms: Ints = self.reaching.ij[self.first, 0]
        return atoms


def bridges(crystal: Crystal, local: PairList) -> Bridges:
    """Return all bridges; keys also reach the local pairs."""
    found = neighbours(crystal, crystal.projector_cutoffs, crystal.orbital_cutoffs)
    has_any = crystal.projector_cutoffs[found.ij[:, 0]] > 0
    found = Neighbours(found.ij[has_any], found.R[has_any], found.vectors[has_any])
    ptr = np.searchsorted(found.ij[:, 0], np.arange(crystal.n_atoms + 1))
    first, second = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for begin, end in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        a, b = np.meshgrid(np.arange(begin, end), np.arange(begin, end), indexing="ij")
        ij = np.stack([found.ij[a.ravel(), 1], found.ij[b.ravel(), 1]], axis=1)
        keep = is_canonical(ij, found.R[b.ravel()] - found.R[a.ravel()])
        first.append(a.ravel()[keep])
        second.append(b.ravel()[keep])
    one, two = np.concatenate(first), np.concatenate(second)
    R = found.R[two] - found.R[one]
    reach = np.maximum(np.abs(R).max(axis=0, initial=0), np.abs(local.R).max(axis=0, initial=0))
    code = PairKeys(crystal.n_atoms, reach)
    return Bridges(found, one, two, code.of(found.ij[one, 1], found.ij[two, 1], R), code)

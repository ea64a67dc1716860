"""PairList: which hopping blocks exist."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nextham.core._arrays import frozen, offsets
from nextham.exceptions import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class PairList:
    """Pairs (i, j, R) of one or more structures: i in the home cell, j in cell R.

    Only one of (i, j, R) and (j, i, -R) is listed, the other is its Hermitian conjugate: i < j with
    any R, or i = j with R not lexicographically negative. On-site is (i, i, 0). Pairs of a structure
    are sorted by i, j, R; i and j count the atoms of all structures.

    >>> PairList([[0, 0], [0, 1]], [[0, 0, 0], [0, -1, 0]], [0, 2])
    PairList(2 pairs, 1 structure)
    """

    ij: NDArray[np.int64]  # (n_pairs, 2) atoms
    R: NDArray[np.int64]  # (n_pairs, 3) cells
    pair_ptr: NDArray[np.int64]  # (n_structures + 1,) pairs of structure k: ptr[k]:ptr[k+1]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ij", frozen(np.asarray(self.ij).reshape(-1, 2), np.int64))
        object.__setattr__(self, "R", frozen(np.asarray(self.R).reshape(-1, 3), np.int64))
        object.__setattr__(self, "pair_ptr", frozen(self.pair_ptr, np.int64))
        rising = self.pair_ptr[0] == 0 and (np.diff(self.pair_ptr) >= 0).all()
        if len(self.ij) != len(self.R) or not rising or self.pair_ptr[-1] != len(self.ij):
            raise InputError("a pair list needs as many (i, j) as R, and pointers from 0 to the number of pairs")
        if not is_canonical(self.ij, self.R).all():
            raise InputError("a pair list holds only pairs with i < j, or i = j and R >= 0 (lexicographically)")
        keys = np.column_stack([np.repeat(np.arange(len(self)), np.diff(self.pair_ptr)), self.ij, self.R])
        if len(keys) > 1 and not _strictly_ascending(keys).all():
            raise InputError("the pairs of a pair list must be sorted by i, j, R, each once")

    @classmethod
    def of_one(cls, ij: ArrayLike, R: ArrayLike) -> PairList:
        """Build the pair list of one structure from canonical pairs in any order, each at least once."""
        keys = np.unique(np.column_stack([np.reshape(ij, (-1, 2)), np.reshape(R, (-1, 3))]).astype(np.int64), axis=0)
        return cls(keys[:, :2], keys[:, 2:], np.array([0, len(keys)]))

    @classmethod
    def concat(cls, lists: Sequence[PairList], n_atoms: Sequence[int]) -> PairList:
        """Put the pairs of several systems end to end; ``n_atoms`` of each shifts i and j."""
        shift = offsets(n_atoms)
        starts = offsets([len(p.ij) for p in lists])
        return cls(
            np.concatenate([p.ij + s for p, s in zip(lists, shift, strict=False)]),
            np.concatenate([p.R for p in lists]),
            np.concatenate([[0], *(p.pair_ptr[1:] + s for p, s in zip(lists, starts, strict=False))]),
        )

    @property
    def n_pairs(self) -> int:
        """Number of listed pairs (each off-site one stands for two blocks)."""
        return len(self.ij)

    @cached_property
    def onsite(self) -> NDArray[np.bool_]:
        """True for (i, i, 0), shape (n_pairs,)."""
        return frozen((self.ij[:, 0] == self.ij[:, 1]) & ~self.R.any(axis=1), np.bool_)

    @cached_property
    def multiplicity(self) -> NDArray[np.int64]:
        """How many blocks of the full matrix each pair stands for: 1 on-site, 2 otherwise."""
        return frozen(np.where(self.onsite, 1, 2), np.int64)

    def index_of(self, other: PairList) -> NDArray[np.int64]:
        """Return where each pair of ``other`` stands in this list, -1 where it does not (one structure each)."""
        mine, theirs = _keys(self), _keys(other)
        _, inverse = np.unique(np.concatenate([mine, theirs]), axis=0, return_inverse=True)
        inverse = inverse.reshape(-1)
        where = np.full(len(inverse), -1, dtype=np.int64)
        where[inverse[: len(mine)]] = np.arange(len(mine))
        return where[inverse[len(mine) :]]

    def union(self, other: PairList) -> PairList:
        """Return the pairs in either list (one structure each)."""
        if other == self:
            return self
        keys = np.concatenate([_keys(self), _keys(other)])
        return PairList.of_one(keys[:, :2], keys[:, 2:])

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.pair_ptr) - 1

    def __getitem__(self, k: int) -> PairList:
        """Pairs of structure k, with i and j still counting the atoms of all structures."""
        rows = slice(self.pair_ptr[k], self.pair_ptr[k + 1])
        return PairList(self.ij[rows], self.R[rows], np.array([0, self.pair_ptr[k + 1] - self.pair_ptr[k]]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PairList):
            return NotImplemented
        return all(np.array_equal(getattr(self, f), getattr(other, f)) for f in ("ij", "R", "pair_ptr"))

    def __repr__(self) -> str:
        return f"PairList({self.n_pairs} pairs, {len(self)} structure{'s' * (len(self) != 1)})"


def is_canonical(ij: NDArray[np.int64], R: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the pairs (n, 2), (n, 3) a pair list would hold (the others are conjugates)."""
    first = np.where(R[:, 0] != 0, R[:, 0], np.where(R[:, 1] != 0, R[:, 1], R[:, 2]))
    upper: NDArray[np.bool_] = (ij[:, 0] < ij[:, 1]) | ((ij[:, 0] == ij[:, 1]) & (first >= 0))
    return upper


def _keys(pairs: PairList) -> NDArray[np.int64]:
    if len(pairs) != 1:
        raise ValueError("pairs can be matched between single structures only")
    return np.column_stack([pairs.ij, pairs.R])


def _strictly_ascending(keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    step = np.diff(keys, axis=0)
    first = np.argmax(step != 0, axis=1)
    rising: NDArray[np.bool_] = step[np.arange(len(step)), first] > 0
    return rising

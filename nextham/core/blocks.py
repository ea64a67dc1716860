"""BlockMatrix: one operator as hopping blocks H_ij(R)."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextham.core._arrays import frozen, offsets
from nextham.core.orbitals import OrbitalBasis
from nextham.core.pairs import PairList
from nextham.exceptions import InputError


class SpinLayout(StrEnum):
    """Which Pauli components of H = h_0 σ_0 + h·σ an array holds, and how.

    SCALAR: real h_0 alone (overlap, or a correction without magnetism).
    TIME_REVERSAL: four real rows Re h_0, Im h_x, Im h_y, Im h_z; the other parts vanish by symmetry.
    FULL: four complex rows h_0, h_x, h_y, h_z.
    """

    SCALAR = "scalar"
    TIME_REVERSAL = "time-reversal"
    FULL = "full"

    @classmethod
    def of(cls, values: NDArray[Any]) -> SpinLayout:
        """Tell the layout of values (n_spin_components, n_values) from their shape and type."""
        known = {(1, False): cls.SCALAR, (4, False): cls.TIME_REVERSAL, (4, True): cls.FULL}
        key = (values.shape[0] if values.ndim == 2 else -1, np.iscomplexobj(values))
        if key not in known:
            raise InputError(f"operator values must be (1, n) or (4, n) real or (4, n) complex, not {values.shape}")
        return known[key]


@dataclasses.dataclass(frozen=True)
class BlockGroup:
    """Pairs whose blocks have equal shape because their elements are equal."""

    elements: tuple[int, int]  # atomic numbers of i and j
    pairs: NDArray[np.int64]  # (n,) which pairs
    index: NDArray[np.int64]  # (n, n_orb_i, n_orb_j) where their numbers stand in the values


@dataclasses.dataclass(frozen=True, eq=False)
class BlockMatrix:
    """One operator of one or more structures: blocks of all pairs, row-major, end to end.

    Hermitian by construction: the block of (j, i, -R) is the conjugate transpose of that of (i, j, R).

    >>> basis, pairs = OrbitalBasis({1: (0,)}), PairList([[0, 0]], [[0, 0, 0]], [0, 1])
    >>> h = BlockMatrix(basis, np.array([1]), pairs, np.array([[-13.6]]))
    >>> h
    BlockMatrix(scalar, 1 pairs, 1 values, H:1s)
    >>> (h - h).block(0)
    array([[[0.]]])
    """

    basis: OrbitalBasis
    numbers: NDArray[np.int64]  # (n_atoms,)
    pairs: PairList
    values: NDArray[Any]  # (n_spin_components, n_values) eV, float64 or complex128

    def __post_init__(self) -> None:
        kind = np.complex128 if np.iscomplexobj(self.values) else np.float64
        object.__setattr__(self, "numbers", frozen(self.numbers, np.int64))
        object.__setattr__(self, "values", frozen(self.values, kind))
        if SpinLayout.of(self.values) and self.values.shape[1] != self.block_ptr[-1]:
            raise InputError(
                f"the basis and pairs need {self.block_ptr[-1]} values per spin component, not {self.values.shape[1]}"
            )

    @property
    def layout(self) -> SpinLayout:
        """Which Pauli components the values hold."""
        return SpinLayout.of(self.values)

    @cached_property
    def block_ptr(self) -> NDArray[np.int64]:
        """Where each block starts in the values, shape (n_pairs + 1,)."""
        return block_offsets(self.basis, self.numbers, self.pairs)

    def block(self, pair: int) -> NDArray[Any]:
        """Return the block of one pair, (n_spin_components, n_orb_i, n_orb_j)."""
        n_i, n_j = self.basis.n_orb_of(self.numbers[self.pairs.ij[pair]])
        start, stop = self.block_ptr[pair], self.block_ptr[pair + 1]
        return self.values[:, start:stop].reshape(-1, n_i, n_j)

    @cached_property
    def groups(self) -> tuple[BlockGroup, ...]:
        """Pairs grouped by their two elements, so that equal shapes are handled in one array."""
        zz = self.numbers[self.pairs.ij]
        unique, inverse = np.unique(zz, axis=0, return_inverse=True)
        found = []
        for g, (z_i, z_j) in enumerate(unique.tolist()):
            rows = np.flatnonzero(inverse.reshape(-1) == g)
            shape = (self.basis.n_orb(z_i), self.basis.n_orb(z_j))
            index = self.block_ptr[rows][:, None] + np.arange(shape[0] * shape[1])
            found.append(BlockGroup((z_i, z_j), rows, index.reshape(-1, *shape)))
        return tuple(found)

    @cached_property
    def pair_of_value(self) -> NDArray[np.int64]:
        """Which pair each value belongs to, shape (n_values,)."""
        return np.repeat(np.arange(self.pairs.n_pairs), np.diff(self.block_ptr))

    @cached_property
    def support(self) -> NDArray[np.bool_]:
        """Which pairs have any non-zero value, shape (n_pairs,)."""
        if not self.pairs.n_pairs:
            return np.zeros(0, dtype=bool)
        return np.asarray(np.logical_or.reduceat((self.values != 0).any(axis=0), self.block_ptr[:-1]))

    def with_layout(self, layout: SpinLayout) -> BlockMatrix:
        """Return the same operator in an equally or more general spin layout (exact)."""
        return self.with_values(widened(self.values, layout))

    def with_values(self, values: NDArray[Any]) -> BlockMatrix:
        """Return the same pairs and basis with other values."""
        return dataclasses.replace(self, values=values)

    def on(self, pairs: PairList) -> BlockMatrix:
        """Return the operator on another pair list of the same single structure; missing blocks are zero."""
        if pairs == self.pairs:
            return self
        where = self.pairs.index_of(pairs)
        out_ptr = block_offsets(self.basis, self.numbers, pairs)
        lengths = np.diff(out_ptr)
        held = np.repeat(where >= 0, lengths)
        source = np.repeat(self.block_ptr[where] - out_ptr[:-1], lengths) + np.arange(out_ptr[-1])
        values = np.zeros((len(self.values), int(out_ptr[-1])), dtype=self.values.dtype)
        values[:, held] = self.values[:, source[held]]
        return BlockMatrix(self.basis, self.numbers, pairs, values)

    def __add__(self, other: BlockMatrix) -> BlockMatrix:
        a, b = self._matched(other)
        return self.with_values(a + b)

    def __sub__(self, other: BlockMatrix) -> BlockMatrix:
        a, b = self._matched(other)
        return self.with_values(a - b)

    def __mul__(self, factor: float) -> BlockMatrix:
        return self.with_values(self.values * factor)

    __rmul__ = __mul__

    def _matched(self, other: BlockMatrix) -> tuple[NDArray[Any], NDArray[Any]]:
        if self.pairs != other.pairs or self.basis != other.basis:
            raise ValueError("two operators combine only on the same pairs and basis; use .on(pairs)")
        layout = most_general(self.layout, other.layout)
        return widened(self.values, layout), widened(other.values, layout)

    def __repr__(self) -> str:
        return f"BlockMatrix({self.layout}, {self.pairs.n_pairs} pairs, {self.values.shape[1]} values, {self.basis})"


def block_offsets(basis: OrbitalBasis, numbers: NDArray[np.int64], pairs: PairList) -> NDArray[np.int64]:
    """Return where each block starts, (n_pairs + 1,): it follows from basis and pairs and is never stored."""
    n_orb = basis.n_orb_of(numbers)
    return offsets(n_orb[pairs.ij[:, 0]] * n_orb[pairs.ij[:, 1]])


def most_general(*layouts: SpinLayout) -> SpinLayout:
    """Return the layout that can hold all of these."""
    order = list(SpinLayout)
    return max(layouts, key=order.index)


def widened(values: NDArray[Any], layout: SpinLayout) -> NDArray[Any]:
    """Return values (n_spin_components, n_values) in an equally or more general layout.

    Raises:
        ValueError: if the layout holds less than the values do.
    """
    own = SpinLayout.of(values)
    if own is layout:
        return values
    if most_general(own, layout) is not layout:
        raise ValueError(f"{own} values do not fit the {layout} layout")
    out = np.zeros((4, values.shape[1]), dtype=np.complex128 if layout is SpinLayout.FULL else np.float64)
    out[0] = values[0]
    if own is SpinLayout.TIME_REVERSAL:
        out[1:] = 1j * values[1:]
    return out

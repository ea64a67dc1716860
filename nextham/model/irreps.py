"""Blocks of two shells as irreps, and irreps in the frame of an edge.

House harmonics (m = -l..l, p = (y, z, x)) equal e3nn's of the vector (y, z, x), so e3nn's Wigner 3j
symbols apply unchanged.
"""

from __future__ import annotations

import dataclasses
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import torch
from e3nn.o3 import wigner_3j
from numpy.typing import NDArray


class Irrep(NamedTuple):
    """Degree and parity; natural means parity (-1)^l, as of Y_l."""

    l: int
    parity: int

    @property
    def natural(self) -> bool:
        """Whether it transforms like Y_l under inversion."""
        return bool(self.parity == (-1) ** self.l)

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.parity == 1 else 'o'}"


class Path(NamedTuple):
    """One irrep in the block of two shells, which count within their atoms."""

    irrep: Irrep
    shell_i: int
    shell_j: int
    sign: int  # of the irrep when the block is transposed


@cache
def clebsch_gordan(l_i: int, l_j: int, l: int) -> NDArray[np.float64]:
    """Return C (2l + 1, 2l_i + 1, 2l_j + 1), rows orthonormal, with C of (l_j, l_i) its exact transpose."""
    if l_i > l_j:
        return np.ascontiguousarray(clebsch_gordan(l_j, l_i, l).swapaxes(1, 2))
    symbol = wigner_3j(l_i, l_j, l, dtype=torch.float64).numpy()
    return np.ascontiguousarray(np.sqrt(2 * l + 1) * np.moveaxis(symbol, 2, 0))


@dataclasses.dataclass(frozen=True, eq=False)
class BlockIrreps:
    """How a whole block of two elements splits into irreps; ordered by irrep, then shells."""

    paths: tuple[Path, ...]
    transform: NDArray[np.float64]  # (n_orb_i n_orb_j, n_orb_i n_orb_j): irreps = transform @ block, orthogonal

    @cached_property
    def path_of_component(self) -> NDArray[np.int64]:
        """Which path each row of the transform belongs to."""
        return np.repeat(np.arange(len(self.paths)), [2 * p.irrep.l + 1 for p in self.paths])

    @cached_property
    def segments(self) -> tuple[tuple[Irrep, slice, slice], ...]:
        """Each irrep with the rows and the paths that carry it."""
        found, row = [], 0
        kinds = [p.irrep for p in self.paths]
        for irrep in sorted(set(kinds)):
            first, n = kinds.index(irrep), kinds.count(irrep)
            rows = n * (2 * irrep.l + 1)
            found.append((irrep, slice(row, row + rows), slice(first, first + n)))
            row += rows
        return tuple(found)


@cache
def block_irreps(shells_i: tuple[int, ...], shells_j: tuple[int, ...]) -> BlockIrreps:
    """Return how the block of two atoms with these shells (the l of each) splits into irreps.

    l_i ⊗ l_j = ⊕ L with parity (-1)^(l_i + l_j), L = |l_i - l_j| .. l_i + l_j. A transposed block has
    the same irreps, with the sign (-1)^L where l_i = l_j.
    """
    paths = sorted(
        Path(Irrep(l, (-1) ** (l_i + l_j)), s_i, s_j, (-1) ** l if l_i == l_j else 1)
        for s_i, l_i in enumerate(shells_i)
        for s_j, l_j in enumerate(shells_j)
        for l in range(abs(l_i - l_j), l_i + l_j + 1)
    )
    start_i = np.cumsum([0, *(2 * l + 1 for l in shells_i)])
    start_j = np.cumsum([0, *(2 * l + 1 for l in shells_j)])
    transform = np.zeros((start_i[-1] * start_j[-1], start_i[-1], start_j[-1]))
    row = 0
    for irrep, s_i, s_j, _ in paths:
        n = 2 * irrep.l + 1
        block = clebsch_gordan(shells_i[s_i], shells_j[s_j], irrep.l)
        transform[row : row + n, start_i[s_i] : start_i[s_i + 1], start_j[s_j] : start_j[s_j + 1]] = block
        row += n
    return BlockIrreps(tuple(paths), transform.reshape(row, row))


def wigner_matrices(vectors: NDArray[np.float64], lmax: int) -> list[NDArray[np.float64]]:
    """Return D_l (n, 2l + 1, 2l + 1), l = 0..lmax, of a rotation that takes z to each vector (n, 3).

    D_(l+1) = C (D_l ⊗ D_1) Cᵀ: exact to rounding for every direction. Which of the rotations is
    taken does not matter to maps that commute with O(2) about z.
    """
    pieces = [_wigner_matrices(vectors[k : k + _AT_ONCE], lmax) for k in range(0, max(1, len(vectors)), _AT_ONCE)]
    return [np.concatenate(each) for each in zip(*pieces, strict=True)]


def _wigner_matrices(vectors: NDArray[np.float64], lmax: int) -> list[NDArray[np.float64]]:
    z = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    helper = np.eye(3)[np.argmin(np.abs(z), axis=1)]
    x = helper - (helper * z).sum(axis=1, keepdims=True) * z
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    turn = np.stack([x, np.cross(z, x), z], axis=2)
    order = [1, 2, 0]  # p = (y, z, x)
    first = turn[:, order][:, :, order]
    matrices = [np.ones((len(z), 1, 1)), first]
    for l in range(1, lmax):
        c = clebsch_gordan(l, 1, l + 1)
        half = np.einsum("Aab,nac->nAcb", c, matrices[-1])
        half = np.einsum("nAcb,nbd->nAcd", half, first)
        matrices.append(np.einsum("nAcd,Bcd->nAB", half, c))
    return matrices[: lmax + 1]


_AT_ONCE = 8192  # edges: the products on the way hold three times the numbers of what they give


@dataclasses.dataclass(frozen=True)
class Hidden:
    """The hidden irreps, each with equally many channels: natural to lmax, unnatural to lmax - 1.

    Features are (n, dim, channels). In a global frame the irreps stand one after the other, by l.
    In an edge's frame (z along the edge) they are sorted by |m| into components that are even and odd
    under the mirror y -> -y, so that O(2)-equivariant maps are plain matrices.
    """

    lmax: int

    @cached_property
    def irreps(self) -> tuple[Irrep, ...]:
        """All hidden irreps, by l, the natural one first."""
        both = [(l, sign) for l in range(self.lmax + 1) for sign in ((1, -1) if 0 < l < self.lmax else (1,))]
        return tuple(Irrep(l, sign * (-1) ** l) for l, sign in both)

    @cached_property
    def slices(self) -> dict[Irrep, slice]:
        """Where each irrep's components stand in the global frame."""
        ends = np.cumsum([2 * i.l + 1 for i in self.irreps])
        return {i: slice(int(e) - 2 * i.l - 1, int(e)) for i, e in zip(self.irreps, ends, strict=True)}

    @property
    def dim(self) -> int:
        """Number of components."""
        return sum(2 * i.l + 1 for i in self.irreps)

    @cached_property
    def irrep_of(self) -> NDArray[np.int64]:
        """Index of the irrep of each component, global frame."""
        return np.repeat(np.arange(len(self.irreps)), [2 * i.l + 1 for i in self.irreps])

    @cached_property
    def edge_irrep_of(self) -> NDArray[np.int64]:
        """Index of the irrep of each component, edge frame."""
        return self.irrep_of[self.edge_order[0]]

    @cached_property
    def orders(self) -> tuple[tuple[int, int], ...]:
        """Sizes (copies, irreps) of each piece of the edge frame: m = 0 natural, m = 0 unnatural, m = 1..lmax."""
        zero = [sum(i.natural == kind for i in self.irreps) for kind in (True, False)]
        rest = [(2, sum(i.l >= m for i in self.irreps)) for m in range(1, self.lmax + 1)]
        return tuple((c, n) for c, n in [(1, zero[0]), (1, zero[1]), *rest] if n)

    def alive(self, stage: int) -> tuple[bool, ...]:
        """Return which pieces of the edge frame may hold anything.

        What is made of elements and distances alone has m = 0 and is natural (stage 0). One block later
        nodes have natural irreps of their neighbourhood, which seen from another edge lack m = 0 unnatural
        (stage 1); from then on there is everything (stage 2), as there is from the start where H0 is read.
        """
        return tuple(stage >= 2 or k == 0 or (stage == 1 and n[0] == 2) for k, n in enumerate(self.orders))

    @cached_property
    def edge_order(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Global component and sign of each component in the edge frame.

        For m > 0 the pair (even, odd) is (f_m, f_-m) of a natural irrep and (f_-m, -f_m) of an
        unnatural one; both turn by the same 2 x 2 matrix about z.
        """
        index: list[int] = []
        sign: list[float] = []
        for kind in (True, False):
            index += [self.slices[i].start + i.l for i in self.irreps if i.natural == kind]
        sign += [1.0] * len(index)
        for m in range(1, self.lmax + 1):
            held = [i for i in self.irreps if i.l >= m]
            index += [self.slices[i].start + i.l + (m if i.natural else -m) for i in held]
            sign += [1.0] * len(held)
            index += [self.slices[i].start + i.l + (-m if i.natural else m) for i in held]
            sign += [1.0 if i.natural else -1.0 for i in held]
        return np.array(index), np.array(sign)

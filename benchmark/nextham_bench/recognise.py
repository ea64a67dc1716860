"""Recognise a prediction that is right in another unit, orbital order, sign or spin order, and name what it is in.

A transformed reference is tried against the prediction. It is only believed where the two are nearly parallel and the
reference as it stands is not.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, OrbitalBasis, SpinLayout
from nextham.core.blocks import most_general, widened
from nextham.exceptions import InputError
from nextham.units import HARTREE_EV, RYDBERG_EV

LIKENESS: Final = 0.98  # least cosine between a prediction and a transformed reference before it is believed
_BETTER: Final = 10.0  # and how many times nearer to 1 it must be than that of the reference as it stands
_SUSPECT: Final = 0.9  # below this cosine of predicted and true correction, conventions are tried
_DIGITS: Final = 9  # of cosines; they are equal beyond
_FACTOR_TOLERANCE: Final = 0.02
_SAMPLE: Final = 16  # strongest off-site pairs that conventions are tried on
_EARLY: Final = 10  # structures after which what most have in common is told
UNITS: Final = {
    "in Rydberg (1/13.6 of the reference)": 1 / RYDBERG_EV,
    "in Hartree (1/27.2 of the reference)": 1 / HARTREE_EV,
    "13.6 times the reference, converted from Rydberg twice": RYDBERG_EV,
    "27.2 times the reference, converted from Hartree twice": HARTREE_EV,
    "in meV (1000 times the reference)": 1000.0,
}
ADVICE: Final = "stores hold eV, in the order and signs of docs/conventions.md"


@dataclasses.dataclass(frozen=True)
class Suspicion:
    """What a prediction looks like, where that is not what it should be."""

    unit: str | None = None  # a key of UNITS
    convention: str | None = None  # in words


def suspicion(reference: LCAOSystem, prediction: BlockMatrix, products: Sequence[Sequence[float]]) -> Suspicion:
    """Return what is suspicious about a prediction.

    Args:
        reference: one structure with overlap, h0 and hamiltonian.
        prediction: predicted Hamiltonian on the same pairs.
        products: inner products of the errors of zero, h0 and the prediction, each after its best energy shift.
    """
    if unit := unit_of(products):
        return Suspicion(unit=unit)
    likeness, _ = _likeness(*_of_correction(products))
    if likeness is None or likeness >= _SUSPECT:
        return Suspicion()
    overlap, h0, h = (reference.operator(name) for name in ("overlap", "h0", "hamiltonian"))
    for true, predicted in ((h, prediction), (h - h0, prediction - h0)):
        if found := convention_of(true, predicted, overlap=overlap):
            return Suspicion(convention=found)
    return Suspicion()


def unit_of(products: Sequence[Sequence[float]]) -> str | None:
    """Return the unit that a prediction seems to be in if it is not eV.

    Both the Hamiltonian and the correction are tried, so that a wrong correction on a right H0 is seen too. A
    factor counts only where prediction and reference are otherwise nearly parallel.
    """
    for sizes in (_of_hamiltonian(products), _of_correction(products)):
        likeness, scale = _likeness(*sizes)
        if likeness is None or likeness < LIKENESS:
            continue
        if name := _unit_named(scale):
            return name
    return None


def factor_of(true: BlockMatrix, found: BlockMatrix) -> str | None:
    """Return the unit that a matrix on the same pairs seems to be in if it is not the reference's."""
    layout = most_general(true.layout, found.layout)
    x, y = (widened(matrix.values, layout).ravel() for matrix in (true, found))
    likeness, scale = _likeness(*(float(np.vdot(u, v).real) for u, v in ((y, y), (y, x), (x, x))))
    return _unit_named(scale) if likeness is not None and likeness >= LIKENESS else None


def _unit_named(scale: float) -> str | None:
    close = (name for name, factor in UNITS.items() if abs(scale / factor - 1) < _FACTOR_TOLERANCE)
    return next(close, None)


def _of_hamiltonian(products: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Return <P, P>, <P, H>, <H, H> without their shifts: H is minus the error of zero, P that of the model plus H."""
    (zz, _, zm), _, (_, _, mm) = products
    return mm - 2 * zm + zz, zz - zm, zz


def _of_correction(products: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Return the same of P - H0 and H - H0."""
    _, (_, hh, hm), (_, _, mm) = products
    return mm - 2 * hm + hh, hh - hm, hh


def _likeness(pp: float, pt: float, tt: float) -> tuple[float | None, float]:
    """Return cosine and ratio of two matrices from their inner products; no cosine where one of them is zero."""
    if min(pp, tt) <= 1e-24 * max(pp, tt, 1e-300):
        return None, 0.0
    return pt / float(np.sqrt(pp * tt)), pt / tt


def check_suspicions(found: Sequence[Suspicion], n_wanted: int) -> None:
    """Refuse predictions of which most look like the reference in one other unit or convention.

    Args:
        found: of the structures so far.
        n_wanted: how many there will be.

    Raises:
        InputError: naming it.
    """
    if len(found) < min(_EARLY, n_wanted):
        return
    for kind in ("unit", "convention"):
        (name, n), *_ = Counter(getattr(one, kind) for one in found).most_common(1)
        if name is not None and 2 * n > len(found):
            raise InputError(f"the prediction is {name} in {n} of {len(found)} structures; {ADVICE}")


def convention_of(true: BlockMatrix, found: BlockMatrix, *, overlap: BlockMatrix | None = None) -> str | None:
    """Return in which convention a matrix would be the reference's, None where it is in the house's or in none known.

    Args:
        true: the reference's matrix.
        found: a matrix on the same pairs.
        overlap: what the two may differ by a multiple of.
    """
    sample = _strongest(true)
    if not len(sample):
        return None
    matrices = [matrix.with_layout(SpinLayout.FULL) for matrix in (true, overlap) if matrix is not None]
    wanted = _flat(_blocks([found.with_layout(SpinLayout.FULL)], sample))[0]
    elements = true.numbers[true.pairs.ij[sample]]
    plain, spinful = _cosine(_blocks(matrices, sample), wanted), true.layout is not SpinLayout.SCALAR
    turned = (
        (_cosine(blocks, wanted), (orbital, place), blocks)
        for place, moved in _places(matrices, sample)
        for orbital, blocks in _turned(true.basis, elements, moved)
    )
    best, names, blocks = max(turned, key=lambda candidate: round(candidate[0], _DIGITS))  # of equals, the first
    spins = ((_cosine(done, wanted), spin) for spin, done in _spins(blocks, spinful=spinful))
    best, spin = max(spins, key=lambda candidate: round(candidate[0], _DIGITS))
    name = " and ".join(word for word in (names[0], spin, names[1]) if word)
    return name if name and best >= LIKENESS and (1 - plain) > _BETTER * (1 - best) else None


_Blocks = list[NDArray[Any]]  # of each pair: (n_matrices, 4, n_orb_i, n_orb_j) complex Pauli components


def _strongest(matrix: BlockMatrix) -> NDArray[np.int64]:
    """Return the off-site pairs with the largest blocks; on site, cubic crystals look alike in any order."""
    size = np.add.reduceat((np.abs(matrix.values) ** 2).sum(axis=0), matrix.block_ptr[:-1])
    size[matrix.pairs.onsite] = 0
    order = np.argsort(-size, kind="stable")[:_SAMPLE]
    return order[size[order] > 0]


def _blocks(matrices: list[BlockMatrix], pairs: NDArray[np.int64]) -> _Blocks:
    return [np.stack([matrix.block(int(pair)) for matrix in matrices]) for pair in pairs]


def _flat(blocks: _Blocks) -> NDArray[Any]:
    return np.concatenate([block.reshape(len(block), -1) for block in blocks], axis=1)


def _cosine(blocks: _Blocks, wanted: NDArray[Any]) -> float:
    """Return how parallel two samples are once multiples of the overlap, if there is one, are taken out of both."""
    mine, *overlap = _flat(blocks)
    for s in overlap:
        norm = np.vdot(s, s).real
        mine, wanted = (x - np.vdot(s, x).real / norm * s if norm else x for x in (mine, wanted))
    size = float(np.linalg.norm(mine) * np.linalg.norm(wanted))
    return float(np.vdot(mine, wanted).real) / size if size else 0.0


def _places(matrices: list[BlockMatrix], sample: NDArray[np.int64]) -> Iterator[tuple[str, _Blocks]]:
    """Yield the blocks as they stand, those of the opposite cell, and read column by column."""
    blocks = _blocks(matrices, sample)
    yield "", blocks
    pairs = matrices[0].pairs
    where = {(*ij, *R): p for p, (ij, R) in enumerate(zip(pairs.ij.tolist(), pairs.R.tolist(), strict=True))}
    opposite = []
    for pair, block in zip(sample, blocks, strict=True):
        (i, j), R = pairs.ij[pair].tolist(), (-pairs.R[pair]).tolist()
        other = where.get((i, j, *R))
        if i == j:
            opposite.append(block.conj().swapaxes(-1, -2))
        else:
            opposite.append(np.zeros_like(block) if other is None else _blocks(matrices, np.array([other]))[0])
    yield "with R of the opposite sign", opposite
    yield "with blocks column by column", [block.swapaxes(-1, -2).reshape(block.shape) for block in blocks]


def _turned(basis: OrbitalBasis, elements: NDArray[np.int64], blocks: _Blocks) -> Iterator[tuple[str, _Blocks]]:
    """Yield the blocks in each orbital convention."""
    yield "", blocks
    for name, order in ORBITALS.items():
        maps = {z: _element_map(basis.shells(z), order) for z in {int(z) for z in elements.ravel()}}
        turned = []
        for (z_i, z_j), block in zip(elements.tolist(), blocks, strict=True):
            (index_i, sign_i), (index_j, sign_j) = maps[z_i], maps[z_j]
            turned.append(block[..., index_i[:, None], index_j] * (sign_i[:, None] * sign_j))
        yield name, turned


def _spins(blocks: _Blocks, *, spinful: bool) -> Iterator[tuple[str, _Blocks]]:
    """Yield the blocks in each convention of spin."""
    yield "", blocks
    for name, signs in SPINS.items() if spinful else ():
        factor = np.array(signs)[:, None, None]
        yield name, [factor * block for block in blocks]


def _element_map(
    shells: tuple[int, ...], order: Callable[[int], list[tuple[int, int]]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which house orbital stands at each place of a convention, and its sign."""
    index, sign, start = [], [], 0
    for l in shells:
        index += [start + l + m for m, _ in order(l)]
        sign += [s for _, s in order(l)]
        start += 2 * l + 1
    return np.array(index), np.array(sign, dtype=np.float64)


def _ascending(l: int) -> list[int]:
    return list(range(-l, l + 1))


def _alternating(l: int) -> list[int]:
    return [0, *(sign * m for m in range(1, l + 1) for sign in (1, -1))]


def _openmx(l: int) -> list[int]:
    return {1: [1, -1, 0], 2: [0, 2, -2, 1, -1], 3: [0, 1, -1, 2, -2, 3, -3]}.get(l, _alternating(l))


def _parity(m: int) -> int:
    return -1 if m % 2 else 1


# Each m of a shell in the convention's order, with the sign of its function against the house's.
ORBITALS: Final[dict[str, Callable[[int], list[tuple[int, int]]]]] = {
    "in ABACUS's orbital order and signs (m = 0, 1, -1, 2, -2, times (-1)^m)": (
        lambda l: [(m, _parity(m)) for m in _alternating(l)]
    ),
    "in the orbital order m = 0, 1, -1, 2, -2 (p as z, x, y; ABACUS without its signs, Wannier90)": (
        lambda l: [(m, 1) for m in _alternating(l)]
    ),
    "with Condon-Shortley signs (-1)^m (SIESTA)": lambda l: [(m, _parity(m)) for m in _ascending(l)],
    "with signs (-1)^m for m > 0 (FHI-aims)": lambda l: [(m, _parity(max(m, 0))) for m in _ascending(l)],
    "with p as x, y, z (PySCF)": lambda l: [(m, 1) for m in ((1, -1, 0) if l == 1 else _ascending(l))],
    "in OpenMX's orbital order (p as x, y, z; d as 3z²-1, x²-y², xy, xz, yz)": lambda l: [(m, 1) for m in _openmx(l)],
    "with m from l down to -l": lambda l: [(m, 1) for m in reversed(_ascending(l))],
}
# Signs of h_0, h_x, h_y, h_z against the house's.
SPINS: Final = {
    "with spin down before spin up": (1, 1, -1, -1),
    "with σ_y of the opposite sign (↑↓ and ↓↑ exchanged)": (1, 1, -1, 1),
    "with h_z of the opposite sign": (1, 1, 1, -1),
    "with the whole spin vector of the opposite sign": (1, -1, -1, -1),
}

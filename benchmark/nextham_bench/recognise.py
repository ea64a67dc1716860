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
from nextham.physics.align import aligned
from nextham.units import HARTREE_EV, RYDBERG_EV

LIKENESS: Final = 0.98  # least cosine between a prediction and a transformed reference before it is believed
_BETTER: Final = 10.0  # and how many times nearer to 1 it must be than that of the reference as it stands
_SUSPECT: Final = 0.9  # below this cosine of predicted and true correction, conventions are tried
_FACTOR_TOLERANCE: Final = 0.02
_SAMPLE: Final = 64  # strongest off-site pairs that conventions are tried on
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
        found = convention_of(aligned(true, overlap)[0], aligned(predicted, overlap)[0])
        if found:
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


def convention_of(true: BlockMatrix, found: BlockMatrix) -> str | None:
    """Return in which convention a matrix would be the reference's, None where it is in the house's or in none known.

    Args:
        true: the reference's matrix.
        found: a matrix on the same pairs.
    """
    sample = _strongest(true)
    if not len(sample):
        return None
    mine, theirs = (_blocks(matrix, sample) for matrix in (true, found))
    wanted = _flat(theirs)
    best: tuple[float, str | None] = (_cosine(_flat(mine), wanted), None)
    plain = best[0]
    spinful = len(wanted) > 0 and true.layout is not SpinLayout.SCALAR
    for place, moved in _places(true, sample, mine):
        for orbital, turned in _turned(true.basis, true.numbers[true.pairs.ij[sample]], moved):
            for spin, done in _spins(turned) if spinful else (("", turned),):
                cosine = _cosine(_flat(done), wanted)
                if cosine > best[0] + 1e-9:
                    best = (cosine, " and ".join(name for name in (orbital, spin, place) if name))
    cosine, name = best
    return name if name and cosine >= LIKENESS and (1 - plain) > _BETTER * (1 - cosine) else None


_Blocks = list[NDArray[Any]]  # (4, n_orb_i, n_orb_j) complex, of each pair


def _strongest(matrix: BlockMatrix) -> NDArray[np.int64]:
    """Return the off-site pairs with the largest blocks; on site, cubic crystals look alike in any order."""
    size = np.add.reduceat((np.abs(matrix.values) ** 2).sum(axis=0), matrix.block_ptr[:-1])
    size[matrix.pairs.onsite] = 0
    order = np.argsort(-size, kind="stable")[:_SAMPLE]
    return order[size[order] > 0]


def _blocks(matrix: BlockMatrix, sample: NDArray[np.int64]) -> _Blocks:
    full = matrix.with_values(widened(matrix.values, SpinLayout.FULL))
    return [full.block(int(pair)) for pair in sample]


def _flat(blocks: _Blocks) -> NDArray[Any]:
    return np.concatenate([block.ravel() for block in blocks])


def _cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b).real) / norm if norm else 0.0


def _places(matrix: BlockMatrix, sample: NDArray[np.int64], blocks: _Blocks) -> Iterator[tuple[str, _Blocks]]:
    """Yield the blocks as they stand, from the opposite cell, and read column by column."""
    yield "", blocks
    ij, R = matrix.pairs.ij, matrix.pairs.R
    where = {(*pair, *cell): p for p, (pair, cell) in enumerate(zip(ij.tolist(), R.tolist(), strict=True))}
    full = matrix.with_values(widened(matrix.values, SpinLayout.FULL))
    opposite: _Blocks = []
    for pair, block in zip(sample.tolist(), blocks, strict=True):
        i, j = ij[pair].tolist()
        if i == j:
            opposite.append(block.conj().swapaxes(-1, -2))
            continue
        other = where.get((i, j, *(-R[pair]).tolist()))
        opposite.append(np.zeros_like(block) if other is None else full.block(other))
    yield "with R of the opposite sign", opposite
    yield (
        "with blocks column by column",
        [block.swapaxes(-1, -2).reshape(len(block), *block.shape[1:]) for block in blocks],
    )


def _turned(basis: OrbitalBasis, elements: NDArray[np.int64], blocks: _Blocks) -> Iterator[tuple[str, _Blocks]]:
    """Yield the blocks in each orbital convention."""
    yield "", blocks
    for name, order in ORBITALS.items():
        maps = {z: _element_map(basis.shells(z), order) for z in {int(z) for z in elements.ravel()}}
        turned = []
        for (z_i, z_j), block in zip(elements.tolist(), blocks, strict=True):
            (index_i, sign_i), (index_j, sign_j) = maps[z_i], maps[z_j]
            turned.append(block[:, index_i[:, None], index_j] * (sign_i[:, None] * sign_j))
        yield name, turned


def _spins(blocks: _Blocks) -> Iterator[tuple[str, _Blocks]]:
    yield "", blocks
    for name, signs in SPINS.items():
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

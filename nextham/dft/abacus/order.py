"""Orbital order and sign: where ABACUS's rows go in house order, and back.

Inside a shell ABACUS lists m = 0, +1, -1, +2, -2, ... and its functions of m ≠ 0 carry an extra (-1)^m against the
house's real harmonics (source: source_base/ylm.cpp). Spin is its fastest index: row 2μ + s, s = 0 up, 1 down.
"""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nextham.core import OrbitalBasis


@dataclasses.dataclass(frozen=True)
class RowMap:
    """For each spatial orbital μ in ABACUS's order: its atom, its place there in house order, and the sign."""

    atom: NDArray[np.int64]  # (n_orb,)
    place: NDArray[np.int64]  # (n_orb,)
    sign: NDArray[np.float64]  # (n_orb,) +1 or -1


def abacus_m(l: int) -> tuple[int, ...]:
    """Return the m of a shell in ABACUS's order.

    >>> abacus_m(2)
    (0, 1, -1, 2, -2)
    """
    return (0, *(sign * m for m in range(1, l + 1) for sign in (1, -1)))


def row_map(basis: OrbitalBasis, numbers: NDArray[np.int64]) -> RowMap:
    """Return where the orbitals of atoms, in ABACUS's order, go in house order."""
    parts = [_element_map(basis.shells(int(z))) for z in numbers]
    counts = [len(place) for place, _ in parts]
    return RowMap(
        np.repeat(np.arange(len(numbers)), counts),
        np.concatenate([place for place, _ in parts]),
        np.concatenate([sign for _, sign in parts]),
    )


@cache
def _element_map(shells: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    places, signs, start = [], [], 0
    for l in shells:
        m = np.array(abacus_m(l))
        places.append(start + l + m)
        signs.append(np.where(m % 2 == 0, 1.0, -1.0))
        start += 2 * l + 1
    return np.concatenate(places), np.concatenate(signs)

"""Orbital orders of other formats: which m stands where in a shell, and with what sign."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.dft.abacus.order import abacus_m


@dataclasses.dataclass(frozen=True)
class Placed:
    """Where a format has the orbitals of an atom: house orbital a is its orbital ``index[a]`` times ``sign[a]``."""

    index: NDArray[np.int64]  # (n_orb,)
    sign: NDArray[np.float64]  # (n_orb,) +1 or -1

    @property
    def inverse(self) -> Placed:
        """Where house order has the orbitals of the format."""
        back = np.argsort(self.index)
        return Placed(back, self.sign[back])


@dataclasses.dataclass(frozen=True)
class Order:
    """The order of a format inside its shells."""

    m: Callable[[int], tuple[int, ...]]  # the m of a shell of l, in its order
    sign: Callable[[int], int] = lambda m: 1  # of the function of m against ours

    def of(self, shells: Sequence[int]) -> Placed:
        """Return where the orbitals of an atom stand.

        Args:
            shells: l of each shell in the format's own order; those of one l are in the order of zeta.
        """
        starts = np.cumsum([0, *(2 * l + 1 for l in shells)])
        index, sign = [], []
        for shell in sorted(range(len(shells)), key=lambda k: shells[k]):  # stable: zeta stays in order
            l = shells[shell]
            index += [int(starts[shell]) + self.m(l).index(m) for m in range(-l, l + 1)]
            sign += [float(self.sign(m)) for m in range(-l, l + 1)]
        return Placed(np.array(index, dtype=np.int64), np.array(sign))


def openmx_m(l: int) -> tuple[int, ...]:
    """Return the m of a shell in OpenMX's order: p is x, y, z; d is 3z²-1, x²-y², xy, xz, yz; f from m = 0 outwards.

    >>> openmx_m(1), openmx_m(2), openmx_m(3)
    ((1, -1, 0), (0, 2, -2, 1, -1), (0, 1, -1, 2, -2, 3, -3))
    """
    return {1: (1, -1, 0), 2: (0, 2, -2, 1, -1)}.get(l, abacus_m(l))


def house_m(l: int) -> tuple[int, ...]:
    """Return the m of a shell in house order.

    >>> house_m(1)
    (-1, 0, 1)
    """
    return tuple(range(-l, l + 1))


OPENMX: Final = Order(openmx_m)  # DeepH-pack, and the files of the published NextHAM
HOUSE: Final = Order(house_m)  # the newer DeepH folders
ABACUS: Final = Order(abacus_m, lambda m: -1 if m % 2 else 1)  # ABACUS, pyatb, HamGNN's data of ABACUS

"""What a network can name."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nextham.core import LCAOSystem, OrbitalBasis, symbol
from nextham.exceptions import InputError
from nextham.model.components import COMPONENTS


class Kind(NamedTuple):
    """What paths with one set of weights share: spin ⊗ (l_i ⊗ l_j -> l) -> total, of one component."""

    component: int
    l_i: int
    l_j: int
    l: int
    total: int


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What the network can name: elements, their shells, and the kinds of path."""

    basis: OrbitalBasis
    target: str = "spin-scalar"

    @cached_property
    def elements(self) -> dict[int, int]:
        """Row of each atomic number in the element embedding."""
        return {z: k for k, z in enumerate(self.basis)}

    @cached_property
    def shells(self) -> dict[int, int]:
        """Row of the first shell of each atomic number in a shell embedding."""
        counts = np.cumsum([0, *(len(self.basis.shells(z)) for z in self.basis)])
        return {z: int(counts[k]) for k, z in enumerate(self.basis)}

    @property
    def n_shells(self) -> int:
        """Number of shells of all elements together."""
        return sum(len(self.basis.shells(z)) for z in self.basis)

    @cached_property
    def kinds(self) -> dict[Kind, int]:
        """Row of each kind of path."""
        ls = sorted({l for z in self.basis for l in self.basis.shells(z)})
        names = [
            Kind(k, i, j, l, total)
            for k, component in enumerate(COMPONENTS[self.target])
            for i in ls
            for j in ls
            for l in range(abs(i - j), i + j + 1)
            for total in range(abs(l - component.rank), l + component.rank + 1)
        ]
        return {name: k for k, name in enumerate(names)}

    def check(self, system: LCAOSystem) -> None:
        """Raise InputError unless every element has the shells that the network knows."""
        for z in system.basis:
            if z not in self.basis:
                known = ", ".join(symbol(e) for e in self.basis)
                raise InputError(
                    f"{_owner(system, z)} contains {symbol(z)}, which the model was not trained on ({known})"
                )
            if system.basis.shells(z) != self.basis.shells(z):
                raise InputError(
                    f"{_owner(system, z)} has {system.basis.label(z)} orbitals on {symbol(z)}, "
                    f"but the model was trained with {self.basis.label(z)}"
                )


def _owner(system: LCAOSystem, z: int) -> str:
    atom = int(np.flatnonzero(system.numbers == z)[0])
    return system.ids[int(np.searchsorted(system.atom_ptr, atom, side="right")) - 1]

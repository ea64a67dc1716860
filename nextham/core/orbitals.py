"""OrbitalBasis: which shells each element carries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nextham.core.elements import atomic_number, symbol
from nextham.exceptions import InputError

_LETTERS = "spdfghi"


class OrbitalBasis:
    """Shells (element, l, zeta) of each element: a value that describes and holds no data.

    House order inside an atom: l ascending, then zeta, then m = -l..l of real spherical harmonics
    without the Condon-Shortley phase, so that a p shell reads (y, z, x).

    >>> basis = OrbitalBasis({14: (0, 0, 1, 1, 2), 8: (0, 1)})
    >>> basis
    OrbitalBasis(O:1s1p Si:2s2p1d)
    >>> basis.n_orb(14), basis.lmax, 14 in basis
    (13, 2, True)
    >>> basis == OrbitalBasis.parse("O:1s1p Si:2s2p1d")
    True
    >>> basis.restricted([8]) | OrbitalBasis.parse("C:2s2p1d")
    OrbitalBasis(C:2s2p1d O:1s1p)
    """

    __slots__ = ("_shells",)

    def __init__(self, shells: Mapping[int, Iterable[int]]) -> None:
        """Args: shells: for each atomic number the l of every shell, ascending."""
        table = {int(z): tuple(int(l) for l in ls) for z, ls in sorted(shells.items())}
        for z, ls in table.items():
            if not ls or list(ls) != sorted(ls) or min(ls) < 0 or max(ls) >= len(_LETTERS):
                raise InputError(f"the shells of {symbol(z)} must be one or more l in ascending order, not {ls}")
        self._shells: dict[int, tuple[int, ...]] = table

    @classmethod
    def parse(cls, text: str) -> OrbitalBasis:
        """Read what ``str`` prints: ``"O:2s2p1d Si:2s2p1d"``."""
        table = {}
        for word in text.split():
            name, _, shells = word.partition(":")
            if not re.fullmatch(rf"(\d+[{_LETTERS}])+", shells):
                raise InputError(f"{word!r} is not an orbital basis like 'Si:2s2p1d'")
            counts = re.findall(rf"(\d+)([{_LETTERS}])", shells)
            table[atomic_number(name)] = [_LETTERS.index(c) for n, c in counts for _ in range(int(n))]
        return cls(table)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers, ascending."""
        return tuple(self._shells)

    @property
    def lmax(self) -> int:
        """Largest l of any shell (-1 for an empty basis)."""
        return max((ls[-1] for ls in self._shells.values()), default=-1)

    def shells(self, number: int) -> tuple[int, ...]:
        """Return the l of each shell of an element, ascending; zeta counts equal l from 1."""
        if number not in self._shells:
            raise InputError(f"the orbital basis has no {symbol(number)}; it has {self or 'no element'}")
        return self._shells[number]

    def n_orb(self, number: int) -> int:
        """Return the number of orbitals (without spin) of an element."""
        return sum(2 * l + 1 for l in self.shells(number))

    def n_orb_of(self, numbers: ArrayLike) -> NDArray[np.int64]:
        """Return the number of orbitals of each atom."""
        unique, inverse = np.unique(np.asarray(numbers, dtype=np.int64), return_inverse=True)
        return np.array([self.n_orb(int(z)) for z in unique], dtype=np.int64)[inverse]

    def shell_slices(self, number: int) -> list[slice]:
        """Return where each shell of an element sits among the atom's orbitals."""
        return _slices(self.shells(number))

    def label(self, number: int) -> str:
        """Return the shells in words, e.g. ``"2s2p1d"``."""
        return "".join(f"{len(list(g))}{_LETTERS[l]}" for l, g in groupby(self.shells(number)))

    def restricted(self, numbers: Iterable[int]) -> OrbitalBasis:
        """Return the basis of these elements alone."""
        return OrbitalBasis({z: self.shells(z) for z in {int(n) for n in numbers}})

    def __or__(self, other: OrbitalBasis) -> OrbitalBasis:
        for z in set(self._shells) & set(other._shells):
            if self._shells[z] != other._shells[z]:
                raise InputError(f"{symbol(z)} has two orbital bases, {self.label(z)} and {other.label(z)}; use one")
        return OrbitalBasis(self._shells | other._shells)

    def __contains__(self, number: object) -> bool:
        return number in self._shells

    def __iter__(self) -> Iterator[int]:
        return iter(self._shells)

    def __len__(self) -> int:
        return len(self._shells)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OrbitalBasis) and self._shells == other._shells

    def __hash__(self) -> int:
        return hash(tuple(self._shells.items()))

    def __str__(self) -> str:
        return " ".join(f"{name}:{self.label(z)}" for name, z in sorted((symbol(z), z) for z in self))

    def __repr__(self) -> str:
        return f"OrbitalBasis({self})"


@cache
def _slices(ls: tuple[int, ...]) -> list[slice]:
    ends = np.cumsum([2 * l + 1 for l in ls])
    return [slice(int(end) - 2 * l - 1, int(end)) for l, end in zip(ls, ends, strict=True)]

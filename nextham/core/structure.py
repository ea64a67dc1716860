"""Structure: one periodic crystal."""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nextham.core._arrays import frozen
from nextham.core.elements import atomic_number, symbol
from nextham.exceptions import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """One crystal, periodic in three directions.

    >>> si = Structure.from_fractional(["Si", "Si"], [[0, 0, 0], [0.25] * 3], 2.715 * (1 - np.eye(3)))
    >>> si
    Structure(Si2, 2 atoms, 40.03 Å³)
    """

    numbers: NDArray[np.int64]  # (n_atoms,) atomic numbers
    positions: NDArray[np.float64]  # (n_atoms, 3) Å, Cartesian
    cell: NDArray[np.float64]  # (3, 3) Å, rows are lattice vectors

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", frozen(self.numbers, np.int64))
        object.__setattr__(self, "positions", frozen(self.positions, np.float64))
        object.__setattr__(self, "cell", frozen(self.cell, np.float64))
        if self.positions.shape != (len(self.numbers), 3) or self.cell.shape != (3, 3):
            raise InputError(
                f"a structure needs positions (n_atoms, 3) and a cell (3, 3), "
                f"not {self.positions.shape} for {len(self.numbers)} atoms and {self.cell.shape}"
            )
        if not (np.isfinite(self.positions).all() and np.isfinite(self.cell).all()):
            raise InputError("a structure has a position or lattice vector that is not a finite number")
        if abs(np.linalg.det(self.cell)) < 1e-6:
            raise InputError("the lattice vectors of a structure span no volume")

    @classmethod
    def from_fractional(cls, symbols: list[str], fractional: ArrayLike, cell: ArrayLike) -> Structure:
        """Build from element symbols and fractional coordinates (n_atoms, 3); cell in Å."""
        rows = np.asarray(cell, dtype=np.float64)
        numbers = np.array([atomic_number(s) for s in symbols])
        return cls(numbers, np.asarray(fractional, dtype=np.float64) @ rows, rows)

    @cached_property
    def fractional(self) -> NDArray[np.float64]:
        """Fractional coordinates (n_atoms, 3)."""
        return frozen(np.linalg.solve(self.cell.T, self.positions.T).T, np.float64)

    @property
    def symbols(self) -> list[str]:
        """Element symbol of each atom."""
        return [symbol(int(z)) for z in self.numbers]

    @property
    def formula(self) -> str:
        """Formula with elements in alphabetical order, e.g. ``"BeS"``."""
        count = Counter(self.symbols)
        return "".join(f"{name}{count[name] if count[name] > 1 else ''}" for name in sorted(count))

    @property
    def volume(self) -> float:
        """Cell volume in Å³."""
        return float(abs(np.linalg.det(self.cell)))

    def __len__(self) -> int:
        return len(self.numbers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Structure):
            return NotImplemented
        return (
            np.array_equal(self.numbers, other.numbers)
            and np.array_equal(self.positions, other.positions)
            and np.array_equal(self.cell, other.cell)
        )

    def __repr__(self) -> str:
        return f"Structure({self.formula}, {len(self)} atoms, {self.volume:.2f} Å³)"

    def folded(self) -> Structure:
        """Return the same crystal with every fractional coordinate in [0, 1)."""
        inside = self.fractional % 1.0
        inside = np.where(inside >= 1.0, 0.0, inside)  # -1e-17 % 1.0 rounds to 1.0
        return Structure(self.numbers, inside @ self.cell, self.cell)

    def repeated(self, repeats: tuple[int, int, int]) -> Structure:
        """Return the n1 x n2 x n3 supercell, cell by cell, the last index fastest."""
        corners = np.indices(repeats).reshape(3, -1).T
        positions = (corners @ self.cell)[:, None] + self.positions
        return Structure(
            np.tile(self.numbers, len(corners)), positions.reshape(-1, 3), self.cell * np.array(repeats)[:, None]
        )

    def grouped(self) -> Structure:
        """Return the same crystal with atoms of one element together, in order of first appearance."""
        first = {int(z): k for k, z in reversed(list(enumerate(self.numbers)))}
        order = np.argsort([first[int(z)] for z in self.numbers], kind="stable")
        return Structure(self.numbers[order], self.positions[order], self.cell)

"""The hash of a crystal: of what is written of it, whatever the order of its atoms and the cell each is counted in."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from nextham.core import Structure

_PER_ANG: Final = 1e8  # structures are written with eight decimals
_FACE: Final = 1e-9  # a fractional coordinate so near to 1 is 0


def on_grid(structure: Structure) -> Structure:
    """Return the structure with cell and positions rounded to 1e-8 Å, as they are written.

    The last bits of libraries and processors do not show, so what is generated is the same everywhere.
    """
    cell, positions = (np.round(values, 8) + 0.0 for values in (structure.cell, structure.positions))  # + 0.0: no -0
    return Structure(structure.numbers, positions, cell)


def structure_sha256(structure: Structure) -> str:
    """Return the sha256 of a crystal: atomic numbers, and cell and positions in units of 1e-8 Å.

    Each atom counts in the home cell and atoms are sorted, so neither their order nor a shift of any of them by a
    lattice vector changes the hash. Another choice of the cell, a rotation or a shift of the origin does: these are
    other inputs of a calculation, and de-duplication finds that they are one crystal.

    >>> si = Structure.from_fractional(["Si", "Si"], [[0, 0, 0], [0.25] * 3], 2.715 * (1 - np.eye(3)))
    >>> other = Structure.from_fractional(["Si", "Si"], [[1.25, 0.25, -0.75], [0, 1, 0]], 2.715 * (1 - np.eye(3)))
    >>> structure_sha256(si) == structure_sha256(other)
    True
    """
    rounded = on_grid(structure)
    inside = rounded.fractional - np.floor(rounded.fractional + _FACE)
    units = np.rint(inside @ rounded.cell * _PER_ANG).astype("<i8")
    rows = np.column_stack([rounded.numbers.astype("<i8"), units])
    rows = rows[np.lexsort(rows.T[::-1])]
    cell = np.rint(rounded.cell * _PER_ANG).astype("<i8")
    digest = hashlib.sha256(b"crystal 1\n")  # the version of this definition
    for values in (cell, rows):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()

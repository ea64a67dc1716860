"""What every engine makes of a cell: atoms folded into it as ABACUS folds them, its k mesh; and what none computes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import Structure
from nextham.dft.engine import Cause, RunError
from nextham.dft.settings import RecipeSettings
from nextham.units import BOHR_ANG

_CLOSEST_ANG: Final = 0.3
_LARGEST_ANG3_PER_ATOM: Final = 100_000.0
_SHORTEST_VECTOR_ANG: Final = 0.5
_THINNEST_ANG: Final = 0.1  # searching neighbours in a thinner cell would take longer than telling
_COUNTLESS: Final = 1e100  # points of an absurd spacing: finite, so that their memory can be told


def mesh_of(structure: Structure, settings: RecipeSettings) -> tuple[int, int, int]:
    """Return the k mesh of a structure's SCF."""
    return settings.kmesh or mesh_of_spacing(structure.cell / BOHR_ANG, settings.kspacing_inv_bohr)


def mesh_of_spacing(cell: NDArray[np.float64], spacing: float) -> tuple[int, int, int]:
    """Return the mesh n = int(|b| / spacing + 1) that ABACUS makes of kspacing (1/Bohr) for a cell (rows, Bohr)."""
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    n1, n2, n3 = (max(1, int(min(b / spacing, _COUNTLESS) + 1)) for b in lengths.tolist())
    return n1, n2, n3


def folded(fractional: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coordinates in [0, 1) bit for bit as ABACUS folds them: x -> (x + 10000) - int(x + 10000).

    Adding 10000 rounds: -1e-17 becomes 0, -1e-9 becomes 0.999999999. All R labels refer to the result.
    """
    high = np.asarray(fractional, dtype=np.float64) + 10000.0
    inside: NDArray[np.float64] = high - np.trunc(high)
    return inside


def check_geometry(structure: Structure, id: str) -> None:
    """Refuse what no calculation can mean.

    Raises:
        RunError: if atoms overlap, or the cell is absurd.
    """
    if not len(structure):
        raise RunError(Cause.BAD_INPUT, f"{id} has no atoms")
    lengths = np.linalg.norm(structure.cell, axis=1)
    if lengths.min() < _SHORTEST_VECTOR_ANG:
        raise RunError(
            Cause.BAD_INPUT,
            f"{id} has a lattice vector of {lengths.min():.3g} Å; cells are in Å, is this one in other units?",
        )
    room = structure.volume / len(structure)
    if room > _LARGEST_ANG3_PER_ATOM:
        raise RunError(
            Cause.BAD_INPUT,
            f"{id} has {room:.3g} Å³ per atom (at most {_LARGEST_ANG3_PER_ATOM:.0f}); cut the vacuum of the cell",
        )
    thickness = 1 / np.linalg.norm(np.linalg.inv(structure.cell), axis=0).max()
    if thickness < _THINNEST_ANG:
        raise RunError(
            Cause.BAD_INPUT,
            f"{id} has lattice vectors almost in one plane (the cell is {thickness:.2g} Å thick); check the cell",
        )
    i, j, distance = _closest(structure)
    if distance < _CLOSEST_ANG:
        names = structure.symbols
        if i == j:
            raise RunError(
                Cause.BAD_INPUT,
                f"{id}: atom {i + 1} ({names[i]}) is {distance:.3f} Å from its own image in another cell "
                f"(at least {_CLOSEST_ANG}); check the lattice vectors",
            )
        raise RunError(
            Cause.BAD_INPUT,
            f"{id}: atoms {i + 1} ({names[i]}) and {j + 1} ({names[j]}) are {distance:.3f} Å apart "
            f"(at least {_CLOSEST_ANG}); check units and duplicate sites",
        )


def _closest(structure: Structure) -> tuple[int, int, float]:
    from vesin import NeighborList

    reach = 2 * _CLOSEST_ANG
    i, j, d = NeighborList(cutoff=reach, full_list=False).compute(
        points=structure.positions, box=structure.cell, periodic=True, quantities="ijd"
    )
    if not len(d):
        return 0, 0, reach
    p = int(np.argmin(d))
    return int(i[p]), int(j[p]), float(d[p])

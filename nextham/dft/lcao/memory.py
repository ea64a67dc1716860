"""How much memory a structure will take, told before anything is computed."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np

from nextham.dft.engine import Cause, RunError
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.grid import grid_shape
from nextham.dft.lcao.settings import LCAOSettings

_GIB: Final = 2**30
_PROGRAM: Final = 0.4 * _GIB  # the interpreter, its libraries and the tables of species
_GRID_ARRAYS: Final = 30  # real functions on the grid that exist at once in making V
_H0_COPIES: Final = 14  # of the values of one real operator
_SCF_COPIES: Final = 8  # the same, more of them
_K_MATRICES: Final = 4  # (2n, 2n) complex per k point


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by what they hold."""

    grid: float  # density, potential, mixing history
    orbitals: float  # orbitals on the grid
    operators: float  # hopping blocks
    k_space: float

    @property
    def total(self) -> float:
        """All of it, with the program."""
        return _PROGRAM + self.grid + self.orbitals + self.operators + self.k_space


def estimate_memory(crystal: Crystal, settings: LCAOSettings, n_k: int) -> MemoryEstimate:
    """Return the memory that a structure needs; n_k: k points of the SCF, 0 for H0 alone."""
    n_grid = int(np.prod(grid_shape(crystal.cell, 4 * settings.ecutwfc_ry)))
    histories = 3 * settings.mixing_history if n_k else 0
    reach = crystal.orbital_cutoffs + settings.box_edge_bohr
    columns = float((crystal.n_orb * 4 / 3 * np.pi * reach**3).sum() / crystal.volume)
    phi = 8.0 * n_grid * columns
    keeps = n_k > 0 and phi <= settings.orbital_memory_gb * _GIB
    kept = 1.5 * phi if keeps else 0.0  # float64, and float32 in passing
    n = float(crystal.n_orb.sum())
    widest = float(2 * (crystal.orbital_cutoffs + crystal.projector_cutoffs).max())
    per_cell = 4 / 3 * np.pi * widest**3 / crystal.volume  # images of the cell that one orbital sees
    values = 8.0 * n * n * max(per_cell, 1 / crystal.n_atoms) / 2
    copies = _H0_COPIES + (_SCF_COPIES if n_k else 0)
    k_space = 16.0 * n_k * (_K_MATRICES + 2) * (2 * n) ** 2
    return MemoryEstimate(8.0 * n_grid * (_GRID_ARRAYS + histories), kept, copies * values, k_space)


def check_memory(crystal: Crystal, settings: LCAOSettings, n_k: int, *, id: str) -> None:
    """Refuse a structure that needs more memory than it may take.

    Raises:
        RunError: with what takes most.
    """
    need = estimate_memory(crystal, settings, n_k)
    if need.total <= settings.max_memory_gb * _GIB:
        return
    parts = dataclasses.asdict(need)
    cures = {
        "grid": "a smaller cell or ecutwfc_ry",
        "orbitals": "a smaller orbital_memory_gb",
        "operators": "a smaller cell or orbital set",
        "k_space": "fewer k points (kspacing_inv_bohr)",
    }
    most = max(parts, key=lambda name: float(parts[name]))
    raise RunError(
        Cause.BAD_INPUT,
        f"{id} ({crystal.structure.formula}) needs about {need.total / _GIB:.1f} GB, {parts[most] / _GIB:.1f} GB of it "
        f"for {most.replace('_', ' ')}; max_memory_gb is {settings.max_memory_gb:g}: raise it, or use {cures[most]}",
    )

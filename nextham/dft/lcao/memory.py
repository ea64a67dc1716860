"""How much memory a structure will take, told before anything is computed."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import torch

from nextham.dft.engine import Cause, RunError
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.device import cut_of, free_bytes
from nextham.dft.lcao.grid import count_points
from nextham.dft.lcao.settings import LCAOSettings
from nextham.workers import memory_bytes

_GIB: Final = 2**30
_PROGRAM: Final = 0.4 * _GIB  # the interpreter, its libraries and the tables of species
_GRID_ARRAYS: Final = 30  # real functions on the grid that exist at once in making V
_H0_COPIES: Final = 14  # of the values of one real operator
_SCF_COPIES: Final = 8  # the same, more of them
_DEVICE_COPIES: Final = 8  # those of them that an accelerator holds
_K_MATRICES: Final = 6  # (2n, 2n) complex per k point
_XC_ARRAYS: Final = 60  # real functions on the points whose exchange and correlation is computed at once
_BATCH_COPIES: Final = 5  # of the orbitals of one batch of boxes
_PADDED: Final = 1.2  # boxes of a batch have one shape
_COUNTLESS: Final = 10**30  # k points; more would not fit into a float
_LIBRARIES: Final = 0.3 * _GIB  # work space of the solvers on an accelerator


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by what they hold."""

    grid: float  # density, potential, mixing history
    orbitals: float  # orbitals on the grid, kept and in work
    operators: float  # hopping blocks
    k_space: float

    @property
    def total(self) -> float:
        """All of it, with the program."""
        return _PROGRAM + self.grid + self.orbitals + self.operators + self.k_space

    @property
    def on_device(self) -> float:
        """What of it is on an accelerator, where one is used."""
        operators = self.operators * _DEVICE_COPIES / (_H0_COPIES + _SCF_COPIES)
        return _LIBRARIES + self.grid + self.orbitals + operators + self.k_space


def estimate_memory(crystal: Crystal, settings: LCAOSettings, n_k: int) -> MemoryEstimate:
    """Return the memory that a structure needs; n_k: k points of the SCF, 0 for H0 alone."""
    cut = cut_of(torch.device(settings.device), settings.box_edge_bohr)
    n_grid = count_points(crystal.cell, 4 * settings.ecutwfc_ry)
    histories = 3 * settings.mixing_history if n_k else 0
    grid = 8.0 * (n_grid * (_GRID_ARRAYS + histories) + min(n_grid, cut.xc_points) * _XC_ARRAYS)
    reach = crystal.orbital_cutoffs + cut.edge_bohr
    columns = float((crystal.n_orb * 4 / 3 * np.pi * reach**3).sum() / crystal.volume)
    values = n_grid * columns * (_PADDED if cut.batch_values else 1.0)
    keeps = n_k > 0 and 8.0 * values <= settings.orbital_memory_gb * _GIB
    kept = 1.5 * 8.0 * values if keeps else 0.0  # float64, and float32 in passing
    in_work = 8.0 * _BATCH_COPIES * min(values, cut.batch_values)
    n = float(crystal.n_orb.sum())
    widest = float(2 * (crystal.orbital_cutoffs + crystal.projector_cutoffs).max())
    per_cell = 4 / 3 * np.pi * widest**3 / crystal.volume  # images of the cell that one orbital sees
    operator = 8.0 * n * n * max(per_cell, 1 / crystal.n_atoms) / 2
    copies = _H0_COPIES + (_SCF_COPIES if n_k else 0)
    k_space = 16.0 * min(n_k, _COUNTLESS) * _K_MATRICES * (2 * n) ** 2
    return MemoryEstimate(grid, kept + in_work, copies * operator, k_space)


def check_memory(crystal: Crystal, settings: LCAOSettings, n_k: int, *, id: str) -> None:
    """Refuse a structure that needs more memory than it may take, than there is, or than its device has left.

    Raises:
        RunError: with what takes most.
    """
    need = estimate_memory(crystal, settings, n_k)
    parts = dataclasses.asdict(need)
    cures = {
        "grid": "a smaller cell or ecutwfc_ry",
        "orbitals": "a smaller orbital_memory_gb",
        "operators": "a smaller cell or orbital set",
        "k_space": "fewer k points (kspacing_inv_bohr)",
    }
    most = max(parts, key=lambda name: float(parts[name]))
    share = f"{_gib(parts[most])} GB of it for {most.replace('_', ' ')}"
    name = f"{id} ({crystal.structure.formula})"
    if need.total > settings.max_memory_gb * _GIB:
        raise RunError(
            Cause.BAD_INPUT,
            f"{name} needs about {_gib(need.total)} GB, {share}; max_memory_gb is {settings.max_memory_gb:g}: "
            f"raise it, or use {cures[most]}",
        )
    there = memory_bytes()
    if need.total > there:
        raise RunError(
            Cause.OUT_OF_MEMORY,
            f"{name} needs about {_gib(need.total)} GB, {share}; this machine has {_gib(there)} GB: "
            f"use {cures[most]}, or another machine",
        )
    free = free_bytes(torch.device(settings.device))
    if free is not None and need.on_device > free:
        raise RunError(
            Cause.OUT_OF_MEMORY,
            f"{name} needs about {_gib(need.on_device)} GB on {settings.device}, {share}, and "
            f"{_gib(free)} GB are free there: use fewer processes on it, {cures[most]}, or device: cpu",
        )


def _gib(size: float) -> str:
    return f"{size / _GIB:.1f}" if size < 1e6 * _GIB else f"{size / _GIB:.0e}"

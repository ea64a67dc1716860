"""What a calculation would be: its species, grid, k points and memory, without computing anything."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from nextham.core import Structure
from nextham.dft.engine import Cause, RunError
from nextham.dft.geometry import check_geometry, mesh_of
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.grid import grid_shape
from nextham.dft.lcao.memory import MemoryEstimate, check_memory, estimate_memory
from nextham.dft.lcao.settings import LCAOSettings
from nextham.dft.species.files import SpeciesFiles
from nextham.dft.species.source import SpeciesSource
from nextham.dft.species.species import load_species
from nextham.exceptions import InputError
from nextham.physics.bands import KMesh

_GIB: Final = 2**30


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """One calculation before it starts."""

    crystal: Crystal
    files: dict[str, SpeciesFiles]
    settings: LCAOSettings
    grid: tuple[int, int, int]
    kmesh: tuple[int, int, int] | None  # none: H0 alone
    n_k: int  # k points that are solved
    memory: MemoryEstimate

    def facts(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "formula": self.crystal.structure.formula,
            "atoms": self.crystal.n_atoms,
            "orbitals": int(self.crystal.n_orb.sum()),
            "grid": list(self.grid),
            "kmesh": self.kmesh and list(self.kmesh),
            "k_points": self.n_k,
            "memory_gb": round(self.memory.total / _GIB, 2),
            "species": {name: {"upf": str(f.upf), "orb": str(f.orb)} for name, f in self.files.items()},
            "settings": self.settings.model_dump(mode="json"),
        }

    def __str__(self) -> str:
        facts = self.facts()
        size = f"{facts['atoms']} atoms, {facts['orbitals']} orbitals without spin ({self.crystal.basis})"
        k = f"{' x '.join(map(str, self.kmesh))}, {self.n_k} k points to solve" if self.kmesh else "none, H0 alone"
        species = [f"species   {name}: {f.upf}, {f.orb}" for name, f in self.files.items()]
        lines = [
            f"crystal   {facts['formula']}: {size}",
            *species,
            f"grid      {' x '.join(map(str, self.grid))}",
            f"k mesh    {k}",
            f"memory    about {facts['memory_gb']} GB of at most {self.settings.max_memory_gb:g} GB",
            *(f"{name}: {value}" for name, value in facts["settings"].items()),
        ]
        return "\n".join(lines) + "\n"


def make_plan(structure: Structure, settings: LCAOSettings, species: SpeciesSource, *, id: str, scf: bool) -> Plan:
    """Return what would be computed, after every check that the engine makes before it starts.

    Raises:
        RunError: if the structure or its species cannot be used, or there is too little memory.
    """
    crystal = load_crystal(structure, species, id=id)
    kmesh = mesh_of(structure, settings) if scf else None
    n_k = KMesh.count(kmesh) if kmesh else 0
    check_memory(crystal, settings, n_k, id=id)
    return Plan(
        crystal,
        species.files(structure.symbols, id=id),
        settings,
        grid_shape(crystal.cell, 4 * settings.ecutwfc_ry),
        kmesh,
        n_k,
        estimate_memory(crystal, settings, n_k),
    )


def load_crystal(structure: Structure, species: SpeciesSource, *, id: str) -> Crystal:
    """Return a structure with its species.

    Raises:
        RunError: if the structure makes no sense, or a species is missing, broken or of the wrong kind.
    """
    check_geometry(structure, id)
    files = species.files(structure.symbols, id=id)
    try:
        loaded = [load_species(name, f.upf, f.orb) for name, f in files.items()]
    except InputError as error:
        raise RunError(Cause.BAD_INPUT, f"{id}: {error}") from None
    return Crystal.of(structure, {s.number: s for s in loaded})

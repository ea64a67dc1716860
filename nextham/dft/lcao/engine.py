"""LCAOEngine: structures to systems within this process."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from nextham.core import BlockMatrix, LCAOSystem, Provenance, Structure, symbol
from nextham.dft.engine import Cause, RunError, RunResult
from nextham.dft.geometry import mesh_of
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.device import computing, cut_of
from nextham.dft.lcao.gint import GridIntegrator
from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.lcao.hamiltonian import FixedParts
from nextham.dft.lcao.ions import ion_energy
from nextham.dft.lcao.kspace import KSpace
from nextham.dft.lcao.memory import check_memory
from nextham.dft.lcao.neighbours import local_pairs
from nextham.dft.lcao.plan import load_crystal
from nextham.dft.lcao.potential import LocalPotential
from nextham.dft.lcao.scf import Loop, SelfConsistent
from nextham.dft.lcao.settings import H0Definition, LCAOSettings
from nextham.dft.settings import SpeciesSettings
from nextham.dft.species.source import SpeciesSource, open_source
from nextham.exceptions import InputError
from nextham.physics.bands import KMesh, Levels
from nextham.units import BOHR_ANG, RYDBERG_EV

_GIB: Final = 2**30
LOG: Final = "lcao.log"


class LCAOEngine:
    """Computes S(R), H0(R) and H(R) itself: PBE, spin-orbit coupling, non-magnetic."""

    name = "lcao"

    def __init__(self, settings: LCAOSettings, species: SpeciesSource | None = None) -> None:
        """Check species and device before anything is computed.

        Args:
            settings: how it computes.
            species: where each element's files come from; by default as the settings name them.

        Raises:
            InputError: if a folder is missing, or there is no such device.
        """
        self.settings = settings
        self.species = species or open_source(SpeciesSettings(), settings)
        try:
            self._device = torch.device(settings.device)
            torch.zeros(1, device=self._device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(
                f"device {settings.device!r} is not there ({str(error).splitlines()[0]}); try cpu"
            ) from None

    @property
    def version(self) -> str:
        """Of the package."""
        return version("nextham")

    def fingerprint(self, structure: Structure, *, id: str) -> str:
        """Return a hash of the crystal, the settings, the contents of the species' files and the version.

        Raises:
            RunError: if the structure or its species cannot be used.
        """
        inputs = input_sha256(load_crystal(structure, self.species, id=id), self.settings)
        return hashlib.sha256(f"lcao {version('nextham')} {inputs}".encode()).hexdigest()

    def outline(self, structure: Structure, *, id: str) -> LCAOSystem:
        """Return the system without operators, on the pairs that overlap; nothing is computed.

        Raises:
            RunError: if the structure or its species cannot be used, or memory is too small for H0.
        """
        crystal = load_crystal(structure, self.species, id=id)
        check_memory(crystal, self.settings, 0, id=id)
        meta = provenance(crystal, self.settings, id)
        return LCAOSystem.single(crystal.structure, crystal.basis, local_pairs(crystal), {}, meta)

    def h0(self, structure: Structure, *, id: str, folder: Path) -> RunResult:
        """Make S and H0; a log goes to ``folder``.

        Raises:
            RunError: if the structure or its species cannot be used.
        """
        start, clock = time.perf_counter(), _Clock()
        with computing(self._device, id=id):
            work = self._workspace(structure, id=id, n_k=0)
            h0 = work.h0
            system = work.system({"h0": h0}, wall_time_s=time.perf_counter() - start, **clock.read("h0"))
        _write_log(folder, [f"{id}: {system!r}", f"wall time {time.perf_counter() - start:.2f} s"])
        return RunResult(system)

    def scf(self, structure: Structure, *, id: str, folder: Path) -> RunResult:
        """Make S, H0 and the converged H; a log goes to ``folder``.

        Raises:
            RunError: if the structure or its species cannot be used, or the SCF does not converge.
        """
        with computing(self._device, id=id):
            return self._scf(structure, id, folder)

    def _scf(self, structure: Structure, id: str, folder: Path) -> RunResult:
        start, clock = time.perf_counter(), _Clock()
        kmesh = mesh_of(structure, self.settings)
        work = self._workspace(structure, id=id, n_k=KMesh.count(kmesh))
        loop = Loop(work.potential, work.integrator, self.settings, id=id)
        of_atoms = self.settings.h0_definition is H0Definition.ATOMIC_DENSITY
        h0 = work.fixed.hamiltonian(loop.first.matrix) if of_atoms else work.h0
        times = clock.read("h0")
        mesh = KMesh.of(kmesh)
        try:
            found = loop.run(KSpace(work.crystal, work.fixed, mesh, device=self._device, id=id))
        except RunError as error:
            _write_log(folder, [str(error), error.log_tail])
            raise
        operators = {"h0": h0, "hamiltonian": work.fixed.hamiltonian(found.potential)}
        ions = ion_energy(work.crystal, work.potential.grid)
        facts = {**_scf_facts(found, ions, kmesh), "wall_time_s": time.perf_counter() - start}
        totals = f"E(ions) {ions:.9f} Ry, total energy {facts['total_energy_ev']:.8f} eV"
        _write_log(folder, [*found.log, totals, f"wall time {time.perf_counter() - start:.2f} s"])
        levels = Levels(mesh.k, found.solution.energies.cpu().numpy() * RYDBERG_EV)
        return RunResult(work.system(operators, **facts, **times, **clock.read("scf")), levels, found.attempts)

    def _workspace(self, structure: Structure, *, id: str, n_k: int) -> _Workspace:
        crystal = load_crystal(structure, self.species, id=id)
        check_memory(crystal, self.settings, n_k, id=id)
        return _Workspace(crystal, self.settings, self._device, id, orbital_bytes=self._kept_bytes(n_k))

    def _kept_bytes(self, n_k: int) -> float:
        return self.settings.orbital_memory_gb * _GIB if n_k else 0.0  # H0 alone visits every box once


@dataclasses.dataclass(frozen=True, eq=False)
class _Workspace:
    """The parts of one calculation, made when they are needed."""

    crystal: Crystal
    settings: LCAOSettings
    device: torch.device
    id: str
    _: dataclasses.KW_ONLY
    orbital_bytes: float  # orbitals on the grid are kept up to this size

    @cached_property
    def fixed(self) -> FixedParts:
        return FixedParts.of(self.crystal)

    @cached_property
    def potential(self) -> LocalPotential:
        grid = FFTGrid(self.crystal.cell, 4 * self.settings.ecutwfc_ry, device=self.device)
        return LocalPotential.of(self.crystal, grid)

    @cached_property
    def integrator(self) -> GridIntegrator:
        return GridIntegrator(
            self.crystal,
            self.potential.grid,
            self.fixed.overlap,
            cut=cut_of(self.device, self.settings.box_edge_bohr),
            keep_bytes=self.orbital_bytes,
        )

    @cached_property
    def h0(self) -> BlockMatrix:
        """H0 in Ry."""
        values = self.integrator.potential_matrix(self.potential.of_h0(self.settings.h0_definition))
        return self.fixed.hamiltonian(values)

    def system(self, operators: dict[str, BlockMatrix], **facts: Any) -> LCAOSystem:
        """Return the system in house units; operators in Ry."""
        values = {"overlap": self.fixed.overlap.on(self.fixed.pairs).values}
        for name, matrix in operators.items():
            if not np.isfinite(matrix.values).all():
                raise RunError(Cause.NOT_FINITE, f"{self.id}: the {name} holds numbers that are not finite")
            values[name] = matrix.values * RYDBERG_EV
        meta = dataclasses.replace(provenance(self.crystal, self.settings, self.id), **facts)
        return LCAOSystem.single(self.crystal.structure, self.crystal.basis, self.fixed.pairs, values, meta)


class _Clock:
    """Seconds since it was made: on the wall, and of this process's threads together."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self, of: str) -> dict[str, float]:
        """Return both under the names that a provenance has for H0 ("h0") or the whole ("scf")."""
        return {
            f"{of}_wall_s": time.perf_counter() - self._wall,
            f"{of}_cpu_s": time.process_time() - self._cpu,
        }


def provenance(crystal: Crystal, settings: LCAOSettings, id: str) -> Provenance:
    """Return where the operators of a crystal come from, before anything is computed."""
    species = {symbol(z): crystal.species[z] for z in crystal.elements}
    return Provenance(
        id=id,
        engine="lcao",
        engine_version=version("nextham"),
        h0_definition=settings.h0_definition.value,
        magnetism="nonmagnetic",
        n_electrons=crystal.n_electrons,
        ecutwfc_ry=settings.ecutwfc_ry,
        input_sha256=input_sha256(crystal, settings),
        pseudopotentials={name: f"{s.upf_name}@sha256:{s.pseudo.sha256}" for name, s in species.items()},
        orbitals={name: f"{s.orb_name}@sha256:{s.orbitals.sha256}" for name, s in species.items()},
        orbital_cutoff_ang={name: s.orbitals.cutoff * BOHR_ANG for name, s in species.items()},
    )


def input_sha256(crystal: Crystal, settings: LCAOSettings) -> str:
    """Return a hash of all that the numbers follow from but the program: settings, species, crystal."""
    inputs = [settings.model_dump_json(exclude={"device", "max_memory_gb", *settings.species_keys})]
    inputs += sorted(f"{symbol(z)} {crystal.species[z].key}" for z in crystal.elements)
    structure = crystal.structure
    inputs += [json.dumps([a.tolist() for a in (structure.numbers, structure.positions, structure.cell)])]
    return hashlib.sha256("\n".join(inputs).encode()).hexdigest()


def _scf_facts(found: SelfConsistent, ions_ry: float, kmesh: tuple[int, int, int]) -> dict[str, Any]:
    return {
        "fermi_energy_ev": found.fermi_ry * RYDBERG_EV,
        "total_energy_ev": (found.energy_ry + ions_ry) * RYDBERG_EV,
        "kmesh": kmesh,
        "smearing": "gauss",
        "smearing_ev": found.sigma_ry * RYDBERG_EV,
        "converged": True,
        "scf_steps": found.steps,
        "scf_drho": found.drho,
    }


def _write_log(folder: Path, lines: list[str]) -> None:
    """Write the log under another name, then rename it."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{LOG}.part"
    part.write_text("\n".join(lines) + "\n")
    part.replace(folder / LOG)

"""INPUT, STRU and KPT of a run, from a structure and settings."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import Structure
from nextham.dft.abacus.settings import AbacusSettings, Magnetism
from nextham.dft.abacus.stru import Species, write_stru
from nextham.dft.geometry import check_geometry
from nextham.dft.species.files import SpeciesFiles, check_heads, file_sha256
from nextham.dft.species.source import SpeciesSource

OUT: Final = "OUT.ABACUS"  # suffix ABACUS
_ONE_K_POINT: Final = (1, 1, 1)


class Task(StrEnum):
    """What one run computes."""

    GET_HS = "get_hs"  # H0 and S, by calculation get_hs
    SCF1 = "scf1"  # H0 and S, by the first step of an SCF
    SCF = "scf"  # H and S

    @property
    def log(self) -> str:
        """Log of the run, in its folder."""
        return f"{OUT}/running_{'get_hs' if self is Task.GET_HS else 'scf'}.log"


@dataclasses.dataclass(frozen=True)
class RunInputs:
    """The files of one run."""

    texts: Mapping[str, str]  # name: content
    species: Mapping[str, SpeciesFiles]  # element: its files, which links in the run folder point to

    @property
    def links(self) -> dict[str, Path]:
        """Name of each link in the run folder, and what it points to."""
        return {name: path for path, name in link_names(self.species).items()}

    @property
    def sha256(self) -> str:
        """Hash of all that ABACUS reads, wherever the files lie."""
        digest = hashlib.sha256()
        for name, text in sorted(self.texts.items()):
            digest.update(f"{name}\0{text}\0".encode())
        for name, path in sorted(self.links.items()):
            digest.update(f"{name}\0{file_sha256(path)}\0".encode())
        return digest.hexdigest()

    def __str__(self) -> str:
        texts = [f"--- {name}\n{text}" for name, text in self.texts.items()]
        return "".join([*texts, "--- links\n", *(f"{name} -> {path}\n" for name, path in self.links.items())])

    def write(self, folder: Path) -> None:
        """Write the files into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in self.links.items():
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(path)
        for name, text in self.texts.items():
            (folder / name).write_text(text)


def make_inputs(
    structure: Structure,
    settings: AbacusSettings,
    task: Task,
    *,
    species: SpeciesSource,
    id: str,
    decimals: int | None = None,
) -> RunInputs:
    """Return the inputs of one run.

    Pseudopotentials and orbitals are linked into the run folder, so that INPUT holds no path: the same
    inputs have the same hash on every machine, and paths may hold what ABACUS cannot read.

    Args:
        structure: the crystal; STRU lists its atoms grouped by element and folded.
        settings: the recipe.
        task: which of the runs.
        species: gives each element its files.
        id: structure id, for errors.
        decimals: of the matrix files, for builds that take this number.

    Raises:
        RunError: if the structure makes no sense, or an element lacks its pseudopotential or orbitals.
    """
    check_geometry(structure, id)
    crystal = structure.grouped()
    found = species.files(crystal.symbols, id=id)
    check_heads(found, id=id)
    names = link_names(found)
    in_stru = {name: Species(upf=names[files.upf], orb=names[files.orb], mass=1.0) for name, files in found.items()}
    texts = {
        "INPUT": _render(_parameters(settings, task, decimals)),
        "STRU": write_stru(crystal, species=in_stru, moments=starting_moments(crystal, settings)),
    }
    mesh = settings.kmesh if task is Task.SCF else _ONE_K_POINT
    if mesh is not None:
        texts["KPT"] = f"K_POINTS\n0\nGamma\n{mesh[0]} {mesh[1]} {mesh[2]} 0 0 0\n"
    return RunInputs(texts, found)


def starting_moments(crystal: Structure, settings: AbacusSettings) -> NDArray[np.float64]:
    """Return the moment of each atom in STRU, (n_atoms, 3) Bohr magnetons.

    Where every moment is zero and nspin is 4, most builds put (1, 1, 1) on every atom, and H0 is not
    time-reversal symmetric. A moment in the xy plane on one atom keeps them from it; with noncolin 0 only
    the z part of a moment enters the density, so that the start is exactly nonmagnetic. STRU must give it by
    its angle then: of a vector 3.8 takes the length for the z part.
    """
    moments = np.zeros((len(crystal), 3))
    if settings.magnetism is Magnetism.AUTOSET:
        return moments
    if settings.magnetism is Magnetism.MOMENTS:
        moments[:, 2] = [settings.moments_bohr_magneton.get(name, 0.0) for name in crystal.symbols]
        if np.abs(moments).max() > 1e-5:  # below this ABACUS takes a moment for zero
            return moments
    moments[0] = (1.0, 0.0, 0.0)
    return moments


def _parameters(settings: AbacusSettings, task: Task, decimals: int | None) -> dict[str, object]:
    values: dict[str, object] = {
        "suffix": "ABACUS",
        "pseudo_dir": "./",
        "orbital_dir": "./",
        "calculation": "get_hs" if task is Task.GET_HS else "scf",
        "basis_type": "lcao",
        "nspin": 4,
        "lspinorb": 1,
        "ecutwfc": settings.ecutwfc_ry,
        "gamma_only": 0,
        "symmetry": 0,
        "smearing_method": settings.smearing_method,
        "smearing_sigma": settings.smearing_sigma_ry,
        "mixing_type": settings.mixing_type,
        "scf_thr": settings.scf_thr,
        "scf_nmax": 1 if task is Task.SCF1 else settings.scf_nmax,
        "out_mat_hs2": "1" if decimals is None else f"1 {decimals}",
    }
    for key in ("ks_solver", "mixing_beta"):
        if getattr(settings, key) is not None:
            values[key] = getattr(settings, key)
    if task is Task.SCF:
        values["out_mul"] = 1  # writes the Orbital file: the folder then says its own orbital order
        if settings.kmesh is None:
            values["kspacing"] = settings.kspacing_inv_bohr
    return values


def _render(parameters: Mapping[str, object]) -> str:
    lines = [
        f"{key:<16}{value:.15g}" if isinstance(value, float) else f"{key:<16}{value}"
        for key, value in parameters.items()
    ]
    return "\n".join(["INPUT_PARAMETERS", *lines]) + "\n"


def link_names(species: Mapping[str, SpeciesFiles]) -> dict[Path, str]:
    """Return the name of each file in the run folder: its own, after the element where two files have one name."""
    pairs = [(element, path) for element, files in species.items() for path in (files.upf, files.orb)]
    taken = Counter(_name(path) for path in {path for _, path in pairs})
    return {path: f"{element}_{_name(path)}" if taken[_name(path)] > 1 else _name(path) for element, path in pairs}


def _name(path: Path) -> str:
    return "_".join(path.name.split())  # ABACUS ends a name at a blank

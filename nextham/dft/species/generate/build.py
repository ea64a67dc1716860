"""One element from published parameters to its two files and the record of how they were made."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from nextham.dft.species.generate import gth, pseudo_atom, spin_orbit
from nextham.dft.species.generate.configuration import split_valence
from nextham.dft.species.generate.files import orb_text, upf_text
from nextham.dft.species.generate.gth import Potential
from nextham.dft.species.generate.orbitals import Orbitals, OrbitalSettings, optimise
from nextham.dft.species.generate.spin_orbit import Splitting
from nextham.dft.species.lock import LOCK, Lock, read_lock, write_lock
from nextham.dft.species.locking import lock_element
from nextham.dft.species.provenance import PROVENANCE, read_provenance
from nextham.units import HARTREE_EV

GENERATOR_VERSION: Final = "1"
_MEV_PER_HARTREE: Final = 1000 * HARTREE_EV


@dataclass(frozen=True)
class Species:
    """One element's files and their record.

    Attributes:
        element: symbol.
        upf, orb: text of the files.
        record: parameters and quality, for the provenance table.
    """

    element: str
    upf: str
    orb: str
    record: dict[str, Any]


def default_settings(element: str) -> OrbitalSettings:
    """Return the orbitals asked for: 2s2p1d, and 2s1p for hydrogen.

    H, N, O and F mostly have longer bonds than among themselves, to which their references reach out.
    """
    settings = OrbitalSettings()
    if element in {"H", "N", "O", "F"}:
        settings = replace(settings, diamond_scales=(1.0, 1.4), cubic_scales=(1.3, 1.8))
    return replace(settings, zetas={0: 2, 1: 1}) if element == "H" else settings


def build(element: str, settings: OrbitalSettings | None = None) -> Species:
    """Generate one element.

    Raises:
        InputError: if there are no published parameters for it.
    """
    potential, splittings = spin_orbit.fit(gth.potential(element))
    electrons = _electrons(potential)
    atom = pseudo_atom.solve(potential, electrons, pseudo_atom.AtomSettings(spin_orbit=True))
    averaged = pseudo_atom.solve(gth.potential(element), electrons)
    orbitals = optimise(averaged, settings or default_settings(element))
    upf = upf_text(atom, _notes(potential))
    orb = orb_text(element, orbitals)
    return Species(element, upf, orb, _record(potential, splittings, orbitals))


def _electrons(potential: Potential) -> dict[int, float]:
    _, valence = split_valence(potential.number, potential.valence)
    return {l: count for (_, l), count in valence.items()}


def _notes(potential: Potential) -> list[str]:
    sources = gth.table()
    return [
        f"{potential.element}: made by the species generator of NextHAM, version {GENERATOR_VERSION}.",
        f"Parameters: {sources['source']}.",
        f"Form: {sources['form']}.",
        "Spin-orbit strengths fitted to an all-electron Dirac-PBE atom; projectors end smoothly at a finite radius.",
    ]


def _record(potential: Potential, splittings: list[Splitting], orbitals: Orbitals) -> dict[str, Any]:
    return {
        "valence": potential.valence,
        "local_radius_bohr": potential.local_radius,
        "local_coefficients_ha": list(potential.local_coefficients),
        "channels": [
            {
                "l": c.l,
                "radius_bohr": c.radius,
                "cut_radius_bohr": c.cut_radius,
                "h_ha": c.h.tolist(),
                "k_ha": [[round(float(x), 8) for x in row] for row in c.k],
            }
            for c in potential.channels
        ],
        "splittings": [
            {
                "charge": s.charge,
                "level": s.name,
                "all_electron_mev": round(s.all_electron * _MEV_PER_HARTREE, 3),
                "pseudo_mev": round(s.pseudo * _MEV_PER_HARTREE, 3),
                "level_shift_mev": round(s.shift * _MEV_PER_HARTREE, 2),
            }
            for s in splittings
        ],
        "zetas": "".join(f"{len(f)}{'spdf'[l]}" for l, f in sorted(orbitals.functions.items())),
        "radius_bohr": orbitals.mesh.radius,
        "cutoff_ry": orbitals.cutoff_ry,
        "occupied_band_error_mev": round(orbitals.occupied_error * _MEV_PER_HARTREE, 1),
        "lowest_empty_band_error_mev": round(orbitals.empty_error * _MEV_PER_HARTREE, 1),
    }


def write(species: Iterable[Species], folder: Path) -> None:
    """Write ELEMENT.upf, ELEMENT.orb, their lock and the provenance table; entries of other elements stay.

    Raises:
        InputError: if the folder's lock or provenance table is not one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for one in species:
        lock = read_lock(folder / LOCK) if (folder / LOCK).exists() else Lock()
        table = read_provenance(folder) or {"generator_version": GENERATOR_VERSION, "elements": {}}
        _replace(folder / f"{one.element}.upf", one.upf)
        _replace(folder / f"{one.element}.orb", one.orb)
        sources = {key: gth.table()[key] for key in ("source", "form", "added")}
        elements = dict(sorted((table["elements"] | {one.element: one.record}).items()))
        table = {"generator_version": GENERATOR_VERSION, **sources, "elements": elements}
        _replace(folder / PROVENANCE, json.dumps(table, indent=1) + "\n")
        write_lock(folder / LOCK, lock.with_elements({one.element: lock_element(folder, one.element)}))


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text)
    temporary.replace(path)

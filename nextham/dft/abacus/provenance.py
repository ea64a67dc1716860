"""Where a record comes from: what a run's INPUT, STRU and log tell."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import numpy as np

from nextham.core import Provenance, symbol
from nextham.dft.abacus.folder import RunFolder, truthy
from nextham.dft.abacus.shells import cutoffs_ang
from nextham.dft.abacus.stru import element_of
from nextham.dft.species.files import file_sha256
from nextham.physics.spin import TIME_REVERSAL_NOISE_EV
from nextham.units import RYDBERG_EV

H0_DEFINITION: Final = "atomic-density-step0"  # H of the superposed atomic densities, before any self-consistency
_NO_MOMENT: Final = 1e-5  # Bohr magnetons
_VECTORS: Final = (3, 9)  # the first release that takes of a moment given as a vector its z part, not its length


def provenance(
    id: str, h0: RunFolder | None, scf: RunFolder | None, odd_ev: Mapping[str, float] | None = None
) -> Provenance:
    """Return where the operators of a structure come from; keys and energies of the SCF run go first.

    Args:
        id: of the structure.
        h0: run of H0.
        scf: run of H.
        odd_ev: largest part of ``h0`` and ``hamiltonian`` that is odd under time reversal.
    """
    runs = [run for run in (scf, h0) if run is not None]
    run = runs[0]
    log, keys = run.log, run.parameters
    versions = list(dict.fromkeys(r.log.version.removeprefix("v") for r in runs if r.log.version))
    odd = odd_ev or {}
    magnetism = {
        name: _magnetism(r, odd.get(name, 0.0)) for name, r in (("hamiltonian", scf), ("h0", h0)) if r is not None
    }
    of_record = next(iter(magnetism.values()))
    of_h0 = magnetism.get("h0", of_record)
    digests = [r.sha256 for r in runs]
    sigma = _number(keys.get("smearing_sigma"))
    electrons = log.n_electrons if log.n_electrons is not None else _number(keys.get("nelec")) or None
    return Provenance(
        id=id,
        engine="abacus",
        engine_version=", ".join(versions),
        h0_definition=H0_DEFINITION if h0 else "",
        magnetism=of_record,
        h0_magnetism=of_h0 if of_h0 != of_record else "",
        fermi_energy_ev=log.fermi_energy_ev if scf else None,
        total_energy_ev=log.total_energy_ev if scf else None,
        n_electrons=electrons,
        ecutwfc_ry=_number(keys.get("ecutwfc")),
        kmesh=log.kmesh if scf else None,
        smearing=keys.get("smearing_method", ""),
        smearing_ev=None if sigma is None else sigma * RYDBERG_EV,
        converged=log.converged if scf else None,
        scf_steps=len(log.drho) if scf else None,
        scf_drho=log.drho[-1] if scf and log.drho else None,
        wall_time_s=sum(r.log.wall_time_s or 0.0 for r in runs) or None,
        h0_wall_s=h0.log.wall_time_s if h0 else None,
        scf_wall_s=scf.log.wall_time_s if scf else None,
        input_sha256=digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest(),
        pseudopotentials=_files(run, "upf", "pseudo_dir"),
        orbitals=_files(run, "orb", "orbital_dir"),
        orbital_cutoff_ang=cutoffs_ang(run),
    )


def _magnetism(run: RunFolder, odd_ev: float) -> str:
    """Tell whether an operator is magnetic, and how its density became so.

    A run that cannot be magnetic is nonmagnetic whatever its file holds, so that the checks see a damaged one. Any
    other is nonmagnetic if its operator is even under time reversal: most runs that start from moments lose them.
    """
    start = _start(run)
    if start == "nonmagnetic" or odd_ev <= TIME_REVERSAL_NOISE_EV:
        return "nonmagnetic"
    return start


def _start(run: RunFolder) -> str:
    """Tell what moments the density starts from; with noncolin 0 only the z part of a moment enters.

    Without any moment in STRU ABACUS sets some of its own accord, which not every version says in its log.
    """
    stru = run.stru
    if run.n_spin == 1:
        return "nonmagnetic"
    if run.log.autoset_moments or np.abs(stru.moments).max() <= _NO_MOMENT:
        return "autoset"
    old = (run.log.release or _VECTORS) < _VECTORS
    seen = stru.moments
    if not truthy(run.parameters.get("noncolin", "0")):
        seen = stru.z_before_3_9 if old else stru.moments[:, 2]
    return "moments" if np.abs(seen).max() > _NO_MOMENT else "nonmagnetic"


def _files(run: RunFolder, kind: str, key: str) -> Mapping[str, str]:
    """Name of each element's file, with its hash where the file is there."""
    out = {}
    for label, species in run.stru.species.items():
        name = getattr(species, kind)
        path = run.species_file(name, key)
        digest = f"@sha256:{file_sha256(path)}" if path else ""
        out[symbol(element_of(label))] = name + digest
    return out


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text.split()[0])
    except ValueError:
        return None

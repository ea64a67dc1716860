"""Optical conductivity: how far Re σ_xx(ω) of a prediction is from the reference's. By pyatb, never ranked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem
from nextham.exceptions import NexthamError
from nextham.physics import subspace
from nextham.physics.bands import eigenproblem
from nextham_bench.metrics.bands import ReferenceFacts
from nextham_bench.pyatb_process import Optics, spectra
from nextham_bench.tasks import Tasks, tasks

POSITION_MATRIX: Final = "r_ij(R) = S_ij(R) (x_i + x_j + R·cell) / 2: orbitals are taken to be centred on their atoms"


@dataclasses.dataclass(frozen=True)
class OpticsErrors:
    """Distances of one structure; None where there are none."""

    h0: float | None = None  # ∫ |Re σ_P - Re σ_H| dω / ∫ |Re σ_H| dω
    model: float | None = None
    bands_max_mev: float | None = None  # largest difference of pyatb's levels of the reference from ours
    skipped: str | None = None  # why


def optics_errors(
    system: LCAOSystem,
    predictions: Mapping[str, BlockMatrix],
    facts: ReferenceFacts,
    *,
    settings: Tasks | None = None,
) -> OpticsErrors:
    """Measure the optical conductivity of "h0" and "model" against the reference's.

    Args:
        system: one structure with overlap and hamiltonian.
        predictions: column: Hamiltonian on the same pairs.
        facts: levels of the reference.
        settings: frequencies, mesh, broadening.
    """
    settings = settings or tasks()
    task = settings.optics
    if facts.gap < task.min_gap_ev:
        return OpticsErrors(
            skipped=f"a gap of {facts.gap:.3f} eV is no insulator's, {task.min_gap_ev:g} eV are asked for"
        )
    if facts.overlap_min <= settings.bands.overlap_filter:
        return OpticsErrors(skipped="S(k) is nearly singular, and pyatb filters nothing")
    optics = Optics(
        mesh=task.mesh,
        omega_ev=task.omega_ev,
        step_ev=task.step_ev,
        broadening_ev=task.broadening_ev,
        n_occupied=round(facts.n_electrons),
    )
    k = subspace.k_points(settings.subspaces.mesh, settings.subspaces.offset)
    hamiltonians = {"reference": system.operator("hamiltonian"), **predictions}
    try:
        found = spectra(system, hamiltonians, k, optics=optics)
    except NexthamError as error:
        return OpticsErrors(skipped=f"pyatb failed with {error}")
    own = eigenproblem(system, k).energies
    true = found.sigma_xx["reference"]
    return OpticsErrors(
        h0=relative_distance(found.sigma_xx["h0"], true),
        model=relative_distance(found.sigma_xx["model"], true),
        bands_max_mev=1000 * float(np.abs(found.levels["reference"] - own).max()),
    )


def relative_distance(sigma: NDArray[np.complex128], reference: NDArray[np.complex128]) -> float | None:
    """Return ∫ |Re σ - Re σ_ref| dω / ∫ |Re σ_ref| dω by trapezoids; None where the reference absorbs nothing."""
    size = float(np.trapezoid(np.abs(reference.real)))
    return float(np.trapezoid(np.abs(sigma.real - reference.real))) / size if size > 0 else None

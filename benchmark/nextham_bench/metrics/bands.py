"""Band error: levels of a prediction against those of the reference, after one shift per structure.

Levels are compared band by band on a fixed mesh within a window around the reference's Fermi level. The shift
is the median of ε_P - ε_H over those levels: no other makes mean |ε_P - ε_H| smaller, and a few ghost levels
do not move it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, SpinLayout
from nextham.exceptions import InputError
from nextham.physics.bands import KMesh, eigenproblem, fermi_level, gap
from nextham_bench.tasks import BandsTask, GhostsTask, Tasks, tasks


@dataclasses.dataclass(frozen=True)
class BandErrors:
    """Errors of one prediction's levels of one structure, eV."""

    mean: float  # mean |ε_P - ε_H| over the window
    rms: float
    max: float
    occupied: float  # mean over the occupied levels of the window
    shift: float
    gap: float  # gap of P minus gap of H
    fermi: float  # Fermi level of P minus that of H, after the shift
    dos: float  # Wasserstein distance of the levels in the window, per level
    ghosts_per_k: float
    ghost_k_share: float  # share of k points with a ghost level or an outlying band error

    @property
    def has_ghost(self) -> bool:
        """Whether any k point shows a ghost state."""
        return self.ghost_k_share > 0


@dataclasses.dataclass(frozen=True)
class ReferenceLevels:
    """Levels of the reference on the mesh."""

    k: NDArray[np.float64]  # (n_k, 3) the k points that were solved
    of_mesh: NDArray[np.int64]  # (n_mesh,) which of them each mesh point has the levels of
    energies: NDArray[np.float64]  # (n_mesh, n_bands) eV
    fermi: float  # eV
    n_electrons: float
    overlap_condition: float  # largest cond(S(k))


def reference_levels(
    system: LCAOSystem, *, prediction: BlockMatrix | None = None, task: BandsTask | None = None
) -> ReferenceLevels:
    """Solve the reference on the mesh.

    Args:
        system: one structure with overlap and hamiltonian.
        prediction: what will be compared; it may break time reversal where the reference does not.
        task: window, mesh and overlap filter.

    Raises:
        InputError: if the record has neither a Fermi level nor an electron count.
    """
    task = task or tasks().bands
    layouts = {SpinLayout.of(values) for values in system.operators.values()}
    if prediction is not None:
        layouts.add(prediction.layout)
    mesh = KMesh.of(task.mesh, time_reversal=SpinLayout.FULL not in layouts)
    solved = eigenproblem(system, mesh.k, overlap_filter=task.overlap_filter)
    energies = solved.energies[mesh.of_mesh]
    fermi, n_electrons = _filling(system, energies)
    low, high = solved.overlap_range.T
    condition = float("inf") if low.min() <= 0 else float((high / low).max())
    return ReferenceLevels(mesh.k, mesh.of_mesh, energies, fermi, n_electrons, condition)


def band_errors(
    system: LCAOSystem, prediction: BlockMatrix, reference: ReferenceLevels, *, settings: Tasks | None = None
) -> BandErrors:
    """Measure the levels of a predicted Hamiltonian on the same pairs."""
    settings = settings or tasks()
    predicted = system.with_operator("hamiltonian", prediction.values)
    solved = eigenproblem(predicted, reference.k, overlap_filter=settings.bands.overlap_filter)
    return compare_levels(solved.energies[reference.of_mesh], reference, settings=settings)


def compare_levels(
    energies: NDArray[np.float64], reference: ReferenceLevels, *, settings: Tasks | None = None
) -> BandErrors:
    """Measure predicted levels (n_mesh, n_bands) against the reference's."""
    settings = settings or tasks()
    low, high = settings.bands.window_ev
    window = _within(reference.energies, reference.fermi + low, reference.fermi + high)
    if not window.any():
        raise InputError("the reference has no level within the window around its Fermi level")
    raw = energies - reference.energies
    shift = float(np.median(raw[window]))
    error = np.abs(raw - shift)
    occupied = window & (reference.energies <= reference.fermi)
    n = reference.n_electrons
    ghosts, outlying = ghost_states(energies - shift, reference, settings.ghosts, window_ev=(low, high))
    return BandErrors(
        mean=float(error[window].mean()),
        rms=float(np.sqrt((error[window] ** 2).mean())),
        max=float(error[window].max()),
        occupied=float(error[occupied].mean()) if occupied.any() else 0.0,
        shift=shift,
        gap=gap(energies, n) - gap(reference.energies, n),
        fermi=fermi_level(energies, n) - shift - fermi_level(reference.energies, n),
        dos=dos_distance(energies - shift, reference.energies, reference.fermi + low, reference.fermi + high),
        ghosts_per_k=float(ghosts.mean()),
        ghost_k_share=float(((ghosts > 0) | outlying).mean()),
    )


def ghost_states(
    energies: NDArray[np.float64], reference: ReferenceLevels, task: GhostsTask, *, window_ev: tuple[float, float]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return how many ghost levels each k point has, and which have an outlying band error.

    Predicted and reference levels are matched one to one within ``level_distance_ev``, as many as possible; a
    predicted level of the window without a partner is a ghost. A k point is outlying when its largest band error
    in the window is at least ``ratio`` times the median and at least ``max_error_ev``.
    """
    low, high = (reference.fermi + edge for edge in window_ev)
    count = np.zeros(len(energies), dtype=np.int64)
    outlying = np.zeros(len(energies), dtype=bool)
    for q, (predicted, true) in enumerate(zip(energies, reference.energies, strict=True)):
        finite = np.isfinite(true)
        lonely = predicted[finite][unmatched(predicted[finite], true[finite], task.level_distance_ev)]
        count[q] = _within(lonely, low, high).sum()
        error = np.abs(predicted - true)[_within(true, low, high)]
        if len(error):
            largest = error.max()
            outlying[q] = largest >= task.max_error_ev and largest >= task.ratio * np.median(error)
    return count, outlying


def unmatched(predicted: NDArray[np.float64], reference: NDArray[np.float64], distance: float) -> NDArray[np.bool_]:
    """Return which of the ascending predicted levels find no reference level of their own within a distance.

    Going up in energy and taking the lowest free partner matches as many levels as can be matched on a line.

    >>> unmatched(np.array([0.0, 0.1, 2.0]), np.array([0.0, 2.1, 5.0]), 0.3)
    array([False,  True, False])
    """
    lonely = np.ones(len(predicted), dtype=bool)
    free = 0
    for p, level in enumerate(predicted):
        while free < len(reference) and reference[free] < level - distance:
            free += 1
        if free < len(reference) and reference[free] <= level + distance:
            lonely[p] = False
            free += 1
    return lonely


def dos_distance(predicted: NDArray[np.float64], reference: NDArray[np.float64], low: float, high: float) -> float:
    """Return ∫ |N_P(ε) - N_H(ε)| dε over a window, per reference level in it (eV).

    N counts the levels below ε. It is the Wasserstein distance of the levels with those outside moved to the edges.
    """
    p, h = (levels[np.isfinite(levels)].clip(low, high) for levels in (predicted, reference))
    return float(scipy.stats.wasserstein_distance(p, h)) * h.size / int(_within(reference, low, high).sum())


def _within(levels: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (levels >= low) & (levels <= high)
    return inside


def _filling(system: LCAOSystem, energies: NDArray[np.float64]) -> tuple[float, float]:
    """Return the Fermi level (eV) and number of electrons; one that is not recorded follows from the other."""
    meta = system.meta[0]
    fermi, n_electrons = meta.fermi_energy_ev, meta.n_electrons
    if n_electrons is not None:
        return (fermi_level(energies, n_electrons) if fermi is None else fermi), n_electrons
    if fermi is not None:
        return fermi, float((energies < fermi).sum(axis=1).mean())
    raise InputError(
        f"{meta.id} has neither a Fermi level nor a number of electrons, which band errors need; score with --no-bands"
    )

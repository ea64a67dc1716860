"""Errors of energy levels after one shift per structure.

Levels are compared band by band within a window around the reference's Fermi level. The shift is the median of
ε_P - ε_H over the levels of the window on the mesh: no other makes mean |ε_P - ε_H| smaller, and a few ghost levels
do not move it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from nextham.exceptions import InputError
from nextham.physics.bands import band_edges, dos_distance, fermi_level, gap
from nextham_bench.metrics.ghosts import ghost_levels, outlying
from nextham_bench.metrics.levels import Levels, Solved
from nextham_bench.tasks import Tasks, tasks


@dataclasses.dataclass(frozen=True)
class BandErrors:
    """Errors of one prediction's levels of one structure, eV; None where there is nothing to compare."""

    mean: float  # mean |ε_P - ε_H| over the window, on the mesh
    rms: float
    max: float
    occupied: float | None  # mean over the occupied levels of the window
    path: float | None  # mean over the window on the standard path, with the mesh's shift
    path_max: float | None
    shift: float
    gap: float  # gap of P minus gap of H
    vbm: float | None  # highest filled level of P minus that of H, after the shift; None for a metal
    cbm: float | None  # lowest empty level
    fermi: float  # Fermi level of P minus that of H, after the shift
    soc_splitting: float | None  # spin-orbit splitting at Γ of P minus that of H
    soc_levels: float | None  # mean |difference of what spin-orbit coupling does to a level at Γ|
    dos: float  # Wasserstein distance of the levels in the window, per level
    ghosts_per_k: float
    ghost_k_share: float  # share of k points with a ghost level or an outlying band error


@dataclasses.dataclass(frozen=True)
class ReferenceFacts:
    """What the reference's levels are."""

    fermi: float  # eV
    n_electrons: float
    gap: float  # eV, indirect gap of the mesh, 0 for a metal
    soc_splitting: float | None  # eV, at Γ
    n_levels: int  # in the window, on the mesh
    n_path_k: int
    overlap_min: float
    overlap_condition: float | None  # None where S(k) is singular


def reference_facts(solved: Solved, *, settings: Tasks | None = None) -> ReferenceFacts:
    """Return what the errors of a structure are to be read with."""
    window = _window(solved, settings or tasks())
    condition = solved.overlap_condition
    return ReferenceFacts(
        fermi=solved.fermi,
        n_electrons=solved.n_electrons,
        gap=gap(solved.reference.mesh, solved.n_electrons),
        soc_splitting=_splitting(solved.reference.soc_shifts, _inside(solved.reference.mesh[0], window)),
        n_levels=int(_inside(solved.reference.mesh, window).sum()),
        n_path_k=len(solved.reference.path),
        overlap_min=solved.overlap_min,
        overlap_condition=condition if np.isfinite(condition) else None,
    )


def band_errors(predicted: Levels, solved: Solved, *, settings: Tasks | None = None) -> BandErrors:
    """Measure the levels of one prediction.

    Raises:
        InputError: if the reference has no level in the window.
    """
    settings = settings or tasks()
    window, reference, n = _window(solved, settings), solved.reference, solved.n_electrons
    inside = _inside(reference.mesh, window)
    if not inside.any():
        raise InputError(
            f"the reference has no level between {window[0]:.2f} and {window[1]:.2f} eV, around its Fermi level; "
            "its Fermi level is not that of its matrices"
        )
    raw = predicted.mesh - reference.mesh
    shift = float(np.median(raw[inside]))
    error = np.abs(raw - shift)
    on_path = np.abs(predicted.path - shift - reference.path)[_inside(reference.path, window)]
    occupied = error[inside & (reference.mesh <= solved.fermi)]
    moved, at_gamma = predicted.mesh - shift, inside[0]
    vbm, cbm = _edge_errors(moved, solved)
    mine, true = (_splitting(levels.soc_shifts, at_gamma) for levels in (predicted, reference))
    soc = np.abs(predicted.soc_shifts - reference.soc_shifts)[at_gamma]
    ghosts, odd = _ghosts(moved, solved, window, settings)
    return BandErrors(
        mean=float(error[inside].mean()),
        rms=float(np.sqrt((error[inside] ** 2).mean())),
        max=float(error[inside].max()),
        occupied=_mean(occupied),
        path=_mean(on_path),
        path_max=float(on_path.max()) if on_path.size else None,
        shift=shift,
        gap=gap(predicted.mesh, n) - gap(reference.mesh, n),
        vbm=vbm,
        cbm=cbm,
        fermi=fermi_level(moved, n) - fermi_level(reference.mesh, n),
        soc_splitting=None if mine is None or true is None else mine - true,
        soc_levels=_mean(soc),
        dos=dos_distance(moved, reference.mesh, window),
        ghosts_per_k=float(ghosts.mean()),
        ghost_k_share=float(((ghosts > 0) | odd).mean()),
    )


def _window(solved: Solved, settings: Tasks) -> tuple[float, float]:
    low, high = settings.bands.window_ev
    return solved.fermi + low, solved.fermi + high


def _inside(levels: NDArray[np.float64], window_ev: tuple[float, float]) -> NDArray[np.bool_]:
    low, high = window_ev
    inside: NDArray[np.bool_] = (levels >= low) & (levels <= high)
    return inside


def _mean(errors: NDArray[np.float64]) -> float | None:
    return float(errors.mean()) if errors.size else None


def _splitting(soc_shifts: NDArray[np.float64], chosen: NDArray[np.bool_]) -> float | None:
    """Return max δ - min δ over the chosen levels."""
    return float(np.ptp(soc_shifts[chosen])) if chosen.any() else None


def _edge_errors(moved: NDArray[np.float64], solved: Solved) -> tuple[float | None, float | None]:
    """Return the errors of VBM and CBM where the reference has a gap."""
    true, mine = (band_edges(levels, solved.n_electrons) for levels in (solved.reference.mesh, moved))
    if true is None or mine is None or true[1] <= true[0]:
        return None, None
    return mine[0] - true[0], mine[1] - true[1]


def _ghosts(
    moved: NDArray[np.float64], solved: Solved, window: tuple[float, float], settings: Tasks
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return how many ghost levels each mesh point has, and which have an outlying band error."""
    _, first = np.unique(solved.of_mesh, return_index=True)  # levels at k and -k are the same
    mine, true = moved[first], solved.reference.mesh[first]
    distance = settings.ghosts.level_distance_ev
    ghosts = ghost_levels(mine, true, window_ev=window, distance_ev=distance).sum(axis=1)
    odd = outlying(mine, true, window_ev=window, task=settings.ghosts)
    return ghosts[solved.of_mesh], odd[solved.of_mesh]

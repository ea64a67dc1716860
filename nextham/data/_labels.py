"""The check of labels: do positions, R and S belong together? S alone tells, without the engine's word."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem
from nextham.data.settings import CheckSettings
from nextham.exceptions import CheckError
from nextham.physics.neighbours import geometric_pairs

_STEEPEST_INV_ANG: Final = 5.0  # |S| of ABACUS's orbitals changes by at most 0.9 per Å
_SAME_OVERLAP: Final = 1e-4  # two |S| of one distance, printed digits and the rounding of positions included
_SAME_LOG_OVERLAP: Final = 2e-3  # the same for ln |S|
_DECAY_FROM_ANG: Final = 1.6  # nearer atoms (H-X, C-C) may be where |S| still grows with the distance


def check_labels(system: LCAOSystem, overlap: BlockMatrix, settings: CheckSettings) -> None:
    """Check that positions are folded, and that |S_ij| (Frobenius) is a decaying function of the distance.

    It depends on the distance and the two elements alone: turning a pair turns its block by orthogonal matrices. So
    no pair without overlap is nearer than one with a sizeable overlap, pairs of nearly one distance have nearly one
    |S|, and farther ones have less, unless these are not the positions of S.
    """
    name = system.ids[0]
    fractional = system.structure().fractional
    outside = ((fractional < -1e-8) | (fractional >= 1 + 1e-8)).any(axis=1)
    if outside.any():
        atom = int(np.argmax(outside))
        raise CheckError(
            "labels",
            f"{name}: atom {atom} is outside the home cell at {np.round(fractional[atom], 6).tolist()}; "
            "fold the positions before the run, R counts from folded ones",
        )
    norm = np.sqrt(np.add.reduceat(np.abs(overlap.values[0]) ** 2, overlap.block_ptr[:-1]))
    _check_holes(system, norm, settings.label_overlap)
    _check_decay(system, norm, settings)


def _check_holes(system: LCAOSystem, norm: NDArray[np.float64], sizeable: float) -> None:
    ij, R, distance = geometric_pairs(system, float(system.distances[norm > sizeable].max(initial=0.0)))
    listed = {
        (*pair, *cell): value
        for pair, cell, value in zip(system.pairs.ij.tolist(), system.pairs.R.tolist(), norm, strict=True)
    }
    held = np.array([listed.get((*pair, *cell), 0.0) for pair, cell in zip(ij.tolist(), R.tolist(), strict=True)])
    elements = np.sort(system.numbers[ij], axis=1)
    for kind in np.unique(elements, axis=0):
        own = (elements == kind).all(axis=1)
        near_hole = np.where(own & (held == 0), distance, np.inf)
        far = np.where(own & (held > sizeable), distance, -np.inf)
        if near_hole.min(initial=np.inf) < far.max(initial=-np.inf) - 1e-3:
            a, b = int(np.argmin(near_hole)), int(np.argmax(far))
            raise CheckError(
                "labels",
                f"{system.ids[0]}: pair {pair_label(ij[a], R[a])} is {distance[a]:.3f} Å apart without overlap, but "
                f"pair {pair_label(ij[b], R[b])} has {held[b]:.1e} at {distance[b]:.3f} Å; "
                "the positions are not those (folded) that R counts from",
            )


def _check_decay(system: LCAOSystem, norm: NDArray[np.float64], settings: CheckSettings) -> None:
    """Compare each pair with the pairs of the same elements that are nearer: the one before, and the weakest."""
    elements = np.sort(system.numbers[system.pairs.ij], axis=1)
    sizeable = norm > settings.label_overlap
    for kind in np.unique(elements, axis=0):
        own = np.flatnonzero((elements == kind).all(axis=1) & sizeable)
        own = own[np.argsort(system.distances[own], kind="stable")]
        d, s = system.distances[own], norm[own]
        jump = np.abs(np.diff(s)) - _STEEPEST_INV_ANG * np.diff(d)
        if len(jump) and jump.max() > _SAME_OVERLAP:
            k = int(np.argmax(jump))
            raise _other_positions(system, norm, (own[k], own[k + 1]))
        far = np.flatnonzero(d > _DECAY_FROM_ANG)
        if settings.label_decay_inv_ang is None or not len(far):
            continue
        damped = np.log(s[far]) + settings.label_decay_inv_ang * d[far]
        rise = damped - np.minimum.accumulate(damped)
        if rise.max() > _SAME_LOG_OVERLAP:
            k = int(np.argmax(rise))
            raise _other_positions(system, norm, (own[far[np.argmin(damped[:k])]], own[far[k]]))


def _other_positions(system: LCAOSystem, norm: NDArray[np.float64], pairs: tuple[np.int64, np.int64]) -> CheckError:
    near, far = (f"{pair_name(system, int(p))} has |S| = {norm[p]:.4g} at {system.distances[p]:.4f} Å" for p in pairs)
    return CheckError(
        "labels",
        f"{system.ids[0]}: pair {near} and pair {far}, but |S| of two elements depends on the distance alone and "
        "decays with it; the positions are not those of the run that wrote S: put its own STRU beside its matrices",
    )


def pair_name(system: LCAOSystem, pair: int) -> str:
    """Return how sentences call a pair: ``(i, j, R)``."""
    return pair_label(system.pairs.ij[pair], system.pairs.R[pair])


def pair_label(ij: NDArray[np.int64], R: NDArray[np.int64]) -> str:
    """Return the same of two atoms and a cell."""
    return f"({ij[0]}, {ij[1]}, {tuple(R.tolist())})"

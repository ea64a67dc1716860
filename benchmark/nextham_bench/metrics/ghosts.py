"""Ghost states: levels that a prediction has and the reference has not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nextham_bench.tasks import GhostsTask


def ghost_levels(
    predicted: NDArray[np.float64],
    reference: NDArray[np.float64],
    *,
    window_ev: tuple[float, float],
    distance_ev: float,
) -> NDArray[np.bool_]:
    """Return which predicted levels (n_k, n_bands) are ghosts.

    At each k predicted and reference levels are matched one to one within a distance, as many as possible; a
    predicted level of the window without a partner is a ghost.

    Args:
        predicted: (n_k, n_bands) eV ascending, after the shift onto the reference.
        reference: as many.
        window_ev: lower and upper edge.
        distance_ev: largest distance of partners.
    """
    low, high = window_ev
    ghosts = np.zeros(predicted.shape, dtype=bool)
    for row, mine, true in zip(ghosts, predicted, reference, strict=True):
        n, m = int((mine <= high).sum()), int((true <= high + distance_ev).sum())  # levels above change nothing
        row[:n] = unmatched(mine[:n], true[:m], distance_ev) & (mine[:n] >= low)
    return ghosts


def outlying(
    predicted: NDArray[np.float64], reference: NDArray[np.float64], *, window_ev: tuple[float, float], task: GhostsTask
) -> NDArray[np.bool_]:
    """Return at which k (n_k,) the largest band error in the window stands out: ghosts that push levels aside.

    It is at least ``ratio`` times the median and at least ``max_error_ev``.
    """
    low, high = window_ev
    found = np.zeros(len(predicted), dtype=bool)
    for q, (mine, true) in enumerate(zip(predicted, reference, strict=True)):
        error = np.abs(mine - true)[(true >= low) & (true <= high)]
        if len(error):
            largest = error.max()
            found[q] = largest >= task.max_error_ev and largest >= task.ratio * np.median(error)
    return found


def unmatched(predicted: NDArray[np.float64], reference: NDArray[np.float64], distance: float) -> NDArray[np.bool_]:
    """Return which of the ascending predicted levels find no reference level of their own within a distance.

    Going up in energy and taking the lowest free partner matches as many levels as can be matched on a line.

    >>> unmatched(np.array([0.0, 0.1, 2.0]), np.array([0.0, 2.1, 5.0]), 0.3)
    array([False,  True, False])
    """
    lonely = np.ones(len(predicted), dtype=bool)
    levels, free = reference.tolist(), 0
    for p, level in enumerate(predicted.tolist()):
        while free < len(levels) and levels[free] < level - distance:
            free += 1
        if free < len(levels) and levels[free] <= level + distance:
            lonely[p] = False
            free += 1
    return lonely

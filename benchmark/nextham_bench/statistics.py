"""Confidence intervals over structures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from nextham_bench.schema import Interval
from nextham_bench.tasks import tasks


def interval_of_mean(values: ArrayLike) -> Interval | None:
    """Return the bootstrap interval of a mean over structures; None for fewer than two."""
    return _interval((np.asarray(values, dtype=np.float64),), lambda x, axis: x.mean(axis=axis))


def interval_of_skill(model: ArrayLike, baseline: ArrayLike) -> Interval | None:
    """Return the bootstrap interval of 1 - mean(model)/mean(baseline), structures drawn in pairs.

    None for fewer than two structures, and where a draw finds no error of the baseline to compare with.
    """
    pair = (np.asarray(model, dtype=np.float64), np.asarray(baseline, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _interval(pair, lambda m, b, axis: 1 - m.mean(axis=axis) / b.mean(axis=axis))
    return found if found and math.isfinite(found.low) and math.isfinite(found.high) else None


def _interval(data: tuple[np.ndarray[Any, Any], ...], statistic: Callable[..., Any]) -> Interval | None:
    if len(data[0]) < 2:
        return None
    task = tasks().bootstrap
    found = scipy.stats.bootstrap(
        data,
        statistic,
        n_resamples=task.resamples,
        confidence_level=task.confidence,
        method="percentile",
        paired=True,
        vectorized=True,
        batch=64,
        rng=np.random.default_rng(task.seed),
    ).confidence_interval
    return Interval(low=float(found.low), high=float(found.high), confidence=task.confidence)


PERMUTATIONS = 9999


def paired_p_value(first: ArrayLike, second: ArrayLike) -> float | None:
    """Return the two-sided p value of the paired permutation test of a mean difference; None for fewer than two.

    If two predictions were equally good, the sign of each structure's difference would be a matter of chance. The
    p value is the share of all ways to choose the signs (of ``PERMUTATIONS`` random ones where there are more)
    whose mean difference is at least as large as the one found.
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if len(a) < 2:
        return None
    if np.array_equal(a, b):
        return 1.0
    found = scipy.stats.permutation_test(
        (a, b),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=256,
        rng=np.random.default_rng(tasks().bootstrap.seed),
    )
    return float(found.pvalue)

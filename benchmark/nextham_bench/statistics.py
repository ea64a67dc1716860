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

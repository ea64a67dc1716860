"""How far a training is, and what follows from it: the learning rate."""

from __future__ import annotations

import math

from nextham.train.settings import TrainSettings


def progress(options: TrainSettings, *, epochs: float, seconds: float) -> float:
    """Return which part of the training is behind, 0 to 1; at 1 it is over.

    With a budget the schedule falls over the time there is, so that a training that its budget ends has come to the
    end of its schedule too, be it within its first epoch.

    Args:
        options: with ``epochs``, ``budget_minutes`` or both; whichever is farther counts.
        epochs: that are finished, with the part of the current one.
        seconds: spent so far.
    """
    last, budget = options.last_epoch, options.budget_minutes
    by_epochs = epochs / last if last else 0.0
    by_time = seconds / (60 * budget) if budget else 0.0
    return min(1.0, max(by_epochs, by_time))


def learning_rate(options: TrainSettings, *, step: int, done: float) -> float:
    """Return the learning rate of a step (from 0): half a cosine down to 1 %, times a linear warm-up."""
    warm = min(1.0, (step + 1) / max(1, options.warmup_steps))
    return options.learning_rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


def expected_epochs(options: TrainSettings, *, epoch_s: float) -> float:
    """Return how many epochs of so many seconds a training has."""
    fit = 60 * options.budget_minutes / epoch_s if options.budget_minutes else math.inf
    return min(fit, options.last_epoch or math.inf)

"""How far a training is, and what follows from it: the learning rate."""

from __future__ import annotations

import math

from nextham.train.settings import TrainSettings


def expected_epochs(options: TrainSettings, *, epoch_s: float) -> int:
    """Return how many epochs of so many seconds a training has."""
    fit = max(1, round(60 * options.budget_minutes / epoch_s)) if options.budget_minutes else None
    return min(n for n in (fit, options.last_epoch) if n is not None)


def is_over(options: TrainSettings, *, epochs: int, seconds: float) -> bool:
    """Return whether no more epoch belongs to the training: another would end farther from the budget than this one."""
    last, budget_s = options.last_epoch, 60 * (options.budget_minutes or math.inf)
    return epochs == last or seconds + seconds / max(1, epochs) / 2 >= budget_s


def span(options: TrainSettings, *, epochs: int, seconds: float) -> tuple[float, float]:
    """Return which part of the training the next epoch is, as two numbers between 0 and 1.

    Time counts as well as epochs: with a budget the schedule falls over the time there is, so that a training that
    its budget ends has come to the end of its schedule too.

    Args:
        options: with ``epochs``, ``budget_minutes`` or both.
        epochs: that are finished.
        seconds: that they took.
    """
    later = seconds + seconds / max(1, epochs)
    start, end = _done(options, epochs, seconds), _done(options, epochs + 1, later)
    return start, 1.0 if is_over(options, epochs=epochs + 1, seconds=later) else end


def learning_rate(options: TrainSettings, *, step: int, done: float) -> float:
    """Return the learning rate of a step (from 0): half a cosine down to 1 %, times a linear warm-up."""
    warm = min(1.0, (step + 1) / max(1, options.warmup_steps))
    return options.learning_rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


def _done(options: TrainSettings, epochs: int, seconds: float) -> float:
    last, budget = options.last_epoch, options.budget_minutes
    by_epochs = epochs / last if last else 0.0
    by_time = seconds / (60 * budget) if budget else 0.0
    return min(1.0, max(by_epochs, by_time))

"""Learning rate and length of a training, by epochs and by time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_training import fit, rows, run, same, system, weights, write

from nextham.train import loop
from nextham.train.schedule import expected_epochs, is_over, learning_rate, span
from nextham.train.settings import EPOCHS, TrainSettings


def followed(options, duration):
    """Return the spans of a training whose epoch n takes duration(n) seconds, and the seconds."""
    spans, seconds = [], 0.0
    while not is_over(options, epochs=len(spans), seconds=seconds):
        spans.append(span(options, epochs=len(spans), seconds=seconds))
        seconds += duration(len(spans) - 1)
    return spans, seconds


@pytest.mark.parametrize(("options", "n"), [(TrainSettings(epochs=7), 7), (TrainSettings(), EPOCHS)])
def test_epochs_share_the_schedule(options, n):
    spans, _ = followed(options, lambda epoch: 10.0 + epoch)
    assert spans == [pytest.approx((k / n, (k + 1) / n)) for k in range(n)]
    assert spans[-1][1] == 1


@given(st.floats(0.5, 40), st.floats(0.2, 3), st.booleans())
def test_a_budget_ends_with_a_finished_schedule(per_epoch, slower, bounded):
    """Epochs that become slower, as they do when levels begin to count; the end is the one nearest the budget."""
    options = TrainSettings(budget_minutes=10, epochs=10_000 if bounded else None)
    spans, seconds = followed(options, lambda epoch: per_epoch * (slower if epoch > 300 / per_epoch else 1))
    assert abs(seconds - 600) <= 0.75 * per_epoch * max(1, slower)
    assert all(0 <= begin <= end <= 1 for begin, end in spans)
    assert spans[-1][1] > 1 - 1.6 * per_epoch * max(1, slower) / 600


def test_what_comes_first_ends_a_training():
    assert len(followed(TrainSettings(epochs=5, budget_minutes=10), lambda _: 60.0)[0]) == 5
    assert len(followed(TrainSettings(epochs=50, budget_minutes=10), lambda _: 60.0)[0]) == 10
    assert len(followed(TrainSettings(budget_minutes=10), lambda _: 6000.0)[0]) == 1
    assert expected_epochs(TrainSettings(epochs=50, budget_minutes=10), epoch_s=60) == 10
    assert expected_epochs(TrainSettings(), epoch_s=60) == EPOCHS


def test_learning_rate_rises_and_falls():
    options = TrainSettings(learning_rate=1.0, warmup_steps=10)
    assert learning_rate(options, step=0, done=0.0) == pytest.approx(0.1)
    assert learning_rate(options, step=9, done=0.0) == pytest.approx(1.0)
    assert learning_rate(options, step=500, done=0.5) == pytest.approx(0.505)
    assert learning_rate(options, step=900, done=1.0) == pytest.approx(0.01)


def test_a_training_follows_its_budget_and_goes_on_after_an_interruption(tmp_path, monkeypatch):
    """A clock that only epochs move: as many as the budget holds, with their learning rates."""
    store = write(tmp_path / "store", *map(system, "abcd"))
    epoch_of, now = loop.Training._epoch, [0.0]

    def slow(self, epoch):
        now[0] += 10.0
        return epoch_of(self, epoch)

    def dying(self, epoch):
        if epoch == 4:
            raise KeyboardInterrupt
        return slow(self, epoch)

    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(loop.Training, "_epoch", slow)
    by_time, by_epochs = fit(epochs=None, budget_minutes=1), fit(epochs=6)
    found = run(store, tmp_path / "time", settings=by_time)
    rates = [row["learning_rate"] for row in run(store, tmp_path / "epochs", settings=by_epochs)]
    assert [float(row["learning_rate"]) for row in found] == pytest.approx([float(rate) for rate in rates])
    assert run(store, tmp_path / "time", settings=by_time, resume=True) == rows(tmp_path / "time") == found
    with monkeypatch.context() as patch:
        patch.setattr(loop.Training, "_epoch", dying)
        with pytest.raises(KeyboardInterrupt):
            run(store, tmp_path / "killed", settings=by_time)
    assert run(store, tmp_path / "killed", settings=by_time, resume=True) == found
    assert same(weights(tmp_path / "killed"), weights(tmp_path / "time"))

"""Learning rate and length of a training, by epochs and by time."""

from __future__ import annotations

import pytest
from small_training import fit, interrupted_at, rows, run, same, system, weights, write

from nextham.train import loop
from nextham.train.schedule import expected_epochs, learning_rate, progress
from nextham.train.settings import EPOCHS, TrainSettings


@pytest.mark.parametrize(("options", "n"), [(TrainSettings(epochs=7), 7), (TrainSettings(), EPOCHS)])
def test_epochs_share_the_schedule(options, n):
    assert [progress(options, epochs=k, seconds=1e9) for k in range(n)] == [pytest.approx(k / n) for k in range(n)]
    assert progress(options, epochs=n - 0.01, seconds=0) < 1
    assert progress(options, epochs=n, seconds=0) == 1


def test_what_is_farther_counts():
    both, time = TrainSettings(epochs=5, budget_minutes=10), TrainSettings(budget_minutes=10)
    assert progress(both, epochs=2, seconds=60) == pytest.approx(0.4)
    assert progress(both, epochs=2, seconds=420) == pytest.approx(0.7)
    assert progress(time, epochs=10**6, seconds=420) == pytest.approx(0.7)
    assert progress(both, epochs=2, seconds=6000) == 1
    assert expected_epochs(both, epoch_s=60) == 5
    assert expected_epochs(both, epoch_s=240) == 2.5
    assert expected_epochs(time, epoch_s=60) == 10
    assert expected_epochs(TrainSettings(), epoch_s=60) == EPOCHS


def test_learning_rate_rises_and_falls():
    options = TrainSettings(learning_rate=1.0, warmup_steps=10)
    assert learning_rate(options, step=0, done=0.0) == pytest.approx(0.1)
    assert learning_rate(options, step=9, done=0.0) == pytest.approx(1.0)
    assert learning_rate(options, step=500, done=0.5) == pytest.approx(0.505)
    assert learning_rate(options, step=900, done=1.0) == pytest.approx(0.01)


@pytest.fixture
def steps(monkeypatch):
    """A clock that only steps move, ten seconds each; (epoch, learning rate) of every step."""
    step_of, now, found = loop.Training.step, [0.0], []

    def slow(self, ids):
        losses = step_of(self, ids)
        found.append((self.state.epoch + 1, self.optimizer.param_groups[0]["lr"]))
        now[0] += 10.0
        return losses

    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(loop.Training, "step", slow)
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "store", *map(system, "abcd"))  # three steps an epoch


def test_a_budget_has_the_schedule_of_as_many_epochs(store, tmp_path, steps):
    by_epochs = run(store, tmp_path / "epochs", settings=fit(epochs=4))
    expected = list(steps)
    steps.clear()
    by_time = run(store, tmp_path / "time", settings=fit(epochs=None, budget_minutes=2))
    assert [epoch for epoch, _ in steps] == [epoch for epoch, _ in expected]
    assert [rate for _, rate in steps] == pytest.approx([rate for _, rate in expected])
    assert [row["epoch"] for row in by_time] == [row["epoch"] for row in by_epochs]


@pytest.mark.parametrize("n", [1, 2, 4, 5])
def test_a_budget_that_ends_within_an_epoch_ends_with_a_finished_schedule(store, tmp_path, steps, n):
    options = {"epochs": None, "budget_minutes": n / 6, "warmup_steps": 0, "levels_from": 0.5, "levels_full": 0.9}
    found = run(store, tmp_path / "run", settings=fit(**options))
    assert found[-1]["steps"] == str(n)
    assert found[-1]["val_skill"]
    whole = fit(**options).train
    assert [rate for _, rate in steps] == [learning_rate(whole, step=k, done=k / n) for k in range(n)]
    assert run(store, tmp_path / "run", settings=fit(**options), resume=True) == rows(tmp_path / "run") == found


def test_a_training_with_a_budget_goes_on_after_an_interruption(store, tmp_path, steps):
    settings = fit(epochs=None, budget_minutes=100 / 60)
    found = run(store, tmp_path / "whole", settings=settings)
    assert [row["steps"] for row in found] == ["3", "6", "9", "10"]
    with interrupted_at(epoch=3):
        run(store, tmp_path / "killed", settings=settings)
    assert run(store, tmp_path / "killed", settings=settings, resume=True) == found
    assert same(weights(tmp_path / "killed"), weights(tmp_path / "whole"))

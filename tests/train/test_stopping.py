"""When a training ends by itself, and what it leaves for TensorBoard."""

from __future__ import annotations

import sys

import pytest
from small_training import fit, interrupted_at, rows, run, same, system, training, weights, write

from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.exceptions import InputError
from nextham.train import loop
from nextham.train.score import Score

LOSSES = [5.0, 4.0, 4.5, 4.2, 4.1, 3.0]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return write(tmp_path_factory.mktemp("data") / "store", *map(system, "abcd"))


@pytest.fixture
def losses(monkeypatch) -> None:
    """Validations at epochs 2, 4, ... find made-up losses."""
    plain = loop.Training._score

    def score(self, epoch):
        return plain(self, epoch)[0], LOSSES[epoch // 2 - 1]

    monkeypatch.setattr(loop.Training, "_score", score)


@pytest.mark.usefixtures("losses")
def test_training_stops_when_validation_stops_improving(store, tmp_path):
    settings = fit(epochs=12, patience_epochs=4)
    found = run(store, tmp_path / "run", settings=settings)
    assert [row["epoch"] for row in found] == [str(k) for k in range(1, 9)]  # best at 4, no better at 6 and 8
    assert run(store, tmp_path / "run", settings=settings, resume=True) == found
    assert len(run(store, tmp_path / "free", settings=fit(epochs=12))) == 12


@pytest.mark.usefixtures("losses")
def test_patience_counts_on_over_an_interruption(store, tmp_path):
    settings = fit(epochs=12, patience_epochs=4)
    whole = run(store, tmp_path / "whole", settings=settings)
    with interrupted_at(epoch=6):
        run(store, tmp_path / "killed", settings=settings)
    assert run(store, tmp_path / "killed", settings=settings, resume=True) == whole
    assert same(weights(tmp_path / "killed"), weights(tmp_path / "whole"))


def test_patience_needs_validation(store, tmp_path):
    with pytest.raises(InputError, match=r"train\.patience_epochs needs structures in val; add some to the split"):
        training(store, tmp_path, fit(patience_epochs=3), split=Split({"train": ("a",)}))


def test_levels_count_in_what_is_best():
    score = Score(mae_mev=1.0, h0_mev=2.0, p_mev=10.0, pq_mev=20.0, q_mev=40.0)
    assert score.objective(fit(p_weight=0.1, pq_weight=0.2, q_weight=0.5).train) == pytest.approx(2 + 1 + 4 + 20)


def test_tensorboard_gets_the_numbers_of_the_log(store, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings = fit(epochs=2, tensorboard=True)
    run(store, tmp_path / "run", settings=settings)
    run(store, tmp_path / "run", settings=settings, resume=True)
    found = events.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    found.Reload()
    curve = [(e.step, e.value) for e in found.Scalars("train_mev")]
    told = rows(tmp_path / "run")
    assert curve == [(int(row["epoch"]), pytest.approx(float(row["train_mev"]), rel=1e-6)) for row in told]
    assert [e.step for e in found.Scalars("val/mev")] == [2]


def test_tensorboard_that_is_not_installed_is_told_before_the_first_step(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(ModuleNotFoundError) as missing:
        run(store, tmp_path / "run", settings=fit(tensorboard=True))
    assert missing.value.name == "tensorboard"  # which the command line turns into: pip install 'nextham[tensorboard]'
    assert rows(tmp_path / "run") == []

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from small_training import BASIS, MODEL, SPLIT, fit, run, same, system, training, weights, write

from nextham.core import OrbitalBasis
from nextham.data.splits import Split
from nextham.data.store import Store, StoreWriter
from nextham.exceptions import InputError, NexthamError
from nextham.model import checkpoint
from nextham.model.vocabulary import Vocabulary
from nextham.physics.align import aligned
from nextham.physics.errors import moduli
from nextham.predict import predicted
from nextham.testing import synthetic_system, zincblende
from nextham.train import loop
from nextham.train.cost import dry_run
from nextham.train.loader import Loader
from nextham.train.log import read_log
from nextham.train.sample import Builder
from nextham.train.settings import FitSettings, TrainSettings


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return write(tmp_path_factory.mktemp("data") / "store", *map(system, "abcd"))


def test_killed_training_resumes_with_the_losses_of_one_that_was_not(store, tmp_path, monkeypatch):
    whole = run(store, tmp_path / "whole")
    step, calls = loop.Training.step, []

    def dying(self, ids):
        calls.append(ids)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return step(self, ids)

    monkeypatch.setattr(loop.Training, "step", dying)
    with pytest.raises(KeyboardInterrupt):
        run(store, tmp_path / "killed")
    monkeypatch.undo()
    assert len(read_log(tmp_path / "killed" / "log.csv")) == 2
    torch.manual_seed(99)
    assert run(store, tmp_path / "killed", resume=True) == whole
    assert same(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    assert run(store, tmp_path / "killed", resume=True) == whole  # nothing left to do


def test_seed_decides_everything(store, tmp_path):
    rows = [run(store, tmp_path / str(k), settings=fit(seed=seed, epochs=2)) for k, seed in enumerate((1, 1, 2))]
    assert rows[0] == rows[1] != rows[2]


def test_training_beats_h0_on_its_own_structures(alsb, tmp_path):
    with StoreWriter(tmp_path / "store") as writer:
        writer.add(alsb)
    settings = FitSettings(train=TrainSettings(epochs=25, warmup_steps=5, learning_rate=5e-3, ema_decay=0.8))
    split = Split({"train": (alsb.ids[0],)})
    metrics = loop.train(Store(tmp_path / "store"), split, settings=settings, out=tmp_path / "run")
    model, _ = checkpoint.load(tmp_path / "run" / "best")
    error = predicted(alsb, model).operator("hamiltonian") - alsb.operator("hamiltonian")
    weight = error.pairs.multiplicity[error.pair_of_value]

    def overall(matrix) -> float:
        left, _ = aligned(matrix, alsb.operator("overlap"))
        return float((moduli(left)[2] * weight).sum() / weight.sum() / 4 * 1e3)

    prior = overall(alsb.operator("h0") - alsb.operator("hamiltonian"))
    assert overall(error) < 0.6 * prior
    assert 0 < metrics["train_mev"] < prior


def test_without_trace_grad_training_runs(store, tmp_path):
    settings = fit(epochs=1)
    plain = settings.model_copy(update={"model": settings.model.model_copy(update={"trace_grad": False})})
    assert float(run(store, tmp_path / "run", settings=plain)[0]["trace"]) == 0


def test_batches_keep_within_their_cost():
    build = Builder(Vocabulary(BASIS), fit())
    loader = Loader(system, {"a": 5, "b": 4, "c": 20, "d": 3}, build=build, batch_pairs=9, cache_pairs=0)
    assert loader.packed(["a", "b", "c", "d"]) == [("a", "b"), ("c",), ("d",)]
    assert sorted(i for ids in loader.epoch(0, 1) for i in ids) == ["a", "b", "c", "d"]
    assert loader.epoch(0, 1) == loader.epoch(0, 1)


def test_folders_and_data_that_do_not_fit_are_refused(store, tmp_path):
    out = tmp_path / "run"
    run(store, out, settings=fit(epochs=1))
    with pytest.raises(InputError) as refused:
        run(store, out)
    assert str(refused.value) == (
        f"{out} holds a training already; pass --resume to continue it, or choose another folder"
    )
    with pytest.raises(InputError) as refused:
        run(store, out, settings=fit(learning_rate=1e-4), resume=True)
    assert str(refused.value) == (
        f"{out}/state holds a training with other settings, split or data; "
        "train into another folder, or pass --restart to replace it"
    )
    other = fit(learning_rate=1e-4, epochs=1)
    loop.train(store, SPLIT, settings=other, out=out, resume=True, restart=True)
    assert len(read_log(out / "log.csv")) == 1  # the new training alone
    with StoreWriter(tmp_path / "other") as writer:
        for id, elements in (("a", ("Ga", "As")), ("b", ("Al", "As"))):
            writer.add(synthetic_system(zincblende(*elements), BASIS | OrbitalBasis.parse("Al:1s1p"), id=id))
    with pytest.raises(InputError, match="b in val contains Al, which no structure in train has; move one to train"):
        loop.train(Store(tmp_path / "other"), Split({"train": ("a",), "val": ("b",)}), settings=fit(), out=out / "no")
    with pytest.raises(InputError, match="the split has no structures in train; make one with nextham split"):
        loop.train(store, Split({"train": (), "val": ("a",)}), settings=fit(), out=tmp_path / "none")
    with StoreWriter(tmp_path / "bare") as writer:
        writer.add(system("a").without("hamiltonian"))
    with pytest.raises(InputError) as refused:
        loop.train(Store(tmp_path / "bare"), Split({"train": ("a",)}), settings=fit(), out=tmp_path / "none")
    assert str(refused.value) == (
        f"a in {tmp_path}/bare has no hamiltonian, which training needs; leave it out of the split"
    )


def test_damaged_state_is_refused(store, tmp_path):
    out = tmp_path / "run"
    run(store, out, settings=fit(epochs=1))
    (out / "state" / "training.pt").write_bytes(b"not a state")
    with pytest.raises(InputError, match=r"training\.pt cannot be read \(.*\); delete it to start the training again"):
        run(store, out, settings=fit(epochs=1), resume=True)


def test_loss_that_is_no_number_stops_with_the_structure(store, tmp_path):
    broken = training(store, tmp_path, fit())
    with torch.no_grad():
        next(broken.network.parameters()).fill_(float("nan"))
    with pytest.raises(NexthamError) as refused:
        broken.step(("a",))
    assert str(refused.value) == "the loss of a is not a number after 0 steps; lower learning_rate"


def test_dry_run_prints_sizes_and_writes_nothing(store, tmp_path):
    text = dry_run(store, SPLIT, settings=fit())
    assert "parameters" in text
    assert "an epoch and" in text
    assert list(tmp_path.iterdir()) == []


def test_settings_survive_in_the_checkpoint(store, tmp_path):
    run(store, tmp_path / "run", settings=fit(epochs=2))
    card = checkpoint.read_card(tmp_path / "run" / "best")
    assert card.settings == MODEL
    assert card.training["epochs"] == 2
    assert card.split_sha256 == dict(SPLIT.sha256)
    assert card.metrics["val_skill"] == pytest.approx(1 - card.metrics["val_mev"] / card.metrics["val_h0_mev"])
    assert dataclasses.asdict(card)["h0_definition"] == store.h0_definition
    assert np.isfinite(card.metrics["train_mev"])

from __future__ import annotations

import dataclasses
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from nextham.core import LCAOSystem, OrbitalBasis
from nextham.data.splits import Split
from nextham.data.store import Store, StoreWriter
from nextham.exceptions import InputError, NexthamError
from nextham.model import checkpoint
from nextham.model.batch import Batch, Vocabulary
from nextham.model.settings import ModelSettings
from nextham.physics.align import aligned
from nextham.physics.errors import moduli
from nextham.predict import predicted
from nextham.testing import synthetic_system, zincblende
from nextham.train import loop
from nextham.train.cost import dry_run
from nextham.train.loader import Loader
from nextham.train.log import read_log
from nextham.train.loss import gauge_mae, trace_targets
from nextham.train.settings import FitSettings, TrainSettings

MODEL = ModelSettings(channels=4, lmax=2, n_blocks=1, n_heads=2, width=16)
BASIS = OrbitalBasis.parse("Ga:1s1p1d As:2s1p")
SPLIT = Split({"train": ("a", "b", "c"), "val": ("d",)})


def system(id: str) -> LCAOSystem:
    seed = ord(id)
    return synthetic_system(zincblende(rattle_ang=0.02 * (seed - 96)), BASIS, id=id, cutoff_ang=4.5, seed=seed)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    path = tmp_path_factory.mktemp("data") / "store"
    with StoreWriter(path) as writer:
        for id in "abcd":
            writer.add(system(id))
    return Store(path)


def fit(**train) -> FitSettings:
    defaults = {
        "epochs": 4,
        "save_every_epochs": 1,
        "validate_every_epochs": 2,
        "warmup_steps": 2,
        "device": "cpu",
        "batch_pairs": 1,
    }
    return FitSettings(model=MODEL, train=TrainSettings(**(defaults | train)))


def run(store: Store, out, *, settings: FitSettings | None = None, resume: bool = False) -> list[dict[str, str]]:
    loop.train(store, SPLIT, settings=settings or fit(), out=out, resume=resume)
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_log(out / "log.csv")]


def weights(out) -> dict[str, torch.Tensor]:
    return checkpoint.load(out / "last")[0].state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


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


def batch_of(systems: list[LCAOSystem]) -> Batch:
    joined = LCAOSystem.concat(systems)
    return Batch.build(joined, Vocabulary(joined.basis), settings=MODEL, dtype=torch.float64, labels=True)


def test_loss_is_the_benchmarks_gauge_mae():
    systems = [system("a"), system("b")]
    batch = batch_of(systems)
    found = gauge_mae(-batch.target, batch)
    for k, one in enumerate(systems):
        error, _ = aligned(one.operator("h0") - one.operator("hamiltonian"), one.operator("overlap"))
        weight = error.pairs.multiplicity[error.pair_of_value]
        expected = (moduli(error)[2] * weight).sum() / weight.sum() / 4
        assert found[k].item() / 2 == pytest.approx(expected, rel=1e-12)


def test_loss_does_not_feel_an_energy_shift_nor_does_its_gradient():
    batch = batch_of([system("a"), system("b")])
    error = (batch.target * 0.3).requires_grad_()
    shift = torch.tensor([0.7, -0.2], dtype=torch.float64)[batch.structure_of_value] * batch.overlap[None]
    assert (gauge_mae(error + shift, batch) - gauge_mae(error, batch)).abs().max() < 1e-12
    gauge_mae(error, batch).sum().backward()
    assert abs((error.grad * shift).sum()) < 1e-12


def test_trace_targets_are_traces_of_shell_pairs():
    one = system("a")
    batch = batch_of([one])
    group = batch.onsite.groups[0]
    block = batch.target[0, group.index[0]].reshape(9, 9)  # Ga: s, p, d
    starts = [0, 1, 4, 9]
    expected = [(block[a:b, c:d] ** 2).sum() for a, b in pairwise(starts) for c, d in pairwise(starts)]
    assert trace_targets(batch)[0][0].tolist() == pytest.approx([float(e) for e in expected])


def test_batches_keep_within_their_cost():
    loader = Loader(system, {"a": 5, "b": 4, "c": 20, "d": 3}, build=partial(id), batch_pairs=9, cache_pairs=0)
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
    training = loop.Training(loop.prepare(store, SPLIT, fit()), fit().train, tmp_path)
    with torch.no_grad():
        next(training.network.parameters()).fill_(float("nan"))
    with pytest.raises(NexthamError) as refused:
        training.step(("a",))
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

"""Losses and trainings of targets with spin, and of the ablations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nextham.core import BlockMatrix, LCAOSystem, OrbitalBasis
from nextham.data.splits import Split
from nextham.data.store import Store, StoreWriter
from nextham.model.batch import Batch
from nextham.model.checkpoint import load
from nextham.model.settings import ModelSettings
from nextham.model.vocabulary import Vocabulary
from nextham.physics.align import aligned
from nextham.physics.errors import moduli
from nextham.predict import predicted
from nextham.testing import magnetic, synthetic_system, zincblende
from nextham.train import loop
from nextham.train.loss import gauge_mae
from nextham.train.settings import FitSettings, TrainSettings

SIZES = {"channels": 4, "lmax": 3, "n_blocks": 1, "n_heads": 2, "width": 16}
ABLATIONS = {
    "no h0": {"descriptors": ["overlap"]},
    "no descriptors": {"descriptors": []},
    "no delta": {"target": "pauli", "delta": False},
    "pauli": {"target": "pauli"},
    "magnetic": {"target": "pauli-magnetic"},
    "ensemble": {"ensemble": [3.0]},
}


def system(settings: ModelSettings) -> LCAOSystem:
    plain = synthetic_system(
        zincblende(rattle_ang=0.05), OrbitalBasis.parse("Ga:1s1p1d As:2s1p"), id="a", cutoff_ang=4.5
    )
    return magnetic(plain) if settings.target == "pauli-magnetic" else plain


def gauge_mae_of(one: LCAOSystem, error: BlockMatrix) -> float:
    """The benchmark's Gauge MAE, eV."""
    left, _ = aligned(error, one.operator("overlap"))
    weight = left.pairs.multiplicity[left.pair_of_value]
    return float((moduli(left)[2] * weight).sum() / weight.sum() / 4)


def learnt(one: LCAOSystem, settings: ModelSettings) -> BlockMatrix:
    return one.correction if settings.delta else one.operator("hamiltonian")


@pytest.mark.parametrize("name", ["pauli", "no delta", "magnetic"])
def test_loss_with_spin_is_the_benchmarks_gauge_mae(name):
    settings = ModelSettings(**SIZES, **ABLATIONS[name])
    one = system(settings)
    vocabulary = Vocabulary(one.basis, settings.target)
    batch = Batch.build(one, vocabulary, settings=settings, dtype=torch.float64, labels=True)
    assert gauge_mae(-batch.target, batch)[0].item() / 2 == pytest.approx(
        gauge_mae_of(one, learnt(one, settings)), rel=1e-10
    )
    assert gauge_mae(batch.h0_error, batch)[0].item() / 2 == pytest.approx(gauge_mae_of(one, one.correction), rel=1e-10)


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_trains_and_predicts(tmp_path, name):
    model = ModelSettings(**SIZES, **ABLATIONS[name])
    one = system(model)
    with StoreWriter(tmp_path / "store") as writer:
        writer.add(one)
        writer.add(one.with_meta(id="b"))
    options = TrainSettings(
        epochs=20, warmup_steps=3, learning_rate=1e-2, ema_decay=0.5, device="cpu", k_pool=2, k_per_step=1
    )
    settings = FitSettings(model=model, train=options)
    split = Split({"train": ("a",), "val": ("b",)})
    metrics = loop.train(Store(tmp_path / "store"), split, settings=settings, out=tmp_path / "run")
    network, _ = load(tmp_path / "run" / "best")
    error = predicted(one, network).operator("hamiltonian") - one.operator("hamiltonian")
    mae = gauge_mae_of(one, error)
    assert mae * 1e3 == pytest.approx(metrics["val_mev"], rel=1e-3)
    assert metrics["val_h0_mev"] == pytest.approx(1e3 * gauge_mae_of(one, one.correction), rel=1e-6)
    assert mae < 0.98 * gauge_mae_of(one, learnt(one, model))
    assert np.isfinite(metrics["val_p_mev"])

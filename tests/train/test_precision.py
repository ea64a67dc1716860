"""Matrix products in bfloat16, everything that matters in more."""

from __future__ import annotations

import pytest
import torch
from small_training import fit, rows, run, system, training, weights, write

from nextham.data.store import Store
from nextham.model.layers import sum_into


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return write(tmp_path_factory.mktemp("data") / "store", *map(system, "abcd"))


def test_mixed_precision_learns_and_stays_close_to_float32(store, tmp_path):
    common = {"epochs": 12, "learning_rate": 1e-2, "validate_every_epochs": 12, "p_weight": 0.0, "pq_weight": 0.0}
    found = {name: run(store, tmp_path / name, settings=fit(precision=name, **common)) for name in KINDS}
    first, last = ([float(found[name][k]["train_mev"]) for name in KINDS] for k in (0, -1))
    assert last[1] < 0.9 * first[1]
    assert first[0] != first[1] == pytest.approx(first[0], rel=1e-3)
    assert last[1] == pytest.approx(last[0], rel=2e-2)
    assert {w.dtype for w in weights(tmp_path / "bf16-mixed").values()} == {torch.float32}


KINDS = ("float32", "bf16-mixed")


def test_rounding_happens_in_training_alone(store, tmp_path):
    networks = [training(store, tmp_path, fit(precision=name)).network for name in KINDS]
    sample = training(store, tmp_path, fit()).task.train.sample(("a",))
    with torch.no_grad():
        plain, mixed = (network.eval()(sample.batch).correction for network in networks)
        assert torch.equal(plain, mixed)
        rounded = networks[1].train()(sample.batch).correction
    assert rounded.dtype == torch.float64
    assert 0 < (rounded - plain).abs().max() < 0.05 * plain.abs().max()


def test_sums_over_neighbours_are_not_taken_in_bfloat16():
    ones = torch.ones(1000, 1, dtype=torch.bfloat16)
    total = sum_into(1, torch.zeros(1000, dtype=torch.int64), ones)
    assert (float(total), total.dtype) == (1000.0, torch.float32)  # bfloat16 stops at 256


def test_losses_are_float64(store, tmp_path):
    one = training(store, tmp_path, fit(precision="bf16-mixed"))
    losses = one.step(("a",))
    assert losses is not None
    assert {losses.real.dtype, losses.p_mev.dtype, losses.gauge_mae_mev.dtype} == {torch.float64}
    assert rows(tmp_path) == []

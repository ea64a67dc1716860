"""Batches that do not fit are cut, structures that do not fit are left out, and the training goes on."""

from __future__ import annotations

import warnings

import pytest
import torch
from small_training import SPLIT, fit, run, same, system, training, weights, write

from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.exceptions import NexthamError
from nextham.train import loop
from nextham.train.cost import dry_run
from nextham.train.memory import Memory, saved_bytes, step_bytes, weight_bytes
from nextham.train.step import Step


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return write(tmp_path_factory.mktemp("data") / "store", *map(system, "abcd"))


def out_of_memory_above(n: int, monkeypatch) -> None:
    part = Step._part

    def limited(self, ids, weight, **options):
        found = part(self, ids, weight, **options)  # gradients are there already, as when a backward pass fails
        if len(ids) > n:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    monkeypatch.setattr(Step, "_part", limited)


def test_batch_that_runs_out_of_memory_is_cut_and_learns_the_same(store, tmp_path, monkeypatch):
    settings = fit(batch_pairs=10**6, precision="float64", epochs=2)
    whole = run(store, tmp_path / "whole", settings=settings)
    out_of_memory_above(1, monkeypatch)
    with pytest.warns(UserWarning, match=r"a batch of 3 structures \(\d+ pairs\) would need more memory than there is"):
        cut = run(store, tmp_path / "cut", settings=settings)
    assert [row["steps"] for row in cut] == [row["steps"] for row in whole] == ["1", "2"]
    assert float(cut[-1]["train_mev"]) == pytest.approx(float(whole[-1]["train_mev"]), rel=1e-9)
    a, b = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    assert all(torch.allclose(a[k], b[k], rtol=1e-6, atol=1e-9) for k in a)


def test_structure_that_does_not_fit_alone_is_left_out(store, tmp_path, monkeypatch):
    out_of_memory_above(0, monkeypatch)
    with (
        pytest.warns(UserWarning, match=r"a \(\d+ pairs\) would need .* fit\): it is left out of the training"),
        pytest.raises(NexthamError, match="no structure of the training set fits into memory; choose a smaller model"),
    ):
        loop.train(store, Split({"train": ("a",)}), settings=fit(), out=tmp_path / "run")


def test_estimate_cuts_batches_before_they_are_made(store, tmp_path):
    settings = fit(batch_pairs=10**6, epochs=2)
    free = training(store, tmp_path, settings)
    free.network.train()
    one, three = (saved_bytes(free.network, lambda ids=ids: free.total(ids)) for ids in (("a",), tuple("abc")))
    assert one < three < 3.5 * one
    gb = (weight_bytes(free.network) + 2.2 * step_bytes(one)) / 1e9  # room for two structures
    settings = fit(batch_pairs=10**6, epochs=2, max_memory_gb=gb)
    with pytest.warns(UserWarning, match=r"a batch of 3 structures .* such batches are cut in two"):
        run(store, tmp_path / "run", settings=settings)
    with pytest.warns(UserWarning, match="cut in two"):
        run(store, tmp_path / "again", settings=settings)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "again"))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*would need more memory")
        run(store, tmp_path / "roomy", settings=settings.model_copy(update={"train": fit(max_memory_gb=8.0).train}))
    with pytest.raises(NexthamError, match=r"max_memory_gb is 1e-06, but the weights and their optimiser alone take"):
        training(store, tmp_path, fit(max_memory_gb=1e-6))


@pytest.mark.filterwarnings("ignore:.*would need more memory")
def test_limit_falls_until_a_batch_fits(store, tmp_path):
    memory, ids = Memory(training(store, tmp_path, fit()).task.train), ("a", "b", "c")
    assert memory.parts(ids) == [ids]
    memory.ran_out(ids)
    assert memory.parts(ids) == [("a",), ("b", "c")]
    memory.ran_out(ids)
    assert memory.parts(ids) == [("a",), ("b",), ("c",)]
    memory.ran_out(ids)
    assert memory.parts(ids) == []


def test_dry_run_measures_activations(store):
    text = dry_run(store, SPLIT, settings=fit(batch_pairs=10**6))
    assert "MB for activations of the largest batch (3 structures, " in text
    small, large = (dry_run(store, SPLIT, settings=fit(batch_pairs=n)) for n in (1, 10**6))
    told = [float(t.split("average, ")[1].split(" MB")[0]) for t in (small, large)]
    assert 0 < told[0] < told[1]

"""What reaches the device, and that it was read before it was asked for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from small_training import BASIS, fit, rows, run, system, training, weights, write

from nextham.model.vocabulary import Vocabulary
from nextham.train.feed import Feed
from nextham.train.loader import Loader
from nextham.train.sample import Builder


def test_eigenvectors_are_solved_once_however_batches_are_packed(monkeypatch):
    solved = []
    spectrum = Builder.spectrum
    monkeypatch.setattr(Builder, "spectrum", lambda self, one: solved.append(one.ids[0]) or spectrum(self, one))
    build = Builder(Vocabulary(BASIS), fit())
    loader = Loader(system, dict.fromkeys("abc", 5), build=build, batch_pairs=10, cache_pairs=100)
    samples = [loader.sample(ids) for ids in (("a", "b"), ("c",), ("b", "c"), ("a",))]
    assert solved == ["a", "b", "c"]
    assert [len(sample.spectra) for sample in samples] == [2, 1, 2, 1]
    assert samples[2].spectra == samples[0].spectra[1:] + samples[1].spectra


def test_caches_forget_what_was_used_longest_ago():
    read = []
    build = Builder(Vocabulary(BASIS), fit(p_weight=0, pq_weight=0))
    loader = Loader(lambda id: read.append(id) or system(id), dict.fromkeys("abc", 5), build=build, **ROOM_FOR_TWO)
    for id in "abacaba":
        loader.sample((id,))
    assert read == ["a", "b", "c", "b"]


ROOM_FOR_TWO = {"batch_pairs": 5, "cache_pairs": 10}


def test_next_batch_is_read_while_the_device_works(tmp_path, monkeypatch):
    """As on CUDA, with memory that only pretends to be pinned."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    loader = training(write(tmp_path / "store", *map(system, "abcd")), tmp_path, fit()).task.train
    sample, read = loader.sample, []

    def told(ids):
        read.append((ids, threading.current_thread() is threading.main_thread()))
        return sample(ids)

    monkeypatch.setattr(loader, "sample", told)
    feed = Feed(loader, torch.device("cpu"))
    feed.expect([("a",)])
    assert read == []  # nothing to hide on the CPU
    feed._pool = ThreadPoolExecutor(1)
    feed.expect([("a",), ("b",)])
    first = feed.sample(("a",))
    feed.expect([("b",), ("c",)])
    assert torch.equal(first.batch.overlap, sample(("a",)).batch.overlap)
    feed.sample(("b",))
    feed.sample(("c",))
    feed.sample(("a",))
    assert read == [((id,), False) for id in "abca"]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float64", "bf16-mixed"])
def test_training_on_cuda_is_that_on_the_cpu(tmp_path, precision):
    store = write(tmp_path / "store", *map(system, "abcd"))
    for device in ("cpu", "cuda"):
        run(store, tmp_path / device, settings=fit(device=device, precision=precision))
    on_cpu, on_cuda = (float(rows(tmp_path / device)[-1]["val_mev"]) for device in ("cpu", "cuda"))
    assert on_cuda == pytest.approx(on_cpu, rel=1e-6 if precision == "float64" else 2e-2)
    assert len(weights(tmp_path / "cuda")) == len(weights(tmp_path / "cpu"))

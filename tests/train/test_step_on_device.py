"""A step on a device that refuses mixed devices as CUDA does, and on CUDA itself."""

from __future__ import annotations

import copy

import pytest
import torch
from pretended_device import DEVICE, PretendedDevice
from small_training import BASIS, fit, rows, run, system, write

from nextham.model.batch import Batch
from nextham.model.network import NextHAM
from nextham.model.settings import ModelSettings
from nextham.model.statistics import Statistics
from nextham.model.vocabulary import Vocabulary
from nextham.train.loss import Measure
from nextham.train.sample import Builder, Sample


@pytest.mark.parametrize("shift", ["real-space", "all-terms"])
def test_step_on_a_device_is_that_of_the_processor_and_never_waits(shift):
    settings = fit(shift=shift, q_weight=0.1, precision="float64")
    build = Builder(Vocabulary(BASIS), settings)
    crystals = [system(id).with_meta(fermi_energy_ev=0.0) for id in "ab"]
    sample = Sample(Batch.joined([build.batch(c) for c in crystals]), tuple(build.spectrum(c) for c in crystals))
    network = NextHAM(settings.model, build.vocabulary, Statistics.measure(lambda: [sample.batch], build.vocabulary))
    here, there = network.double(), copy.deepcopy(network)

    def backward(model: NextHAM, own: Sample, k_at: torch.Tensor) -> torch.Tensor:
        losses = Measure(settings.train, 1.0).losses(model(own.batch), own, k_at=k_at, share=0.5)
        total = losses.total(settings.train, share=0.5)
        total.backward()
        return total.detach()

    due = backward(here, sample, torch.arange(3))
    with PretendedDevice() as device:
        moved, own, k_at = there.to(DEVICE), sample.to(DEVICE), torch.arange(3).to(DEVICE)
        device.waits = 0
        found = backward(moved, own, k_at)
        assert device.waits == 0
        assert float(found.to("cpu")) == pytest.approx(float(due), rel=1e-12)
        largest = max(float(p.grad.abs().max()) for p in here.parameters())
        for a, b in zip(here.parameters(), moved.parameters(), strict=True):
            assert (a.grad - b.grad.to("cpu")).abs().max() < 1e-12 * largest
    assert device.calls.total() < 6000


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*would need more memory")
def test_cuda_that_runs_out_of_memory_cuts_batches_and_learns_the_same(tmp_path):
    store = write(tmp_path / "store", *map(system, "abcd"))
    large = ModelSettings(channels=64, width=256)
    options = {"device": "cuda", "precision": "float64", "epochs": 2, "p_weight": 0.0, "pq_weight": 0.0}
    peaks = {}
    for name, n_pairs in (("alone", 1), ("together", 10**6)):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        run(store, tmp_path / name, settings=fit(batch_pairs=n_pairs, **options).model_copy(update={"model": large}))
        peaks[name] = torch.cuda.max_memory_reserved()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((peaks["alone"] + peaks["together"]) / 2 / total)
    try:
        with pytest.warns(UserWarning, match=r"a batch of 3 structures .* such batches are cut in two"):
            run(store, tmp_path / "cut", settings=fit(batch_pairs=10**6, **options).model_copy(update={"model": large}))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    cut, together = (float(rows(tmp_path / name)[-1]["val_mev"]) for name in ("cut", "together"))
    assert cut == pytest.approx(together, rel=1e-6)

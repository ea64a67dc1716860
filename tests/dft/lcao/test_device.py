"""The engine on a device that refuses mixed devices as CUDA does, what it asks of it, and what lacking memory means."""

import dataclasses

import numpy as np
import pytest
import torch
from made_up_species import cell_of_two, write_species
from pretended_device import DEVICE, PretendedDevice

from nextham.dft.engine import Cause, RunError
from nextham.dft.lcao import memory
from nextham.dft.lcao.device import Cut, computing, cut_of, free_bytes
from nextham.dft.lcao.engine import LCAOEngine
from nextham.dft.lcao.gint import GridIntegrator
from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.lcao.hamiltonian import FixedParts
from nextham.dft.lcao.kspace import KSpace, occupations
from nextham.dft.lcao.plan import load_crystal
from nextham.dft.lcao.settings import LCAOSettings
from nextham.units import RYDBERG_EV

OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    made = write_species(tmp_path_factory.mktemp("species"))
    return made.model_copy(update={"box_edge_bohr": None, "mixed_precision": False, "kmesh": (3, 1, 1)})


def pretended(settings, folder):
    """Return a run on the pretended device, and the device."""
    with PretendedDevice() as device:
        engine = LCAOEngine(settings.model_copy(update={"device": str(DEVICE)}))
        return engine.scf(cell_of_two(), id="SiC", folder=folder), device


def difference(one, two, operator):
    """Return max |difference| in Ry (S: 1)."""
    a, b = (r.system.operators[operator] for r in (one, two))
    return np.abs(a - b).max() / (1.0 if operator == "overlap" else RYDBERG_EV)


def test_device_computes_the_same(settings, tmp_path):
    due = LCAOEngine(settings).scf(cell_of_two(), id="SiC", folder=tmp_path)
    result, _ = pretended(settings, tmp_path)
    assert result.system.pairs == due.system.pairs
    assert difference(result, due, "overlap") == 0
    assert difference(result, due, "h0") < 1e-10
    assert difference(result, due, "hamiltonian") < 1e-8
    assert np.abs(result.levels.energies - due.levels.energies).max() < 1e-6


def test_device_is_asked_rarely(settings, tmp_path):
    """Each call costs some 10 µs to start (a view less), each wait for a number empties the queue."""
    result, device = pretended(settings.model_copy(update={"mixed_precision": True}), tmp_path)
    steps = result.system.meta[0].scf_steps
    assert device.waits < 4 * steps + 20
    assert device.calls.total() < 1300 * (steps + 1)
    assert device.calls["aten::bmm"] < 25 * (steps + 1)
    assert torch.get_float32_matmul_precision() == "highest"


def test_fermi_level_is_found_without_waiting():
    levels = torch.from_numpy(np.random.default_rng(0).normal(size=(10, 30)).cumsum(axis=1))
    weights = torch.full((10,), 0.1, dtype=torch.float64)
    due, _ = occupations(levels, weights, 7.0, 0.5)
    with PretendedDevice() as device:
        found, filling = occupations(levels.to(DEVICE), weights.to(DEVICE), 7.0, 0.5)
        assert device.waits == 0
        assert float(found) == pytest.approx(float(due), abs=1e-13)
        assert float((filling.cpu().sum(dim=1) * weights).sum()) == pytest.approx(7.0, abs=1e-12)


def test_operands_on_two_devices_are_refused(settings):
    """As CUDA would: or the test above would show nothing."""
    crystal = load_crystal(cell_of_two(), LCAOEngine(settings).species, id="SiC")
    overlap = FixedParts.of(crystal).overlap
    with PretendedDevice():
        grid = FFTGrid(crystal.cell, 8.0, device=DEVICE)
        g = GridIntegrator(crystal, grid, overlap, cut=cut_of(DEVICE), keep_bytes=0)
        assert g.potential_matrix(torch.zeros(grid.n_points, dtype=torch.float64, device=DEVICE)).device == DEVICE
        with pytest.raises(RuntimeError, match="tensors of two devices"):
            g.potential_matrix(torch.zeros(grid.n_points, dtype=torch.float64))


def test_batches_bound_what_is_on_the_device(settings):
    crystal = load_crystal(cell_of_two(), LCAOEngine(settings).species, id="SiC")
    overlap = FixedParts.of(crystal).overlap
    sizes = []
    for most in (2**15, 2**24):
        with PretendedDevice() as device:
            grid = FFTGrid(crystal.cell, 150.0, device=DEVICE)
            cut = Cut(1.3, 512, most, 2**15, 15)
            g = GridIntegrator(crystal, grid, overlap, cut=cut, keep_bytes=0)
            g.potential_matrix(torch.zeros(grid.n_points, dtype=torch.float64, device=DEVICE))
            sizes.append(device.largest)
    assert sizes[0] < 4 * 2**15 < sizes[1]


def test_tf32_is_off_while_computing_and_comes_back():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with computing(torch.device("cpu"), id="x"):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
        with pytest.raises(ValueError, match="other"), computing(torch.device("cpu"), id="x"):
            raise ValueError("other")
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(OUT_OF_MEMORY),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`\nand more"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_is_an_error_of_the_structure(settings, tmp_path, monkeypatch, error):
    def lack(*_):
        raise error

    monkeypatch.setattr(KSpace, "solve", lack)
    with pytest.raises(RunError, match=r"^s-1: cpu ran out of memory \([^\n]*\); use fewer processes[^\n]*$") as caught:
        LCAOEngine(settings).scf(cell_of_two(), id="s-1", folder=tmp_path)
    assert caught.value.cause is Cause.OUT_OF_MEMORY


def test_other_faults_stay_what_they_are(settings, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(KSpace, "solve", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        LCAOEngine(settings).scf(cell_of_two(), id="s-1", folder=tmp_path)


def test_device_memory_is_told_before_it_starts(settings, monkeypatch):
    crystal = load_crystal(cell_of_two(), LCAOEngine(settings).species, id="s-1")
    there = settings.model_copy(update={"device": "cuda"})
    monkeypatch.setattr(memory, "free_bytes", lambda _: 2.0**28)
    with pytest.raises(
        RunError, match=r"s-1 \(CSi\) needs about 0\.\d GB on cuda, .* 0\.2 GB are free there: use"
    ) as caught:
        memory.check_memory(crystal, there, 4, id="s-1")
    assert caught.value.cause is Cause.OUT_OF_MEMORY
    monkeypatch.setattr(memory, "free_bytes", lambda _: 2.0**36)
    memory.check_memory(crystal, there, 4, id="s-1")


def test_estimate_knows_of_batches_and_device(settings):
    crystal = load_crystal(cell_of_two(), LCAOEngine(settings).species, id="s-1")
    here = memory.estimate_memory(crystal, settings, 4)
    there = memory.estimate_memory(crystal, settings.model_copy(update={"device": "cuda"}), 4)
    assert there.orbitals > 2 * here.orbitals  # batches and pads
    assert there.on_device < there.total
    assert free_bytes(torch.device("cpu")) is None


def test_an_edge_that_is_set_is_kept():
    cuda = cut_of(torch.device("cuda"), 1.0)
    assert cuda == dataclasses.replace(cut_of(torch.device("cuda")), edge_bohr=1.0)


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:", "cuda0"])
def test_other_devices_are_refused(name):
    with pytest.raises(ValueError, match="device"):
        LCAOSettings(device=name)

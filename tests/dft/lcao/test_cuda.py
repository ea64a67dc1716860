"""The engine on CUDA against the engine on the processor, on crystals of embedded species."""

import numpy as np
import pytest
import torch

from nextham.core import Structure
from nextham.dft.engine import Cause, RunError
from nextham.dft.lcao.device import cut_of, free_bytes
from nextham.dft.lcao.engine import LCAOEngine
from nextham.dft.lcao.settings import LCAOSettings
from nextham.units import RYDBERG_EV

pytestmark = pytest.mark.gpu

FCC = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
CUBE = np.concatenate([np.zeros((1, 3)), FCC])
CRYSTALS = {
    "GaAs": Structure.from_fractional(["Ga", "As"], [[0, 0, 0], [0.26, 0.25, 0.24]], 5.75 * FCC),
    "PbTe": Structure.from_fractional(["Pb", "Te"], [[0, 0, 0], [0.5, 0.5, 0.5]], 6.56 * FCC),
    "Al": Structure.from_fractional(["Al"], [[0, 0, 0]], 4.05 * FCC),
    "BN-slab": Structure.from_fractional(
        ["B", "N"], [[0, 0, 0.5], [1 / 3, 2 / 3, 0.5]], np.array([[2.5, 0, 0], [-1.25, 2.165, 0], [0, 0, 14.0]])
    ),
    "Si4Ge4": Structure.from_fractional(
        ["Si"] * 4 + ["Ge"] * 4,
        np.concatenate([CUBE, CUBE + 0.25]),
        5.55 * np.eye(3),
    ),
}


def settings(**more):
    return LCAOSettings(kspacing_inv_bohr=0.25, ecutwfc_ry=60.0, mixed_precision=False, **more)


@pytest.mark.parametrize("name", CRYSTALS)
def test_cuda_computes_the_same(cuda, name, tmp_path):
    cpu = LCAOEngine(settings()).scf(CRYSTALS[name], id=name, folder=tmp_path)
    found = LCAOEngine(settings(**cuda)).scf(CRYSTALS[name], id=name, folder=tmp_path)
    one, two = cpu.system, found.system
    assert one.pairs == two.pairs
    assert one.meta[0].scf_steps == two.meta[0].scf_steps
    assert np.array_equal(one.operators["overlap"], two.operators["overlap"])
    assert np.abs(one.operators["h0"] - two.operators["h0"]).max() < 1e-10 * RYDBERG_EV
    assert np.abs(one.operators["hamiltonian"] - two.operators["hamiltonian"]).max() < 1e-8 * RYDBERG_EV
    assert np.abs(cpu.levels.energies - found.levels.energies).max() < 1e-5  # empty bands of small overlap


@pytest.mark.parametrize("more", [{}, {"orbital_memory_gb": 0.0}], ids=str)
def test_float32_changes_end_where_float64_does(cuda, more, tmp_path):
    double = LCAOEngine(settings(**cuda)).scf(CRYSTALS["GaAs"], id="GaAs", folder=tmp_path).system
    mixed = settings(**cuda, **more).model_copy(update={"mixed_precision": True})
    single = LCAOEngine(mixed).scf(CRYSTALS["GaAs"], id="GaAs", folder=tmp_path).system
    gap = np.abs(double.operators["hamiltonian"] - single.operators["hamiltonian"]).max()
    assert 0 < gap < 1e-6 * RYDBERG_EV


def test_eigenvectors_of_a_batch_are_orthonormal_at_every_call(cuda):
    """A batched complex64 solver of CUDA was wrong from its third call on (PyTorch issue 192483)."""
    torch.manual_seed(0)
    h = torch.randn(512, 52, 52, dtype=torch.complex128, device="cuda")
    h = h + h.mH
    for _ in range(4):
        e, c = torch.linalg.eigh(h)
        assert (c.mH @ c - torch.eye(52, device="cuda")).abs().max() < 1e-11
        assert (h @ c - c * e[:, None]).abs().max() < 1e-10


def test_memory_that_runs_out_is_an_error_and_the_next_structure_is_computed(cuda, tmp_path):
    engine = LCAOEngine(settings(**cuda, orbital_memory_gb=64.0, max_memory_gb=200.0))
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2**27 / total)
    try:
        with pytest.raises(RunError, match=r"^Si4Ge4: cuda ran out of memory \([^\n]*\); use fewer") as caught:
            engine.scf(CRYSTALS["Si4Ge4"], id="Si4Ge4", folder=tmp_path)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert caught.value.cause is Cause.OUT_OF_MEMORY
    assert engine.h0(CRYSTALS["Al"], id="Al", folder=tmp_path).system.n_atoms == 1


def test_too_little_device_memory_is_told_before_it_starts(cuda, tmp_path):
    device = torch.device("cuda")
    held = torch.empty(int(free_bytes(device)) - 2**28, dtype=torch.uint8, device=device)
    try:
        with pytest.raises(RunError, match="are free there: use fewer processes"):
            LCAOEngine(settings(**cuda)).h0(CRYSTALS["Si4Ge4"], id="Si4Ge4", folder=tmp_path)
    finally:
        del held
        torch.cuda.empty_cache()


def test_peak_stays_below_the_estimate(cuda, tmp_path):
    from nextham.dft.geometry import mesh_of
    from nextham.dft.lcao.memory import estimate_memory
    from nextham.dft.lcao.plan import load_crystal
    from nextham.physics.bands import KMesh

    chosen, crystal = settings(**cuda), CRYSTALS["Si4Ge4"]
    n_k = len(KMesh.of(mesh_of(crystal, chosen)).k)
    estimate = estimate_memory(load_crystal(crystal, LCAOEngine(chosen).species, id="x"), chosen, n_k).on_device
    torch.cuda.reset_peak_memory_stats()
    LCAOEngine(chosen).scf(crystal, id="x", folder=tmp_path)
    assert torch.cuda.max_memory_allocated() < estimate
    assert cut_of(torch.device("cuda")).batch_values * 8 < estimate

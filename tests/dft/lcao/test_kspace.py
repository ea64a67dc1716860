import numpy as np
import pytest
import torch

from nextham.core import OrbitalBasis
from nextham.dft.lcao.kspace import BlochSums, free_energy, occupations
from nextham.physics.bands import KMesh
from nextham.physics.bloch import bloch_sum
from nextham.testing import synthetic_system, zincblende


@pytest.mark.parametrize("mesh", [(1, 1, 1), (2, 3, 4), (4, 4, 4)])
def test_half_mesh_stands_for_the_whole(mesh):
    half = KMesh.of(mesh)
    assert half.weights.sum() == pytest.approx(1.0)
    n = np.prod(mesh)
    both = np.concatenate([half.k, -half.k]) % 1.0
    assert len(np.unique(np.rint(both * 840).astype(int) % 840, axis=0)) == n
    assert np.allclose(half.weights[half.weights < 1.5 / n], 1 / n)


@pytest.fixture(scope="module")
def system():
    return synthetic_system(zincblende(rattle_ang=0.1), OrbitalBasis.parse("Ga:2s1p1d As:1s1p"))


class Atoms:
    def __init__(self, system):
        self.n_orb = system.n_orb


def test_bloch_sums_are_those_of_the_physics_package(system):
    k = np.array([[0.1, 0.2, 0.3], [0, 0, 0], [0.5, 0.25, 0]])
    sums = BlochSums(Atoms(system), system.pairs, k, torch.device("cpu"))
    due = bloch_sum(system, "h0", k)
    values = torch.from_numpy(system.operators["h0"].copy())
    assert np.abs(sums.forward(values[0]).numpy() - due[:, 0]).max() < 1e-12
    assert np.abs(1j * sums.forward(values[2], odd=True).numpy() - due[:, 2]).max() < 1e-12


def test_backward_is_the_adjoint_of_forward(system):
    mesh = KMesh.of((3, 3, 3))
    sums = BlochSums(Atoms(system), system.pairs, mesh.k, torch.device("cpu"))
    rng = np.random.default_rng(0)
    values = torch.from_numpy(system.operators["overlap"][0].copy())
    n = int(system.n_orb.sum())
    matrices = torch.from_numpy(rng.normal(size=(len(mesh.k), n, n)) + 1j * rng.normal(size=(len(mesh.k), n, n)))
    matrices = matrices + matrices.mH
    weights = torch.from_numpy(mesh.weights)
    left = (weights[:, None, None] * matrices.conj() * sums.forward(values)).sum().real
    matrix = system.operator("overlap")
    multiplicity = torch.from_numpy(system.pairs.multiplicity[matrix.pair_of_value].astype(float))
    right = (multiplicity * values * sums.backward(matrices, weights)).sum()
    assert float(left) == pytest.approx(float(right), rel=1e-10)


def test_occupations_hold_the_electrons():
    levels = torch.from_numpy(np.random.default_rng(0).normal(size=(10, 30)).cumsum(axis=1))
    weights = torch.full((10,), 0.1, dtype=torch.float64)
    fermi, filling = occupations(levels, weights, 7.0, 0.015)
    assert float((weights[:, None] * filling).sum()) == pytest.approx(7.0, abs=1e-10)
    assert torch.allclose(filling, torch.erfc((levels - fermi) / 0.015) / 2)


def test_occupations_of_an_insulator_put_the_fermi_level_in_the_gap():
    levels = torch.tensor([[0.0, 1.0, 5.0, 6.0]], dtype=torch.float64)
    fermi, filling = occupations(levels, torch.ones(1, dtype=torch.float64), 2.0, 0.01)
    assert 1.0 < fermi < 5.0
    assert torch.allclose(filling, torch.tensor([[1.0, 1, 0, 0]], dtype=torch.float64))


def test_the_fermi_level_is_the_free_energy_of_one_more_electron():
    levels = torch.from_numpy(np.random.default_rng(0).normal(size=(10, 30)).cumsum(axis=1))
    weights, sigma, h = torch.full((10,), 0.1, dtype=torch.float64), 0.4, 1e-4

    def of(n):
        return float(free_energy(levels, weights, occupations(levels, weights, n, sigma)[0], sigma))

    fermi, _ = occupations(levels, weights, 7.0, sigma)
    assert (of(7 + h) - of(7 - h)) / (2 * h) == pytest.approx(float(fermi), abs=1e-7)

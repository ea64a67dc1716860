"""Orbitals: smooth ends, bands from above, a true gradient."""

import numpy as np
import pytest

from nextham.dft.species.generate import gth, pseudo_atom
from nextham.dft.species.generate.bands import BandEnergy, SmoothSpace, project
from nextham.dft.species.generate.crystal import PlaneWaves, diamond, transform
from nextham.dft.species.generate.radial import Mesh

ZETAS = {0: 1, 1: 1}


@pytest.fixture(scope="module")
def spaces():
    return {l: SmoothSpace(Mesh(6.0), l, 4.0) for l in ZETAS}


@pytest.fixture(scope="module")
def distance(spaces):
    atom = pseudo_atom.solve(gth.potential("Si"), {0: 2.0, 1: 2.0})
    crystal = diamond(atom, 4.4)
    states = PlaneWaves(crystal, 2.5).states(np.array([0.1, 0.2, 0.3]), 5)
    target = project(crystal, states, spaces, np.array([1.0, 1.0, 1.0, 1.0, 0.1]))
    return BandEnergy([target], {l: space.size for l, space in spaces.items()}, ZETAS)


def random_coefficients(distance, seed=0):
    size = sum(ZETAS[l] * distance.sizes[l] for l in ZETAS)
    return np.random.default_rng(seed).normal(size=size) / np.sqrt(size)


def test_smooth_functions_end_with_three_derivatives_zero(spaces):
    for space in spaces.values():
        tail = space.functions[:, -6:]
        scale = np.abs(space.functions).max()
        assert np.abs(tail).max() < 1e-4 * scale  # 0.05 bohr from the end, fourth order


def test_gradient_is_that_of_the_value(distance):
    x, step = random_coefficients(distance), 1e-6
    gradient = distance(x)[1]
    direction = random_coefficients(distance, seed=1)
    numeric = (distance(x + step * direction)[0] - distance(x - step * direction)[0]) / (2 * step)
    assert gradient @ direction == pytest.approx(numeric, rel=1e-5)


def test_bands_of_few_orbitals_lie_above_those_of_plane_waves(distance):
    target = distance.targets[0]
    bands = distance.bands(target, distance.unpack(random_coefficients(distance)))[0]
    assert (bands > target.energies).all()


def test_all_smooth_functions_give_nearly_the_plane_wave_bands(distance):
    target = distance.targets[0]
    values, vectors = np.linalg.eigh(target.overlap)
    kept = values > 1e-9
    basis = vectors[:, kept] / np.sqrt(values[kept])
    bands = np.linalg.eigvalsh(basis.conj().T @ target.hamiltonian @ basis)[:4]
    np.testing.assert_allclose(bands, target.energies[:4], atol=0.02)  # s and p alone
    assert (bands > target.energies[:4] - 1e-9).all()


def test_transform_of_a_gaussian_is_a_gaussian():
    mesh = Mesh(12.0)
    radial = transform(mesh, np.exp(-(mesh.r**2))[None], 0, 6.0)
    q = np.linspace(0.0, 6.0, 50)
    np.testing.assert_allclose(radial(q)[:, 0], np.pi**1.5 * np.exp(-(q**2) / 4), atol=1e-6)

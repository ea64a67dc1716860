import numpy as np
import pytest
import scipy.fft
import torch

from nextham.dft.lcao.grid import FFTGrid, count_points, grid_shape

CELL = np.array([[5.0, 0.3, 0.0], [0.2, 6.0, 0.4], [0.0, -0.5, 5.5]])


@pytest.fixture(scope="module")
def grid():
    return FFTGrid(CELL, 30.0)


def points(grid):
    n1, n2, n3 = grid.shape
    f = np.stack(np.meshgrid(np.arange(n1) / n1, np.arange(n2) / n2, np.arange(n3) / n3, indexing="ij"), -1)
    return f.reshape(-1, 3)


def is_smooth(n):
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


def test_shape_is_smooth_and_holds_the_sphere(grid):
    assert all(is_smooth(n) for n in grid.shape)
    assert grid_shape(np.eye(3) * 2 * np.pi, 1.0) == (3, 3, 3)
    assert grid_shape(np.eye(3) * 2 * np.pi * 3, 1.0) == (8, 8, 8)  # 2·3 + 1 = 7 has a prime above 5


def largest_indices(cell, ecut_ry):
    """The largest |m| of each axis over every G of a box that holds the sphere."""
    b = 2 * np.pi * np.linalg.inv(cell).T
    bounds = (np.sqrt(ecut_ry) * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int) + 1
    m = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in bounds), indexing="ij"), axis=-1).reshape(-1, 3)
    return m[((m @ b) ** 2).sum(axis=1) <= ecut_ry].max(axis=0)


@pytest.mark.parametrize("seed", range(8))
def test_no_plane_wave_of_the_sphere_is_left_out_and_none_added(seed):
    rng = np.random.default_rng(seed)
    cell = 6 * (np.eye(3) + 0.35 * rng.normal(size=(3, 3)))
    ecut = float(rng.uniform(3, 60))
    for n, m in zip(grid_shape(cell, ecut), largest_indices(cell, ecut), strict=True):
        assert n >= 2 * m + 1
        assert not any(is_smooth(k) for k in range(2 * m + 1, n))


def test_points_are_counted_before_there_are_any():
    assert count_points(CELL, 30.0) == np.prod(grid_shape(CELL, 30.0))
    assert count_points(CELL, 1e12) == pytest.approx(1e18 * np.linalg.norm(CELL, axis=1).prod() / np.pi**3)
    assert count_points(CELL, 1e300) == np.inf


def test_gradient_divergence_and_hartree_of_a_plane_wave(grid):
    m = np.array([1, -2, 1])
    g = m @ (2 * np.pi * np.linalg.inv(CELL).T)
    phase = torch.from_numpy(2 * np.pi * points(grid) @ m)
    wave = phase.cos()
    slope = grid.gradient(wave)
    for axis in range(3):
        assert (slope[axis] + g[axis] * phase.sin()).abs().max() < 1e-12
    assert (grid.divergence(slope) + g @ g * wave).abs().max() < 1e-11
    assert (grid.hartree(wave) - 8 * np.pi / (g @ g) * wave).abs().max() < 1e-11


def test_structure_factor_is_the_sum_over_atoms(grid):
    atoms = np.array([[0.1, 0.2, 0.3], [0.7, 0.4, 0.9]])
    found = grid.structure_factor(atoms)
    m1, m2, m3 = (a.numpy() for a in grid.axes)
    due = sum(np.exp(-2j * np.pi * (m1[2] * a[0] + m2[3] * a[1] + m3[1] * a[2])) for a in atoms)
    assert found[2, 3, 1].item() == pytest.approx(due)


def test_components_beyond_the_sphere_are_dropped(grid):
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=grid.n_points))
    once = grid.to_real(grid.to_sphere(noise))
    assert (grid.to_real(grid.to_sphere(once)) - once).abs().max() < 1e-12
    assert (once - noise).abs().max() > 0.1


@pytest.mark.parametrize("long", range(3))
def test_an_axis_may_be_long(long):
    """Torch's own inverse of three axes ends the process where the second one is."""
    cell = 6.0 * np.eye(3)
    cell[long, long] = 800.0
    grid = FFTGrid(cell, 25.0)
    assert grid.shape[long] > 1200
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=grid.n_points))
    waves = scipy.fft.rfftn(noise.numpy().reshape(grid.shape), norm="forward") * grid.sphere.numpy()
    due = scipy.fft.irfftn(waves, s=grid.shape, norm="forward").reshape(-1)
    assert np.abs(grid.to_real(grid.to_sphere(noise)).numpy() - due).max() < 1e-13

import numpy as np
import pytest
import torch

from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.lcao.xc import energy_density, exchange_correlation


def wavy(grid, seed=0, low=0.02):
    rng = np.random.default_rng(seed)
    smooth = grid.to_real(grid.to_sphere(torch.from_numpy(rng.normal(size=grid.n_points))) * torch.exp(-grid.g2 / 8))
    return low + 0.3 * (smooth - smooth.min())


@pytest.fixture(scope="module")
def grid():
    return FFTGrid(np.diag([5.0, 5.5, 6.0]), 25.0)


def energy(n, grid):
    """E_xc in Ry of a density that is nowhere empty."""
    return float(energy_density(n, (grid.gradient(n) ** 2).sum(dim=0)).sum()) * grid.weight


@pytest.mark.parametrize("with_core", [False, True])
def test_potential_is_the_derivative_of_the_energy(grid, with_core):
    n, core = wavy(grid), wavy(grid, 1) if with_core else None
    v, e = exchange_correlation(n, core, grid)
    step = torch.from_numpy(np.random.default_rng(2).normal(size=grid.n_points))
    h = 1e-5
    total = n if core is None else n + core
    assert total.min() > 0.01
    assert float(e) == pytest.approx(energy(total, grid), rel=1e-12)
    up, down = (energy(total + s * h * step, grid) for s in (1, -1))
    assert float((v * step).sum()) * grid.weight == pytest.approx((up - down) / (2 * h), rel=1e-7)


def test_uniform_gas_is_slater_exchange_and_perdew_wang_correlation():
    rs = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    n = 3 / (4 * np.pi * rs**3)
    per_electron = energy_density(n, torch.zeros_like(n)) / n / 2  # Hartree
    exchange = -0.75 * (3 * n / np.pi) ** (1 / 3)
    # Perdew and Wang, Phys. Rev. B 45, 13244 (1992)
    assert np.allclose((per_electron - exchange).numpy(), [-0.05980, -0.04476, -0.02822], atol=4e-5)


def test_exchange_enhancement_obeys_the_lieb_oxford_limit():
    n = torch.full((1,), 0.1, dtype=torch.float64)
    steep = energy_density(n, torch.full_like(n, 1e6)) / (2 * n)
    lda = -0.75 * (3 * n / np.pi) ** (1 / 3)
    assert float(steep / lda) == pytest.approx(1.804, abs=1e-3)  # gradient correlation cancels that of the gas


def test_empty_and_negative_densities_are_finite(grid):
    n = wavy(grid)
    n[:100], n[100:200] = 0.0, -1e-7
    v, e = exchange_correlation(n, None, grid)
    assert torch.isfinite(v).all()
    filled = torch.where(n > 0, n, 1e-12)
    assert float(e) == pytest.approx(energy(filled, grid), rel=1e-3)  # what is negative hardly counts

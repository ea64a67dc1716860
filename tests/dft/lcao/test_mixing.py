import numpy as np
import pytest
import torch

from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.lcao.mixing import Mixing, PulayMixer


@pytest.fixture(scope="module")
def grid():
    return FFTGrid(np.diag([8.0, 4.0, 4.0]), 9.0)


def test_linear_problems_converge_in_as_many_steps_as_they_have_modes(grid):
    """A response with charge sloshing along x: ρ_out = ρ* + J(ρ - ρ*) with modes that plain mixing blows up."""
    rng = np.random.default_rng(3)
    target = torch.from_numpy(rng.normal(size=grid.n_points))
    modes = torch.linalg.qr(torch.from_numpy(rng.normal(size=(grid.n_points, 5))))[0]
    gains = torch.tensor([-6.0, -3.0, -1.0, 0.3, 0.6], dtype=torch.float64)
    mixer, density = PulayMixer(Mixing(0.5, 8, 0.0), grid), target + modes.sum(dim=1)
    for _ in range(9):
        output = target + modes @ (gains * (modes.T @ (density - target)))
        density = mixer.next(density, output)
    assert (density - target).abs().max() < 1e-8


def test_kerker_damps_long_waves_and_keeps_the_charge(grid):
    x = torch.arange(grid.shape[0], dtype=torch.float64) / grid.shape[0]
    wave = torch.cos(2 * np.pi * x)[:, None, None].expand(grid.shape).reshape(-1)
    zero = torch.zeros_like(wave)
    mixed = PulayMixer(Mixing(0.5, 4, 1.0), grid).next(zero, wave)
    g2 = (2 * np.pi / 8) ** 2
    assert (mixed - 0.5 * g2 / (g2 + 1) * wave).abs().max() < 1e-12
    assert abs(float(PulayMixer(Mixing(0.5, 4, 1.0), grid).next(zero, wave + 1).sum())) < 1e-9

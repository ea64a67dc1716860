"""PBE exchange and correlation of an unpolarised density on the grid.

V_xc = ∂e/∂n - ∇·(2 ∂e/∂|∇n|² ∇n) of the energy per volume e(n, |∇n|²) comes from automatic differentiation. Constants
and thresholds are those of ABACUS's spinor branch at zero magnetisation, which differ from those of its unpolarised
branch in the seventh digit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nextham.dft.lcao.device import cut_of
from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.pbe import Functional, Gas

_LDA_FROM = 1e-10  # densities below are empty space
_EXCHANGE_GRADIENT_FROM = 2e-10
_CORRELATION_GRADIENT_FROM = 1e-6
_SLOPE_FROM = 1e-10  # |∇n| per spin for exchange, total for correlation

_FUNCTIONAL = Functional(torch, Gas(amplitude=0.0310910, gamma=0.0310910))  # ABACUS's digits


def energy_density(n: Tensor, slope2: Tensor) -> Tensor:
    """Return e(n, |∇n|²) in Ry/Bohr³ for densities above 1e-10 and squared gradients."""
    has_x = (n > _EXCHANGE_GRADIENT_FROM) & (slope2 > 4 * _SLOPE_FROM**2)
    has_c = (n > _CORRELATION_GRADIENT_FROM) & (slope2 > _SLOPE_FROM**2)
    per_electron = _FUNCTIONAL.pbe(n, torch.where(has_x, slope2, 0.0), torch.where(has_c, slope2, 0.0))
    energy: Tensor = 2 * n * per_electron
    return energy


def exchange_correlation(density: Tensor, core: Tensor | None, grid: FFTGrid) -> tuple[Tensor, Tensor]:
    """Return V_xc (n_points,) in Ry and E_xc () in Ry of a density and a core density.

    Only gradients and the divergence are cut to the sphere of the grid, not the density and not the potential.
    """
    n = density if core is None else density + core
    slope = grid.gradient(n)
    slope2 = (slope * slope).sum(dim=0)
    potential, field, energy = torch.zeros_like(n), torch.zeros_like(n), n.new_zeros(())
    step = cut_of(n.device).xc_points
    for begin in range(0, len(n), step):
        rows = slice(begin, begin + step)
        potential[rows], field[rows], part = _derivatives(n[rows], slope2[rows])
        energy += part
    return potential - grid.divergence(2 * field * slope), energy * grid.weight


def _derivatives(n: Tensor, slope2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return ∂e/∂n, ∂e/∂|∇n|² and Σ e.

    A negative density, which only noise makes, counts as its modulus without gradient, with a negative energy.
    """
    filled = n.abs() > _LDA_FROM
    a = torch.where(filled, n.abs(), 1.0).requires_grad_(True)
    b = torch.where(filled & (n > 0), slope2, 0.0).requires_grad_(True)
    energy = energy_density(a, b)
    de_dn, de_ds = torch.autograd.grad(energy.sum(), (a, b))
    total = energy.detach() @ (filled * n.sign())
    return de_dn * filled, de_ds * (filled & (n > 0)), total

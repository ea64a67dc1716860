"""PBE exchange and correlation of an unpolarised density (Perdew, Burke, Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996)).

The energy per volume e(n, |∇n|²) is written once; V_xc = ∂e/∂n - ∇·(2 ∂e/∂|∇n|² ∇n) comes from its derivatives by
automatic differentiation. Constants and thresholds are those of ABACUS's spinor branch at zero magnetisation, which
differ from those of its unpolarised branch in the seventh digit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nextham.dft.lcao.device import cut_of
from nextham.dft.lcao.grid import FFTGrid

_LDA_FROM = 1e-10  # densities below are empty space
_EXCHANGE_GRADIENT_FROM = 2e-10
_CORRELATION_GRADIENT_FROM = 1e-6
_SLOPE_FROM = 1e-10  # |∇n| per spin for exchange, total for correlation

_CX = -0.75 * (3 / math.pi) ** (1 / 3)
_KAPPA, _MU = 0.804, 0.2195149727645171
_BETA, _GAMMA = 0.06672455060314922, 0.0310910
_RS = 0.6203504908994  # (3/4π)^(1/3)
_KS2 = (4 / math.pi) * (9 * math.pi / 4) ** (1 / 3)  # k_s² r_s


def energy_density(n: Tensor, slope2: Tensor) -> Tensor:
    """Return e(n, |∇n|²) in Ry/Bohr³ for densities above 1e-10 and squared gradients (Perdew-Wang 92 correlation)."""
    third = n ** (1 / 3)
    rs = _RS / third
    correlation = _pw92(rs)
    exchange = _CX * third
    has_x = (n > _EXCHANGE_GRADIENT_FROM) & (slope2 > 4 * _SLOPE_FROM**2)
    s2 = torch.where(has_x, slope2, 0.0) / (4 * (3 * math.pi**2) ** (2 / 3) * n * n * third * third)
    enhancement = 1 + _KAPPA - _KAPPA / (1 + _MU * s2 / _KAPPA)
    has_c = (n > _CORRELATION_GRADIENT_FROM) & (slope2 > _SLOPE_FROM**2)
    t2 = torch.where(has_c, slope2, 0.0) * rs / (4 * _KS2 * n * n)
    y = _BETA / _GAMMA / torch.expm1(-correlation / _GAMMA) * t2
    gradient = _GAMMA * torch.log1p(_BETA / _GAMMA * t2 * (1 + y) / (1 + y + y * y))
    per_electron: Tensor = exchange * enhancement + correlation + torch.where(has_c, gradient, 0.0)
    return 2 * n * per_electron


def _pw92(rs: Tensor) -> Tensor:
    """Return the correlation energy per electron of the unpolarised gas in Hartree (Phys. Rev. B 45, 13244 (1992))."""
    a, a1, b1, b2, b3, b4 = 0.0310910, 0.21370, 7.5957, 3.5876, 1.6382, 0.49294
    root = rs.sqrt()
    series = root * (b1 + root * (b2 + root * (b3 + root * b4)))
    return -2 * a * (1 + a1 * rs) * torch.log1p(1 / (2 * a * series))


def xc_potential(density: Tensor, core: Tensor | None, grid: FFTGrid) -> Tensor:
    """Return V_xc (n_points,) in Ry of a density and a core density.

    Only gradients and the divergence are cut to the sphere of the grid, not the density and not the potential.
    """
    n = density if core is None else density + core
    slope = grid.gradient(n)
    slope2 = (slope * slope).sum(dim=0)
    potential, field = torch.zeros_like(n), torch.zeros_like(n)
    step = cut_of(n.device).xc_points
    for begin in range(0, len(n), step):
        rows = slice(begin, begin + step)
        potential[rows], field[rows] = _derivatives(n[rows], slope2[rows])
    return potential - grid.divergence(2 * field * slope)


def _derivatives(n: Tensor, slope2: Tensor) -> tuple[Tensor, Tensor]:
    """Return ∂e/∂n and ∂e/∂|∇n|²; a negative density counts as its modulus, without gradient."""
    filled = n.abs() > _LDA_FROM
    a = torch.where(filled, n.abs(), 1.0).requires_grad_(True)
    b = torch.where(filled & (n > 0), slope2, 0.0).requires_grad_(True)
    de_dn, de_ds = torch.autograd.grad(energy_density(a, b).sum(), (a, b))
    return de_dn * filled, de_ds * (filled & (n > 0))

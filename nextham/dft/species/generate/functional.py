"""Unpolarised exchange and correlation of an atom: PBE and its local part, Hartree units.

J. P. Perdew, K. Burke, M. Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996); J. P. Perdew, Y. Wang,
Phys. Rev. B 45, 13244 (1992). Only energies are written down; derivatives are complex steps, exact to
rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_Complex = NDArray[np.complex128]

KAPPA: Final = 0.804
MU: Final = 0.2195149727645171
BETA: Final = 0.06672455060314922
GAMMA: Final = (1.0 - np.log(2.0)) / np.pi**2
_FLOOR = 1e-14  # densities below are raised to it before powers are taken
_VACUUM = 1e-12  # and below this one energy and potentials are zero
_STEP = 1e-30


@dataclass(frozen=True)
class ExchangeCorrelation:
    """Energy per volume f(n, σ), its derivatives ∂f/∂n and ∂f/∂σ, with σ = |∇n|²."""

    energy: Array
    by_density: Array
    by_sigma: Array


def pbe(density: Array, gradient: Array) -> ExchangeCorrelation:
    """Return PBE for n (bohr⁻³) and dn/dr of a spherical density."""
    return _differentiate(density, gradient**2)


def local_potential(density: Array) -> Array:
    """Return v_xc = d(n ε_xc)/dn of Slater exchange and Perdew-Wang correlation."""
    return _differentiate(density, None).by_density


def _differentiate(density: Array, sigma: Array | None) -> ExchangeCorrelation:
    n = np.maximum(density, _FLOOR)
    vacuum = n < _VACUUM
    s: Array = np.zeros_like(n) if sigma is None else sigma
    form = _local if sigma is None else _pbe
    real_n, real_s = n.astype(np.complex128), s.astype(np.complex128)
    energy = form(real_n, real_s).real
    by_density = form(real_n + 1j * _STEP, real_s).imag / _STEP
    by_sigma = form(real_n, real_s + 1j * _STEP).imag / _STEP
    return ExchangeCorrelation(*(np.where(vacuum, 0.0, x) for x in (energy, by_density, by_sigma)))


def _correlation(n: _Complex) -> _Complex:
    """ε_c of the unpolarised electron gas."""
    rs = (3.0 / (4.0 * np.pi * n)) ** (1.0 / 3.0)
    a, alpha, b1, b2, b3, b4 = 0.0310907, 0.21370, 7.5957, 3.5876, 1.6382, 0.49294
    root = np.sqrt(rs)
    series = 2.0 * a * (b1 * root + b2 * rs + b3 * rs * root + b4 * rs**2)
    result: _Complex = -2.0 * a * (1.0 + alpha * rs) * np.log(1.0 + 1.0 / series)
    return result


def _local(n: _Complex, _: _Complex) -> _Complex:
    exchange = -0.75 * (3.0 / np.pi) ** (1.0 / 3.0) * n ** (1.0 / 3.0)
    result: _Complex = n * (exchange + _correlation(n))
    return result


def _pbe(n: _Complex, sigma: _Complex) -> _Complex:
    """Energy per volume n [ε_x F(s²) + ε_c + H(t²)]."""
    k_fermi = (3.0 * np.pi**2 * n) ** (1.0 / 3.0)
    s2 = sigma / (4.0 * k_fermi**2 * n**2)
    exchange = -3.0 * k_fermi / (4.0 * np.pi) * (1.0 + KAPPA - KAPPA / (1.0 + MU * s2 / KAPPA))
    local = _correlation(n)
    t2 = sigma / (4.0 * (4.0 * k_fermi / np.pi) * n**2)
    a = BETA / GAMMA / (np.exp(-local / GAMMA) - 1.0)
    ratio = (1.0 + a * t2) / (1.0 + a * t2 + (a * t2) ** 2)
    result: _Complex = n * (exchange + local + GAMMA * np.log(1.0 + BETA / GAMMA * t2 * ratio))
    return result

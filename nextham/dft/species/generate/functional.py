"""Exchange and correlation of an atom: PBE and its local part, Hartree units.

Derivatives are complex steps of the energies, exact to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextham.dft.pbe import Functional, Gas

Array = NDArray[np.float64]
_Complex = NDArray[np.complex128]

_FUNCTIONAL = Functional(np, Gas(amplitude=0.0310907, gamma=(1.0 - np.log(2.0)) / np.pi**2))  # the published digits
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


def _local(n: _Complex, _: _Complex) -> _Complex:
    """Energy per volume of the uniform gas."""
    result: _Complex = n * _FUNCTIONAL.local(n)
    return result


def _pbe(n: _Complex, sigma: _Complex) -> _Complex:
    """Energy per volume of PBE."""
    result: _Complex = n * _FUNCTIONAL.pbe(n, sigma, sigma)
    return result

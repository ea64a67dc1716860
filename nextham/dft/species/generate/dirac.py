"""All-electron Dirac-Kohn-Sham atom with PBE: B-splines and dual kinetic balance.

V. M. Shabaev et al., Phys. Rev. Lett. 93, 130405 (2004). Point nucleus, spherical density, electrons of a
shell shared between j = l ± 1/2 by degeneracy, no relativistic correction of the functional. Hartree units.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.linalg import eigh

from nextham.dft.species.generate.configuration import Shell
from nextham.dft.species.generate.functional import pbe
from nextham.dft.species.generate.mixing import Mixer
from nextham.exceptions import NexthamError

Array = NDArray[np.float64]
State = tuple[int, int, float]  # (n, l, j)

SPEED_OF_LIGHT: Final = 137.035999084  # 1/α, CODATA 2018
_N_SPLINES, _ORDER, _N_GAUSS, _RADIUS = 90, 8, 10, 30.0
_MAX_STEPS = 200


@dataclass(frozen=True)
class AllElectronAtom:
    """A solved atom.

    Attributes:
        energies: of each (n, l, j) asked for, Hartree, without the rest energy.
        kinetic: <c α·p + (β - 1) c²> of each state.
        virial: <c α·p> - <r dV/dr> of each state; zero for the exact solution of a local potential.
        total_energy: Hartree.
        density: n(r) on the quadrature points.
    """

    energies: dict[State, float]
    virial: dict[State, float]
    total_energy: float
    density: Array

    def splitting(self, n: int, l: int) -> float:
        """Return ε(l + 1/2) - ε(l - 1/2) of a shell, Hartree."""
        return self.energies[n, l, l + 0.5] - self.energies[n, l, l - 0.5]

    def average(self, n: int, l: int) -> float:
        """Return the degeneracy-weighted mean energy of a shell, Hartree."""
        if l == 0:
            return self.energies[n, 0, 0.5]
        return (l * self.energies[n, l, l - 0.5] + (l + 1) * self.energies[n, l, l + 0.5]) / (2 * l + 1)


class Splines:
    """B-splines that vanish at both ends, on Gauss points of a geometric mesh from 0 to ``radius``.

    Attributes:
        r, w: points and weights, (n_points,).
        values, slopes, curvatures: (n_splines, n_points).
    """

    def __init__(self, number: int, radius: float) -> None:
        breaks = np.concatenate([[0.0], np.geomspace(1e-4 / number, radius, _N_SPLINES - _ORDER + 1)])
        knots = np.concatenate([np.zeros(_ORDER - 1), breaks, np.full(_ORDER - 1, radius)])
        x, weights = np.polynomial.legendre.leggauss(_N_GAUSS)
        self._half = np.diff(breaks) / 2.0
        self.r: Array = ((breaks[:-1] + breaks[1:])[:, None] / 2.0 + self._half[:, None] * x).ravel()
        self.w: Array = (self._half[:, None] * weights).ravel()
        every = BSpline(knots, np.eye(len(knots) - _ORDER), _ORDER - 1)
        tables = [every(self.r), every.derivative()(self.r), every.derivative(2)(self.r)]
        self.values, self.slopes, self.curvatures = (t[:, 1:-1].T for t in tables)
        # Integrals of the Lagrange polynomials of the Gauss points from -1 to each point.
        powers = np.polynomial.legendre.legvander(x, _N_GAUSS - 1)
        unit = np.eye(_N_GAUSS)
        integrals = [np.polynomial.legendre.legval(x, np.polynomial.legendre.legint(c, lbnd=-1)) for c in unit]
        self._running = np.array(integrals).T @ np.linalg.inv(powers)  # (n_gauss, n_gauss)

    def integral(self, f: Array) -> Array:
        """Return ∫_0^r f dr' at every point."""
        panels = f.reshape(-1, _N_GAUSS)
        inside = panels @ self._running.T * self._half[:, None]
        whole = (panels * self.w.reshape(-1, _N_GAUSS)).sum(axis=1)
        before = np.concatenate([[0.0], np.cumsum(whole)[:-1]])
        return np.asarray((inside + before[:, None]).ravel())

    def hartree(self, density: Array) -> Array:
        """Return V_H of a spherical density."""
        shell = 4.0 * np.pi * self.r * density
        outside = self.integral(shell)
        return np.asarray(self.integral(shell * self.r) / self.r + (self.w @ shell) - outside)


class _Kappa:
    """Dual kinetically balanced basis of one κ: large P, small Q components and the free Dirac operator."""

    def __init__(self, splines: Splines, kappa: int, c: float) -> None:
        s, r, w = splines, splines.r, splines.w
        over, over2 = kappa / r, kappa / r**2
        self.kappa, self.l = kappa, kappa if kappa > 0 else -kappa - 1
        self.j = abs(kappa) - 0.5
        half = 1.0 / (2.0 * c)
        self.p = np.vstack([s.values, half * (s.slopes - over * s.values)])
        self.q = np.vstack([half * (s.slopes + over * s.values), s.values])
        self.dp = np.vstack([s.slopes, half * (s.curvatures - over * s.slopes + over2 * s.values)])
        self.dq = np.vstack([half * (s.curvatures + over * s.slopes - over2 * s.values), s.slopes])
        self.overlap = (self.p * w) @ self.p.T + (self.q * w) @ self.q.T
        momentum = c * ((self.p * w) @ (-self.dq + over * self.q).T + (self.q * w) @ (self.dp + over * self.p).T)
        self.momentum = 0.5 * (momentum + momentum.T)
        self.free = self.momentum - 2.0 * c**2 * ((self.q * w) @ self.q.T)

    def states(self, splines: Splines, v: Array, g: Array | None, count: int) -> tuple[Array, Array]:
        """Return the lowest ``count`` energies above the negative continuum and their vectors."""
        w, r = splines.w, splines.r
        h = self.free + (self.p * (w * v)) @ self.p.T + (self.q * (w * v)) @ self.q.T
        if g is not None:  # g acts on r² d/dr of (P_a P_b + Q_a Q_b)/r²
            part = (self.p * (w * g)) @ (self.dp - self.p / r).T + (self.q * (w * g)) @ (self.dq - self.q / r).T
            h = h + part + part.T
        first = len(self.p) // 2
        energies, vectors = eigh(h, self.overlap, subset_by_index=[first, first + count - 1])
        return energies, vectors.T

    def density(self, vector: Array, r: Array) -> tuple[Array, Array]:
        """Return one electron's n and dn/dr."""
        p, q, dp, dq = vector @ self.p, vector @ self.q, vector @ self.dp, vector @ self.dq
        n = (p * p + q * q) / (4.0 * np.pi * r**2)
        return n, (p * dp + q * dq) / (2.0 * np.pi * r**2) - 2.0 * n / r


@cache
def _bases(number: int, l_max: int, c: float) -> tuple[Splines, tuple[_Kappa, ...]]:
    splines = Splines(number, _RADIUS)
    kappas = [-l - 1 for l in range(l_max + 1)] + list(range(1, l_max + 1))
    return splines, tuple(_Kappa(splines, kappa, c) for kappa in kappas)


def hydrogenic(number: int, shells: list[Shell], *, c: float = SPEED_OF_LIGHT) -> AllElectronAtom:
    """Return one-electron states in the field of a bare nucleus."""
    splines, bases = _bases(number, max(l for _, l in shells), c)
    v = -number / splines.r
    found = _solve(splines, bases, dict.fromkeys(shells, 0.0), (v, None))
    virial = {key: _virial(basis, x, splines, -v) for key, (_, basis, x) in found.items()}
    zero = np.zeros_like(splines.r)
    return AllElectronAtom({k: e for k, (e, _, _) in found.items()}, virial, 0.0, zero)


def solve(
    number: int, occupations: dict[Shell, float], *, c: float = SPEED_OF_LIGHT, tolerance: float = 1e-8
) -> AllElectronAtom:
    """Return the self-consistent atom; a shell with zero electrons asks for its energies alone.

    Raises:
        NexthamError: if it does not converge.
    """
    splines, bases = _bases(number, max(l for _, l in occupations), c)
    r, size = splines.r, len(splines.r)
    volume = 4.0 * np.pi * r**2 * splines.w
    mixer = Mixer(np.concatenate([volume * r, np.zeros(size)]), step=0.3)
    screened = -(1.0 + (number - 1) * np.exp(-r * number ** (1 / 3) / 0.8853)) / r
    x = np.concatenate(_density(_solve(splines, bases, occupations, (screened, None)), occupations, r))
    for _ in range(_MAX_STEPS):
        n, slope = x[:size], x[size:]
        xc = pbe(np.maximum(n, 0.0), slope)
        v, g = splines.hartree(n) + xc.by_density, 2.0 * xc.by_sigma * slope
        found = _solve(splines, bases, occupations, (v - number / r, g))
        output = np.concatenate(_density(found, occupations, r))
        if volume @ np.abs(output - x)[:size] < tolerance:
            break
        x = mixer.next_input(x, output)
    else:
        raise NexthamError(f"the all-electron atom Z = {number} with electrons {occupations} does not converge")
    n, slope = output[:size], output[size:]
    bands = sum(_electrons(key, occupations) * e for key, (e, _, _) in found.items())
    energy = bands - volume @ (n * v + slope * g) + volume @ (0.5 * n * splines.hartree(n) + pbe(n, slope).energy)
    return AllElectronAtom({k: e for k, (e, _, _) in found.items()}, {}, float(energy), n)


_Found = dict[State, tuple[float, _Kappa, Array]]


def _solve(
    splines: Splines, bases: tuple[_Kappa, ...], shells: dict[Shell, float], potential: tuple[Array, Array | None]
) -> _Found:
    found: _Found = {}
    for basis in bases:
        wanted = sorted(n for n, l in shells if l == basis.l)
        if wanted:
            energies, vectors = basis.states(splines, *potential, wanted[-1] - basis.l)
            for n in wanted:
                found[n, basis.l, basis.j] = (float(energies[n - basis.l - 1]), basis, vectors[n - basis.l - 1])
    return found


def _electrons(state: State, occupations: dict[Shell, float]) -> float:
    n, l, j = state
    return occupations[n, l] * (2 * j + 1) / (4 * l + 2)


def _density(found: _Found, occupations: dict[Shell, float], r: Array) -> tuple[Array, Array]:
    n, slope = np.zeros_like(r), np.zeros_like(r)
    for key, (_, basis, vector) in found.items():
        electrons = _electrons(key, occupations)
        if electrons:
            value, derivative = basis.density(vector, r)
            n, slope = n + electrons * value, slope + electrons * derivative
    return n, slope


def _virial(basis: _Kappa, vector: Array, splines: Splines, force: Array) -> float:
    """<c α·p> - <r dV/dr>, with r dV/dr given."""
    p, q = vector @ basis.p, vector @ basis.q
    return float(vector @ basis.momentum @ vector - (splines.w * force) @ (p * p + q * q))

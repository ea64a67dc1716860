"""Radial functions on the common grids of two-centre integrals: resampling and spherical Bessel transforms.

All functions of one calculation share a grid x_i = i·2r/(n-1) up to twice the largest cutoff r, and the reciprocal grid
k_j = j·π/(2r) with as many points, so that k_j x_i = π i j/(n-1). Same grids as ABACUS's default build: its tables, and
with them the last digits of S and T, depend on them.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import spherical_jn

from nextham.dft.lcao.cache import cached
from nextham.dft.species.species import Species

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class RadialGrid:
    """The common grid of one calculation.

    >>> RadialGrid.of_cutoff(7.0)
    RadialGrid(extent=14.0, n=701)
    """

    extent: float  # Bohr, twice the largest cutoff
    n: int

    @classmethod
    def of_cutoff(cls, cutoff: float) -> RadialGrid:
        """Return the grid of the largest cutoff among orbitals and projectors (Bohr)."""
        return cls(2 * cutoff, int(cutoff / 0.01) + 1)

    @property
    def dx(self) -> float:
        """Step in Bohr."""
        return self.extent / (self.n - 1)

    @property
    def x(self) -> Array:
        """Distances (n,)."""
        mesh: Array = np.arange(self.n, dtype=np.float64) * self.dx
        return mesh

    @property
    def dk(self) -> float:
        """Step in 1/Bohr."""
        return float(np.pi / self.extent)

    @property
    def k(self) -> Array:
        """Wave numbers (n,)."""
        mesh: Array = np.arange(self.n, dtype=np.float64) * self.dk
        return mesh

    def bessel(self, l: int) -> Array:
        """Return j_l(k_i x_j), (n, n)."""
        return _bessel(l, self.n)


@lru_cache(maxsize=9)
def _bessel(l: int, n: int) -> Array:
    index = np.arange(n)
    return _bessel_line(l, n)[np.outer(index, index)]


@lru_cache(maxsize=9)
def _bessel_line(l: int, n: int) -> Array:
    """Return j_l(π m/(n-1)) for m = 0..(n-1)²: upward recursion where it is stable, x > 2l + 2."""
    m = np.arange((n - 1) ** 2 + 1)
    x = np.pi * m / (n - 1)
    x[0] = 1.0
    if l == 0:
        line = np.sin(np.pi * (m % (2 * (n - 1))) / (n - 1)) / x
    elif l == 1:
        line = (_bessel_line(0, n) - np.cos(np.pi * (m % (2 * (n - 1))) / (n - 1))) / x
    else:
        line = (2 * l - 1) / x * _bessel_line(l - 1, n) - _bessel_line(l - 2, n)
    x[0] = 0.0
    low = int(np.searchsorted(x, 2.0 * l + 2))
    line[:low] = spherical_jn(l, x[:low])
    return np.asarray(line, dtype=np.float64)


def bessel_transform(grid: RadialGrid, l: int, r: Array, values: Array, *, power: int = 0) -> Array:
    """Return f(k) = √(2/π) ∫ x² f(x) j_l(kx) dx, (n,), of f = values/r^power given on its own mesh r.

    The function is resampled by a not-a-knot cubic spline, is zero beyond its mesh, and summed by the rectangle rule.
    """
    x = grid.x
    inside = (x >= r[0]) & (x <= r[-1])
    resampled = np.zeros(grid.n)
    resampled[inside] = CubicSpline(r, values)(x[inside])
    weighted = x ** (2 - power) * resampled * grid.dx
    weighted[[0, -1]] = 0.0
    transform: Array = np.sqrt(2 / np.pi) * (grid.bessel(l) @ weighted)
    return transform


@dataclasses.dataclass(frozen=True, eq=False)
class RadialSet:
    """Radial functions of one element in reciprocal space."""

    ls: tuple[int, ...]  # l of each
    transforms: Array  # (n_functions, n)
    key: str  # what they come from

    @property
    def n_functions(self) -> int:
        """Number of functions with their m."""
        return sum(2 * l + 1 for l in self.ls)


@lru_cache(maxsize=64)
def orbital_set(grid: RadialGrid, species: Species) -> RadialSet:
    """Return the orbitals of an element."""
    orbitals = species.orbitals
    key = f"orbitals {orbitals.sha256} {grid!r}"

    def make() -> Array:
        pairs = zip(orbitals.shells, orbitals.chi, strict=True)
        return np.stack([bessel_transform(grid, l, orbitals.r, chi) for l, chi in pairs])

    return RadialSet(orbitals.shells, cached("radial", key, make), key)


@lru_cache(maxsize=64)
def projector_set(grid: RadialGrid, species: Species) -> RadialSet:
    """Return the projectors of an element."""
    pseudo = species.pseudo
    key = f"projectors {pseudo.sha256} {grid!r}"

    def make() -> Array:
        rows = [bessel_transform(grid, p.l, pseudo.r[: len(p.r_beta)], p.r_beta, power=1) for p in pseudo.projectors]
        return np.array(rows).reshape(len(rows), grid.n)

    return RadialSet(tuple(p.l for p in pseudo.projectors), cached("radial", key, make), key)

"""Uniform radial mesh, spherical Bessel basis, the Hartree potential of a sphere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_simpson
from scipy.optimize import brentq
from scipy.special import spherical_jn

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mesh:
    """Points r_i = i * step from 0 to ``radius`` with Simpson weights; their number is odd.

    Attributes:
        radius: bohr.
        step: bohr.
    """

    radius: float
    step: float = 0.01

    @cached_property
    def n(self) -> int:
        """Number of points."""
        intervals = round(self.radius / self.step)
        return intervals + intervals % 2 + 1

    @cached_property
    def r(self) -> Array:
        """Points, (n,)."""
        return np.asarray(self.step * np.arange(self.n), dtype=np.float64)

    @cached_property
    def w(self) -> Array:
        """Weights of Simpson's rule, (n,)."""
        weights = np.ones(self.n)
        weights[1:-1:2] = 4.0
        weights[2:-1:2] = 2.0
        return weights * self.step / 3.0

    @cached_property
    def volume(self) -> Array:
        """4π r² w: weights of an integral over space of a spherical function, (n,)."""
        return 4.0 * np.pi * self.r**2 * self.w

    def hartree(self, density: Array) -> Array:
        """Return V_H(r) = q(r)/r + ∫_r^∞ 4π r' n dr' of a spherical density n."""
        shell = 4.0 * np.pi * self.r * density
        charge = cumulative_simpson(shell * self.r, dx=self.step, initial=0.0)
        outside = cumulative_simpson(shell, dx=self.step, initial=0.0)
        inner = np.divide(charge, self.r, out=np.zeros(self.n), where=self.r > 0)
        return np.asarray(inner + outside[-1] - outside)


def bessel_zeros(l: int, count: int) -> Array:
    """Return the first positive zeros of j_l, each found between two zeros of j_(l-1).

    >>> bessel_zeros(1, 2).round(4).tolist()
    [4.4934, 7.7253]
    """
    zeros = np.pi * np.arange(1, count + l + 1)
    for order in range(1, l + 1):
        pairs = pairwise(zeros)
        zeros = np.array([brentq(lambda x, k=order: spherical_jn(k, x), a, b, xtol=1e-13) for a, b in pairs])
    return np.asarray(zeros[:count])


class BesselBasis:
    """Normalised R_n(r) = N_n j_l(q_n r) with R_n(mesh end) = 0 and q_n <= q_max.

    Attributes:
        q: (n_basis,) bohr⁻¹; the kinetic energy is diagonal, q²/2.
        values: R_n, (n_basis, n).
        slopes: dR_n/dr, (n_basis, n).
    """

    def __init__(self, mesh: Mesh, l: int, q_max: float) -> None:
        self.mesh, self.l = mesh, l
        end = mesh.r[-1]
        q = bessel_zeros(l, int(q_max * end / np.pi) + 2) / end
        self.q: Array = q[q <= q_max]
        norm = np.sqrt(2.0 / end**3) / np.abs(spherical_jn(l + 1, self.q * end))
        x = np.outer(self.q, mesh.r)
        self.values: Array = norm[:, None] * spherical_jn(l, x)
        self.slopes: Array = (norm * self.q)[:, None] * spherical_jn(l, x, derivative=True)

    @cached_property
    def _weighted(self) -> Array:
        return self.values * (self.mesh.w * self.mesh.r**2)

    @property
    def kinetic(self) -> Array:
        """q²/2, (n_basis,)."""
        return np.asarray(0.5 * self.q**2)

    def overlaps(self, functions: Array) -> Array:
        """Return <R_n|f> for functions f(r) of the same l, (n_basis, n_functions)."""
        return np.asarray(self._weighted @ functions.T)

    def potential(self, v: Array, gradient_factor: Array | None = None) -> Array:
        """Return <R_n| v + g d/dr(..) |R_m>, (n_basis, n_basis).

        A functional of |∇n|² acts on a product of orbitals as v R_n R_m + g d(R_n R_m)/dr, g = 2 f_σ dn/dr.
        """
        matrix = (self._weighted * v) @ self.values.T
        if gradient_factor is not None:
            half = (self._weighted * gradient_factor) @ self.slopes.T
            matrix = matrix + half + half.T
        return np.asarray(matrix)

"""Two-centre integrals ⟨a | O(d) | b⟩ of functions with radial transforms: overlap, kinetic energy, projections.

    I(d) = Σ_l i^(l1-l2-l) Σ_m G(l1 m1, l2 m2, l m) s_l(|d|) |d|^l Y_lm(d),   d = x_b - x_a
    s_l(x) x^l = 4π ∫ k² f_a(k) f_b(k) j_l(kx) dk;   the kinetic energy (Ry) has k⁴ in place of k²

(Sankey and Niklewski, Phys. Rev. B 40, 3979 (1989).) s_l is tabulated on the common grid and interpolated by cubic
splines with flat ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from nextham.dft.lcao.cache import cached
from nextham.dft.lcao.harmonics import gaunt, solid_harmonics
from nextham.dft.lcao.radial import RadialGrid, RadialSet

Array = NDArray[np.float64]

_ROWS_AT_ONCE = 4096


class Operator(StrEnum):
    """What stands between the two functions."""

    OVERLAP = "overlap"
    KINETIC = "kinetic"


class TwoCentre:
    """Integrals between all functions of one element and all of another."""

    def __init__(self, grid: RadialGrid, first: RadialSet, second: RadialSet, operator: Operator) -> None:
        self._grid, self._first, self._second = grid, first, second
        key = f"{operator} {first.key} {second.key}"
        values = cached("two-centre", key, lambda: _table(grid, first, second, operator))
        spline = CubicSpline(grid.x, values, bc_type="clamped")  # coefficients (4, n - 1, n_columns)
        self._coefficients = np.ascontiguousarray(spline.c.swapaxes(0, 1))

    def __call__(self, vectors: Array) -> Tensor:
        """Return the integrals for d = x_b - x_a, (n, 3) Bohr: (n, n_functions_a, n_functions_b)."""
        shape = (len(vectors), self._first.n_functions, self._second.n_functions)
        out = torch.zeros(shape, dtype=torch.float64)
        for begin in range(0, len(vectors), _ROWS_AT_ONCE):
            rows = slice(begin, begin + _ROWS_AT_ONCE)
            self._fill(out[rows], np.ascontiguousarray(vectors[rows]))
        return out

    def _fill(self, out: Tensor, vectors: Array) -> None:
        radial = torch.from_numpy(self._interpolated(np.linalg.norm(vectors, axis=1)))
        lmax = max(self._first.ls, default=0) + max(self._second.ls, default=0)
        angular = solid_harmonics(lmax, torch.from_numpy(vectors.T.copy())).T  # (n, (lmax + 1)²)
        a_at, b_at = _starts(self._first.ls), _starts(self._second.ls)
        for a, b, l, column in _channels(self._first.ls, self._second.ls):
            l1, l2 = self._first.ls[a], self._second.ls[b]
            sign = 1.0 if (l1 - l2 - l) % 4 == 0 else -1.0
            g = _angular_table(l1, l2, l) * sign  # (2l + 1, (2 l1 + 1)(2 l2 + 1))
            part = (angular[:, l * l : (l + 1) ** 2] * radial[:, column, None]) @ g
            out[:, a_at[a] : a_at[a + 1], b_at[b] : b_at[b + 1]] += part.view(-1, 2 * l1 + 1, 2 * l2 + 1)

    def _interpolated(self, distance: Array) -> Array:
        """Return s_l at distances (n,): (n, n_columns); zero beyond the grid."""
        interval = np.minimum((distance / self._grid.dx).astype(np.int64), self._grid.n - 2)
        t = (distance - interval * self._grid.dx)[:, None]
        c = self._coefficients[interval]
        value: Array = ((c[:, 0] * t + c[:, 1]) * t + c[:, 2]) * t + c[:, 3]
        value[distance > self._grid.extent] = 0.0
        return value


@lru_cache(maxsize=64)
def two_centre(grid: RadialGrid, first: RadialSet, second: RadialSet, operator: Operator) -> TwoCentre:
    """Return the integrals of two elements, made once per process."""
    return TwoCentre(grid, first, second, operator)


def _channels(first: tuple[int, ...], second: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """Return (a, b, l, column) of every entry of the table."""
    column = 0
    for a, l1 in enumerate(first):
        for b, l2 in enumerate(second):
            for l in range(abs(l1 - l2), l1 + l2 + 1, 2):
                yield a, b, l, column
                column += 1


def _table(grid: RadialGrid, first: RadialSet, second: RadialSet, operator: Operator) -> Array:
    """Return s_l(x_i), (n, n_columns)."""
    k, x = grid.k, grid.x
    weight = 4 * np.pi * grid.dk * k ** (4 if operator is Operator.KINETIC else 2)
    entries = list(_channels(first.ls, second.ls))
    table = np.empty((grid.n, len(entries)))
    for l in sorted({entry[2] for entry in entries}):
        chosen = [entry for entry in entries if entry[2] == l]
        integrand = np.stack([weight * first.transforms[a] * second.transforms[b] for a, b, _, _ in chosen])
        last = integrand[:, -1].copy()
        integrand[:, [0, -1]] = 0.0
        s = integrand @ grid.bessel(l)
        if l == 0:
            s[:, 0] += last  # at x = 0 ABACUS sums to the very end of the k grid
        else:
            s[:, 1:] /= x[1:] ** l
            s[:, 0] = integrand @ k**l / math.prod(range(1, 2 * l + 2, 2))
        table[:, [column for _, _, _, column in chosen]] = s.T
    return table


@lru_cache(maxsize=256)
def _angular_table(l1: int, l2: int, l: int) -> Tensor:
    return torch.from_numpy(np.moveaxis(gaunt(l1, l2, l), -1, 0).reshape(2 * l + 1, -1).copy())


def _starts(ls: tuple[int, ...]) -> list[int]:
    return [0, *np.cumsum([2 * l + 1 for l in ls]).tolist()]

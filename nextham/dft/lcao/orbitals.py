"""Numerical orbitals at the points of the grid.

χ(r) is a table of cubic pieces 0.001 Bohr long. As in ABACUS the values at the knots come from local cubic
interpolation of the file's mesh, the slopes there from a cubic spline through it: a spline for both would change H by
up to 5e-7 Ry.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from nextham.dft.lcao.cache import cached
from nextham.dft.lcao.harmonics import solid_harmonics
from nextham.dft.species.orb import OrbitalSet

Array = NDArray[np.float64]

_STEP: Final = 0.001  # Bohr
_AT_NUCLEUS: Final = 1e-9  # distances are not smaller: a direction must exist


@dataclasses.dataclass(frozen=True, eq=False)
class GridOrbitals:
    """The orbitals of one element, ready to be evaluated on one device."""

    shells: tuple[int, ...]
    cutoff: float  # Bohr; zero from there on
    pieces: Tensor  # (n_pieces + 1, 4 n_shells) coefficients of 1, t, t², t³; the last row is zero

    @cached_property
    def n_orb(self) -> int:
        """Number of orbitals."""
        return sum(2 * l + 1 for l in self.shells)

    def __call__(self, displacements: Tensor, out: Tensor) -> None:
        """Write φ(r - x) to ``out``.

        Args:
            displacements: (3, ..., n_points) r - x, Bohr.
            out: (..., n_orb, n_points).
        """
        distance = (displacements * displacements).sum(dim=0).sqrt_().clamp_(min=_AT_NUCLEUS)
        radial = self._radial(distance.view(-1)).view(len(self.shells), *distance.shape)
        angular = solid_harmonics(max(self.shells), displacements / distance)
        shell = orbital = 0
        for l, same in groupby(self.shells):
            count, m = len(list(same)), 2 * l + 1
            into = out.narrow(-2, orbital, count * m)
            into = into.view(*into.shape[:-2], count, m, into.shape[-1])
            chi = radial[shell : shell + count].movedim(0, -2).unsqueeze(-2)
            torch.mul(chi, angular[l * l : (l + 1) ** 2].movedim(0, -2).unsqueeze(-3), out=into)
            shell, orbital = shell + count, orbital + count * m

    def _radial(self, distance: Tensor) -> Tensor:
        """Return χ at distances (n,): (n_shells, n)."""
        scaled = distance * (1 / _STEP)
        piece = scaled.long()
        t = (scaled - piece)[:, None]
        c = self.pieces.index_select(0, piece.clamp_(max=len(self.pieces) - 1)).view(len(t), 4, -1)
        chi = torch.addcmul(c[:, 2], c[:, 3], t)
        chi = torch.addcmul(c[:, 1], chi, t)
        return torch.addcmul(c[:, 0], chi, t).T.contiguous()


@lru_cache(maxsize=64)
def grid_orbitals(orbitals: OrbitalSet, device: torch.device) -> GridOrbitals:
    """Return the orbitals of an element on a device, tabulated once per process."""
    pieces = cached("grid-orbitals", orbitals.sha256, lambda: _pieces(orbitals))
    return GridOrbitals(orbitals.shells, orbitals.cutoff, torch.from_numpy(pieces.copy()).to(device))


def _pieces(orbitals: OrbitalSet) -> Array:
    n = round(orbitals.cutoff / _STEP)
    x = np.arange(n + 1, dtype=np.float64) * _STEP
    values = _local_cubic(orbitals, x)
    slopes = np.stack(
        [
            CubicSpline(orbitals.r, chi, bc_type="natural" if l % 2 else "clamped")(x, 1) * _STEP
            for l, chi in zip(orbitals.shells, orbitals.chi, strict=True)
        ]
    )
    f, df = values[:, :-1], np.diff(values, axis=1)
    g, h = slopes[:, :-1], slopes[:, 1:]
    c = np.stack([f, g, 3 * df - 2 * g - h, g + h - 2 * df])  # (4, n_shells, n)
    table = np.zeros((n + 1, 4 * len(orbitals.shells)))
    table[:n] = np.moveaxis(c, 2, 0).reshape(n, -1)
    return table


def _local_cubic(orbitals: OrbitalSet, x: Array) -> Array:
    """Return cubic Hermite values with central-difference slopes, one-sided parabolas at the ends, (n_shells, n)."""
    chi, d = orbitals.chi, orbitals.dr
    slope = np.empty_like(chi)
    slope[:, 1:-1] = (chi[:, 2:] - chi[:, :-2]) / 2
    slope[:, 0] = (-3 * chi[:, 0] + 4 * chi[:, 1] - chi[:, 2]) / 2
    slope[:, -1] = (3 * chi[:, -1] - 4 * chi[:, -2] + chi[:, -3]) / 2
    left = np.minimum((x / d).astype(np.int64), chi.shape[1] - 2)
    t = x / d - left
    f, g, s0, s1 = chi[:, left], chi[:, left + 1], slope[:, left], slope[:, left + 1]
    values: Array = (
        (1 + 2 * t) * (1 - t) ** 2 * f + t * (1 - t) ** 2 * s0 + t * t * (3 - 2 * t) * g + t * t * (t - 1) * s1
    )
    values[:, x >= orbitals.cutoff] = 0.0
    return values

"""The FFT grid of density and potential (torch, float64).

f(G) = (1/N) Σ_r f(r) e^(-iG·r); what is said to be on the sphere has only G with |G|² <= E_cut.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ABSURD_EDGE: Final = 1e5  # points along one axis


class FFTGrid:
    """Uniform points r = Σ (i_a / n_a) a_a of a cell, and the half-space of G that real functions need."""

    def __init__(self, cell: NDArray[np.float64], ecut_ry: float, *, device: torch.device | str = "cpu") -> None:
        """Args: cell: rows, Bohr; ecut_ry: of the density (four times that of the waves); device: torch's."""
        self.cell, self.ecut_ry, self.device = cell, ecut_ry, torch.device(device)
        self.shape = grid_shape(cell, ecut_ry)
        self.n_points = int(np.prod(self.shape))
        self.volume = float(abs(np.linalg.det(cell)))

    @property
    def weight(self) -> float:
        """Volume per point, Bohr³."""
        return self.volume / self.n_points

    @property
    def positions(self) -> Tensor:
        """Where the points are, (3, n_points) Bohr."""
        cell = torch.from_numpy(self.cell / np.array(self.shape)[:, None]).to(self.device)  # steps as rows
        n1, n2, n3 = (torch.arange(n, dtype=torch.float64, device=self.device) for n in self.shape)
        a1, a2, a3 = cell[:, :, None, None, None]
        total: Tensor = a1 * n1[:, None, None] + a2 * n2[:, None] + a3 * n3
        return total.view(3, -1)

    @cached_property
    def axes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Integer components of G along each axis of the half-space."""
        n1, n2, n3 = self.shape
        whole = [torch.fft.fftfreq(n, 1.0 / n, dtype=torch.float64, device=self.device).round() for n in (n1, n2)]
        return whole[0], whole[1], torch.arange(n3 // 2 + 1, dtype=torch.float64, device=self.device)

    @cached_property
    def components(self) -> Tensor:
        """Cartesian components of G over the half-space, (3, ...), 1/Bohr."""
        b = 2 * np.pi * np.linalg.inv(self.cell)  # columns are reciprocal vectors
        m1, m2, m3 = self.axes
        return torch.stack([float(r[0]) * m1[:, None, None] + float(r[1]) * m2[:, None] + float(r[2]) * m3 for r in b])

    @cached_property
    def g2(self) -> Tensor:
        """|G|² over the half-space."""
        g1, g2, g3 = self.components
        total: Tensor = g1 * g1 + g2 * g2 + g3 * g3
        return total

    @cached_property
    def sphere(self) -> Tensor:
        """Where |G|² <= E_cut, as float64 ones and zeros."""
        return (self.g2 <= self.ecut_ry * (1 + 1e-14)).to(torch.float64)

    @cached_property
    def coulomb(self) -> Tensor:
        """8π/G² (Rydberg units) on the sphere, 0 at G = 0."""
        kernel = self.sphere * 8 * np.pi / self.g2.clamp(min=1e-12)
        kernel[0, 0, 0] = 0.0
        return kernel

    def to_real(self, coefficients: Tensor) -> Tensor:
        """Return the real function (n_points,) of coefficients over the half-space.

        Axis by axis, at the same speed: torch's transform of several axes at once writes outside of its memory on
        processors where the second one has some 500 points and more (PyTorch issue 125664).
        """
        waves = torch.fft.ifft(torch.fft.ifft(coefficients, dim=0, norm="forward"), dim=1, norm="forward")
        values: Tensor = torch.fft.irfft(waves, n=self.shape[2], dim=2, norm="forward")
        return values.reshape(-1)

    def to_sphere(self, values: Tensor) -> Tensor:
        """Return the coefficients of a function (n_points,) on the sphere."""
        waves: Tensor = torch.fft.rfftn(values.view(self.shape), norm="forward")
        return waves * self.sphere

    def gradient(self, values: Tensor) -> Tensor:
        """Return the gradient (3, n_points) of the part of a function on the sphere."""
        waves = 1j * self.to_sphere(values)
        return torch.stack([self.to_real(waves * g) for g in self.components])

    def divergence(self, field: Tensor) -> Tensor:
        """Return the divergence (n_points,) of the part of a field (3, n_points) on the sphere."""
        waves = self.to_sphere(field[0]) * self.components[0]
        for axis in (1, 2):
            waves += self.to_sphere(field[axis]) * self.components[axis]
        return self.to_real(1j * waves)

    def hartree(self, density: Tensor) -> Tensor:
        """Return V_H (n_points,), Ry, of a density."""
        return self.to_real(self.to_sphere(density) * self.coulomb)

    def structure_factor(self, fractional: NDArray[np.float64]) -> Tensor:
        """Return Σ_a e^(-iG·x_a) over the half-space, of atoms at fractional coordinates (n_atoms, 3)."""
        x = torch.from_numpy(np.ascontiguousarray(fractional)).to(self.device)
        e1, e2, e3 = (
            torch.polar(
                torch.ones((), dtype=torch.float64, device=self.device).expand(len(m), len(x)),
                -2 * np.pi * m[:, None] * x[:, a],
            )
            for a, m in enumerate(self.axes)
        )
        rows = [torch.matmul(e1[k] * e2, e3.T) for k in range(len(e1))]  # one plane at a time bounds memory
        return torch.stack(rows)


def grid_shape(cell: NDArray[np.float64], ecut_ry: float) -> tuple[int, int, int]:
    """Return the numbers of points: the least 2, 3, 5-smooth n >= 2M + 1, M the largest |m| of a G on the sphere."""
    return tuple(_smooth(2 * _largest_index(cell, ecut_ry, axis) + 1) for axis in range(3))  # type: ignore[return-value]


def count_points(cell: NDArray[np.float64], ecut_ry: float) -> float:
    """Return the number of points; of absurdly long axes without rounding it up, so that it always costs nothing."""
    edges = np.sqrt(ecut_ry) * np.linalg.norm(cell, axis=1) / np.pi  # 2M, not yet a whole number
    return float(math.prod(edges.tolist() if edges.max() > _ABSURD_EDGE else grid_shape(cell, ecut_ry)))


def _largest_index(cell: NDArray[np.float64], ecut_ry: float, axis: int) -> int:
    """Return the largest m along an axis of any lattice vector G = Σ m_a b_a with |G|² <= E_cut.

    |G|² is a parabola in the last of the other two indices: of each row only the integers next to its minimum count.
    """
    b = 2 * np.pi * np.linalg.inv(cell).T
    bounds = (np.sqrt(ecut_ry) * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int) + 1
    others = [a for a in range(3) if a != axis]
    rows = np.arange(-bounds[others[0]], bounds[others[0]] + 1)
    for m in range(int(bounds[axis]), 0, -1):
        lowest = -(rows[:, None] * b[others[0]] + m * b[axis]) @ b[others[1]] / (b[others[1]] @ b[others[1]])
        near = np.floor(lowest)[:, None] + np.array([0, 1])
        indices = np.stack([np.broadcast_to(rows[:, None], near.shape), near], axis=-1).reshape(-1, 2)
        if (((indices @ b[others] + m * b[axis]) ** 2).sum(axis=1) <= ecut_ry).any():
            return m
    return 0


def _smooth(n: int) -> int:
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1

"""Pulay mixing of densities with Kerker's preconditioner."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from nextham.dft.lcao.grid import FFTGrid


@dataclasses.dataclass(frozen=True)
class Mixing:
    """How a new density is made of old ones."""

    beta: float  # share of the residual that is taken in
    history: int  # steps that are remembered
    kerker_inv_bohr: float  # waves longer than 1/k are damped by G²/(G² + k²); 0 for none


class PulayMixer:
    """Finds the combination of past densities with the least residual (Chem. Phys. Lett. 73, 393 (1980))."""

    def __init__(self, mixing: Mixing, grid: FFTGrid) -> None:
        self._mixing, self._grid = mixing, grid
        self._densities: list[Tensor] = []
        self._residuals: list[Tensor] = []

    def next(self, density: Tensor, output: Tensor) -> Tensor:
        """Return the next input density from an input density and what it led to, each (n_points,)."""
        keep = self._mixing.history
        self._densities = [*self._densities, density][-keep:]
        self._residuals = [*self._residuals, output - density][-keep:]
        weights = self._weights()
        best, residual = torch.zeros_like(density), torch.zeros_like(density)
        for w, rho, r in zip(weights, self._densities, self._residuals, strict=True):
            best.add_(rho, alpha=w)
            residual.add_(r, alpha=w)
        return best + self._mixing.beta * self._screened(residual)

    def _weights(self) -> list[float]:
        """Return weights with sum 1 that minimise |Σ w r|²."""
        last = self._residuals[-1]
        if len(self._residuals) == 1:
            return [1.0]
        steps = torch.stack([r - last for r in self._residuals[:-1]])
        gram = (steps @ torch.cat([steps, last[None]]).T).cpu()  # a few numbers: waited for once, solved here
        gram, right = gram[:, :-1], -gram[:, -1]
        scale = gram.diagonal().sqrt().clamp(min=1e-300)
        scaled = gram / scale[:, None] / scale + 1e-13 * torch.eye(len(gram), dtype=gram.dtype)
        share = torch.linalg.solve(scaled, right / scale) / scale
        return [*share.tolist(), 1.0 - float(share.sum())]

    def _screened(self, residual: Tensor) -> Tensor:
        k = self._mixing.kerker_inv_bohr
        if not k:
            return residual
        g2 = self._grid.g2
        waves = torch.fft.rfftn(residual.view(self._grid.shape), norm="forward") * (g2 / (g2 + k * k))
        return self._grid.to_real(waves)

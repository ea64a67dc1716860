"""Anderson mixing of a self-consistent loop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_RIDGE = 1e-12


class Mixer:
    """Anderson mixing: x <- x + βf - Σ θ (Δx + βΔf), θ least squares over the last steps in a weighted norm.

    Args:
        weights: the norm of a residual, same length as x.
        step: β.
        depth: how many earlier steps are kept.
    """

    def __init__(self, weights: Array, *, step: float = 0.35, depth: int = 7) -> None:
        self._weights, self._step, self._depth = weights, step, depth
        self._inputs: list[Array] = []
        self._residuals: list[Array] = []

    def next_input(self, x: Array, output: Array) -> Array:
        """Return the next input after x gave ``output``."""
        residual = output - x
        self._inputs = [*self._inputs, x][-self._depth :]
        self._residuals = [*self._residuals, residual][-self._depth :]
        mixed = x + self._step * residual
        if len(self._inputs) > 1:
            d_residual = residual - np.array(self._residuals[:-1])  # (m, n)
            d_input = x - np.array(self._inputs[:-1])
            normal = (d_residual * self._weights) @ d_residual.T
            right = (d_residual * self._weights) @ residual
            normal += _RIDGE * np.trace(normal) * np.eye(len(normal))
            theta = np.linalg.lstsq(normal, right, rcond=None)[0]
            mixed = mixed - theta @ (d_input + self._step * d_residual)
        return mixed

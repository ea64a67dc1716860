"""Real spherical harmonics in house order and how they rotate."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import sph_harm_y


def real_harmonics(l: int, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Y_lm of the directions of vectors, (n, 2l + 1) for m = -l..l, without Condon-Shortley phase.

    ∫ Y_lm Y_l'm' = δ; a p shell reads √(3/4π) (y, z, x).
    """
    x, y, z = np.asarray(vectors, dtype=np.float64).T
    theta, phi = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    columns = []
    for m in range(-l, l + 1):
        value = sph_harm_y(l, abs(m), theta, phi) * (-1.0) ** m
        columns.append(value.real if m == 0 else np.sqrt(2) * (value.imag if m < 0 else value.real))
    return np.stack(columns, axis=1)


def rotation_matrix(l: int, orthogonal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return D with Y_l(Q r) = D Y_l(r) for orthogonal Q (..., 3, 3), proper or improper; (..., 2l + 1, 2l + 1).

    A shell's coefficients transform as c -> D c when the crystal is moved by r -> Q r.
    """
    points, inverse = _sample(l)
    moved = points @ np.asarray(orthogonal).swapaxes(-1, -2)  # (..., n, 3)
    values = real_harmonics(l, moved.reshape(-1, 3)).reshape(*moved.shape[:-1], 2 * l + 1)
    turned: NDArray[np.float64] = values.swapaxes(-1, -2) @ inverse.T
    return turned


@cache
def _sample(l: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions (n, 3) and the pseudo-inverse (2l + 1, n) of the harmonics there."""
    points = np.random.default_rng(0).normal(size=(8 * l + 8, 3))
    return points, np.asarray(np.linalg.pinv(real_harmonics(l, points)), dtype=np.float64)

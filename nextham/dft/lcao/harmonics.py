"""Real solid harmonics r^l Y_lm in house order as polynomials of x, y, z (torch), and their Gaunt integrals."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def solid_harmonics(lmax: int, vectors: Tensor) -> Tensor:
    """Return r^l Y_lm, ((lmax + 1)², ...), of vectors (3, ...); row l² + l + m.

    r^l Y_lm = N_lm Q_lm(z, r²) {Re, Im}(x + iy)^|m| with Q from the Legendre recursion
    (l - m) Q_lm = (2l - 1) z Q_{l-1,m} - (l + m - 1) r² Q_{l-2,m}, Q_mm = (2m - 1)!!.
    """
    x, y, z = vectors
    r2 = x * x + y * y + z * z
    out = torch.empty(((lmax + 1) ** 2, *x.shape), dtype=vectors.dtype, device=vectors.device)
    cos, sin = torch.ones_like(x), torch.zeros_like(x)
    for m in range(lmax + 1):
        if m:
            cos, sin = cos * x - sin * y, sin * x + cos * y
        for l, q in enumerate(_legendre(lmax, m, z, r2), start=m):
            norm = _norm(l, m)
            centre = l * l + l
            if m == 0:
                out[centre] = q * norm
            else:
                torch.mul(q * norm, cos, out=out[centre + m])
                torch.mul(q * norm, sin, out=out[centre - m])
    return out


def _legendre(lmax: int, m: int, z: Tensor, r2: Tensor) -> list[Tensor | float]:
    """Return Q_lm for l = m .. lmax; the first is a number."""
    q: list[Tensor | float] = [float(math.prod(range(1, 2 * m, 2)))]
    for l in range(m + 1, lmax + 1):
        term = z * ((2 * l - 1) / (l - m) * q[-1])
        if l > m + 1:
            term = term - r2 * ((l + m - 1) / (l - m) * q[-2])
        q.append(term)
    return q


@cache
def _norm(l: int, m: int) -> float:
    n = math.sqrt((2 * l + 1) / (4 * math.pi) * math.factorial(l - m) / math.factorial(l + m))
    return n if m == 0 else math.sqrt(2) * n


@cache
def gaunt(l1: int, l2: int, l: int) -> NDArray[np.float64]:
    """Return ∫ Y_l1m1 Y_l2m2 Y_lm over the sphere, (2 l1 + 1, 2 l2 + 1, 2 l + 1), by an exact quadrature."""
    degree = l1 + l2 + l
    cos, weight = np.polynomial.legendre.leggauss(degree // 2 + 1)
    n_phi = degree + 1
    phi = 2 * np.pi * np.arange(n_phi) / n_phi
    sin = np.sqrt(1 - cos**2)
    points = np.stack([np.outer(sin, np.cos(phi)), np.outer(sin, np.sin(phi)), np.outer(cos, np.ones(n_phi))])
    y = solid_harmonics(max(l1, l2, l), torch.from_numpy(points.reshape(3, -1))).numpy()
    weights = np.repeat(weight, n_phi) * 2 * np.pi / n_phi
    rows = [y[k * k : (k + 1) ** 2] for k in (l1, l2, l)]
    integrals: NDArray[np.float64] = np.einsum("ap,bp,cp,p->abc", *rows, weights, optimize=True)
    return np.where(np.abs(integrals) < 1e-13, 0.0, integrals)

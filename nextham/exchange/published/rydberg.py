"""The Rydberg in eV that a file's energies were made with, read off their last bits.

The converters multiply single-precision numbers h in Ry by one constant c, in single precision. The product fl(h c)
is rounded, and where c stretches the mantissa some single-precision numbers are no product at all: near c = 13.6
about one in ten. So the constant that a file was made with is the one number of which every energy in the file is a
product; a wrong one, even in its last bit, is betrayed by a tenth of them. No known energy is needed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_LOW, _HIGH = np.float32(13.55), np.float32(13.65)
_FEW: Final = 400  # numbers that most wrong constants do not survive
_LEAST: Final = 300  # with fewer numbers two constants could pass


def rydberg_of(values: NDArray[np.float32]) -> float | None:
    """Return the constant c of which all numbers are single-precision products; None if none or several would do.

    >>> h = np.random.default_rng(0).normal(size=2000).astype(np.float32)
    >>> rydberg_of(h * np.float32(13.6)), round(rydberg_of(h * np.float32(13.605698066)), 6), rydberg_of(h)
    (13.600000381469727, 13.605698, None)
    """
    if not enough(values):
        return None
    found = _telling(values)
    found = np.random.default_rng(0).permutation(found)
    left = np.arange(_LOW.view(np.int32), _HIGH.view(np.int32), dtype=np.int32).view(np.float32)
    for start, stop in ((0, 8), (8, 24), (24, 80), (80, _FEW)):  # most constants fall at the first numbers
        left = left[products(found[start:stop], left[:, None]).all(axis=1)]
    left = left[[bool(products(found, left[k : k + 1]).all()) for k in range(len(left))]]
    return float(left[0]) if len(left) == 1 else None


def enough(values: NDArray[np.float32]) -> bool:
    """Return whether there are as many different numbers as it takes to tell constants apart."""
    return len(_telling(values)) >= _LEAST


def _telling(values: NDArray[np.float32]) -> NDArray[np.float32]:
    found = np.unique(np.abs(values))
    return np.asarray(found[np.isfinite(found) & (found > 1e-30)])


def products(values: NDArray[np.float32], constant: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which numbers are single-precision products of a single-precision number and the constant."""
    near = (values.astype(np.float64) / np.float64(constant)).astype(np.float32)
    hit = near * constant == values
    for side in (np.float32(np.inf), np.float32(-np.inf)):
        hit |= np.nextafter(near, side) * constant == values
    return np.asarray(hit)

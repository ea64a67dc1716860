"""Frozen arrays: how the nouns keep their promise of immutability."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


def frozen(values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """Return a read-only contiguous array; an array that is already one is not copied."""
    array = np.ascontiguousarray(values, dtype=dtype)
    if array.flags.writeable:
        array = array.view() if array is not values else array.copy()
        array.flags.writeable = False
    return array


def offsets(counts: ArrayLike) -> NDArray[np.int64]:
    """Return where each of some consecutive segments starts, and where the last one ends."""
    counts = np.asarray(counts, dtype=np.int64)
    out = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=out[1:])
    return out

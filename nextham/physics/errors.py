"""Element-wise errors of a prediction, counted over the full spinor matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, SpinLayout
from nextham.physics.spin import to_spin_blocks


def moduli(error: BlockMatrix) -> NDArray[np.float64]:
    """Return |Re| and |Im| of the spin blocks and |E|, shape (3, 4, n_values): parts real, imag, modulus.

    The listed pair (i, j, R) stands for its conjugate too, where ↑↓ and ↓↑ trade places: entries of
    ↑↓ and ↓↑ are therefore averaged over both directions, and off-site pairs count twice
    (``PairList.multiplicity``).
    """
    if error.layout is SpinLayout.SCALAR:
        real = np.abs(error.values[0])
        out = np.zeros((3, 4, real.size))
        out[0, [0, 3]] = out[2, [0, 3]] = real
        return out
    blocks = to_spin_blocks(error.values)
    out = np.stack([np.abs(blocks.real), np.abs(blocks.imag), np.abs(blocks)])
    out[:, 1:3] = out[:, 1:3].mean(axis=1, keepdims=True)
    return out

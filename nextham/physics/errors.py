"""Element-wise errors of a prediction, counted over the full spinor matrix."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, SpinLayout
from nextham.physics.spin import to_spin_blocks

_REAL, _IMAG, _MODULUS = range(3)
_SAME: Final = [0, 3]  # ↑↑ and ↓↓
_FLIP: Final = [1, 2]  # ↑↓ and ↓↑


def moduli(error: BlockMatrix) -> NDArray[np.float64]:
    """Return |Re| and |Im| of the spin blocks and |E|, shape (3, 4, n_values): parts real, imag, modulus.

    The listed pair (i, j, R) stands for its conjugate too, where ↑↓ and ↓↑ trade places: entries of
    ↑↓ and ↓↑ are therefore averaged over both directions, and off-site pairs count twice
    (``PairList.multiplicity``).
    """
    numbers, share = distinct_moduli(error.values)
    return np.asarray(np.einsum("mn,mps->psn", numbers, share))


def distinct_moduli(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return those absolute values of :func:`moduli` that differ, and how much of each is in which part and block.

    In the narrower spin layouts ↑↑ and ↓↓ have equal moduli, and ↑↓ and ↓↑ too.

    Args:
        values: Pauli components (n_spin_components, n_values) in any layout.

    Returns:
        (n_distinct, n_values) and (n_distinct, 3, 4).
    """
    layout = SpinLayout.of(values)
    if layout is SpinLayout.SCALAR:
        share = np.zeros((1, 3, 4))
        share[0, _REAL, _SAME] = share[0, _MODULUS, _SAME] = 1
        return np.abs(values), share
    if layout is SpinLayout.TIME_REVERSAL:  # ↑↑ = h_0 + i z, ↓↓ = h_0 - i z, ↑↓ = y + i x, ↓↑ = -y + i x
        found = np.empty((6, values.shape[1]))
        np.abs(values, out=found[:4])
        square = values * values
        np.sqrt(square[0] + square[3], out=found[4])
        np.sqrt(square[1] + square[2], out=found[5])
        share = np.zeros((len(found), 3, 4))
        for part, same, flip in ((_REAL, 0, 2), (_IMAG, 3, 1), (_MODULUS, 4, 5)):
            share[same, part, _SAME] = 1
            share[flip, part, _FLIP] = 1
        return found, share
    blocks = to_spin_blocks(values)
    share = np.zeros((3, 4, 3, 4))
    for part in range(3):
        for block in range(4):
            both = _FLIP if block in _FLIP else [block]
            share[part, block, part, both] = 1 / len(both)
    found = np.stack([np.abs(blocks.real), np.abs(blocks.imag), np.abs(blocks)])
    return found.reshape(12, -1), share.reshape(12, 3, 4)

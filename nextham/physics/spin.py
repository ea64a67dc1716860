"""Pauli components and spin blocks of an operator: H = h_0 σ_0 + h_x σ_x + h_y σ_y + h_z σ_z."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix
from nextham.core.blocks import SpinLayout, widened

TIME_REVERSAL_NOISE_EV: Final = 2e-5  # what converged runs that lose their starting moments keep: up to 6e-6 eV
SPIN_BLOCKS: Final = ("uu", "ud", "du", "dd")  # ↑↑ ↑↓ ↓↑ ↓↓


def to_spin_blocks(values: NDArray[Any]) -> NDArray[np.complex128]:
    """Return the spin blocks ↑↑ ↑↓ ↓↑ ↓↓, (4, n_values) complex, of operator values in any layout.

    ↑↑ = h_0 + h_z,  ↑↓ = h_x - i h_y,  ↓↑ = h_x + i h_y,  ↓↓ = h_0 - h_z.
    """
    h0, hx, hy, hz = widened(values, SpinLayout.FULL)
    return np.stack([h0 + hz, hx - 1j * hy, hx + 1j * hy, h0 - hz])


def from_spin_blocks(blocks: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return Pauli components (4, n_values), FULL layout, of the spin blocks ↑↑ ↑↓ ↓↑ ↓↓."""
    uu, ud, du, dd = blocks
    out = np.empty(np.shape(blocks), dtype=np.complex128)
    np.add(uu, dd, out=out[0])
    np.add(ud, du, out=out[1])
    np.subtract(ud, du, out=out[2])
    np.subtract(uu, dd, out=out[3])
    out *= 0.5
    out[2] *= 1j
    return out


def spin_scalar(matrix: BlockMatrix) -> BlockMatrix:
    """Return the operator without its spin-dependent part: h_0 σ_0."""
    values = matrix.values
    if not values[0].imag.any():
        return matrix.with_values(values[:1].real)
    kept = np.zeros_like(values)
    kept[0] = values[0]
    return matrix.with_values(kept)


def narrowed(values: NDArray[Any], layout: SpinLayout) -> tuple[NDArray[Any], float]:
    """Return values in a narrower layout, and the largest modulus among the parts that it drops.

    The caller decides whether what is dropped is noise; nothing here does.
    """
    if SpinLayout.of(values) is layout:
        return values, 0.0
    full = widened(values, SpinLayout.FULL)
    if layout is SpinLayout.FULL:
        return full, 0.0
    if layout is SpinLayout.TIME_REVERSAL:
        kept = np.concatenate([full[:1].real, full[1:].imag])
        dropped = [np.abs(full[0].imag), np.abs(full[1:].real)]
    else:
        kept = full[:1].real
        dropped = [np.abs(full[0].imag), np.abs(full[1:])]
    return np.ascontiguousarray(kept), max((float(d.max(initial=0.0)) for d in dropped), default=0.0)


def narrowest(values: NDArray[Any], tolerance: float) -> tuple[NDArray[Any], float]:
    """Return values in the narrowest layout that drops nothing above a tolerance (eV), and what it drops."""
    for layout in SpinLayout:
        kept, dropped = narrowed(values, layout)
        if dropped <= tolerance:
            return kept, dropped
    raise AssertionError("the full layout drops nothing")

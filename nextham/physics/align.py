"""Energy shift: H -> H + μS leaves the physics unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np

from nextham.core import BlockMatrix


def energy_shift(error: BlockMatrix, overlap: BlockMatrix) -> float:
    """Return μ* = Re Σ conj(S) E / Σ |S|² (eV), the least-squares shift that E = P - H holds.

    The sums run over every element of the full spinor matrix. S sits on both spin diagonals, so that
    Re tr_spin(S† E) = 2 S Re e_0 and only the h_0 component of E counts.
    """
    weight = error.pairs.multiplicity[error.pair_of_value]
    return float(shift_of(error.values[0].real, overlap.values[0], weight))


def shift_of(error: Any, overlap: Any, weight: Any) -> Any:
    """Return Σ w S e / Σ w S² for arrays or tensors of equal shape (h_0 of the error, S, multiplicity)."""
    return (weight * overlap * error).sum() / (weight * overlap * overlap).sum()


def aligned(error: BlockMatrix, overlap: BlockMatrix) -> tuple[BlockMatrix, float]:
    """Return E - μ* S and μ* (eV)."""
    mu = energy_shift(error, overlap)
    values = np.array(error.values)
    values[0] -= mu * overlap.values[0]
    return error.with_values(values), mu

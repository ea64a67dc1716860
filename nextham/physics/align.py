"""Energy shift: H -> H + μS leaves the physics unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nextham.core import BlockMatrix


def energy_shift(error: BlockMatrix, overlap: BlockMatrix) -> float:
    """Return μ* = Re Σ conj(S) E / Σ |S|² (eV), the least-squares shift that E = P - H holds.

    The sums run over every element of the full spinor matrix. S sits on both spin diagonals, so that
    Re tr_spin(S† E) = 2 S Re e_0 and only the h_0 component of E counts.
    """
    (mu,) = energy_shifts([error], overlap)
    return mu


def energy_shifts(errors: Sequence[BlockMatrix], overlap: BlockMatrix) -> list[float]:
    """Return the energy shift of each of several matrices on one pair list; μ* is linear in the matrix."""
    s = overlap.values[0]
    weighted = 2.0 * s  # each listed pair stands for two blocks, but for those on site
    for pair in np.flatnonzero(overlap.pairs.onsite):
        own = slice(overlap.block_ptr[pair], overlap.block_ptr[pair + 1])
        weighted[own] = s[own]
    norm = weighted @ s
    return [float(weighted @ error.values[0].real / norm) for error in errors]


def shift_of(error: Any, overlap: Any, weight: Any) -> Any:
    """Return Σ w S e / Σ w S² for arrays or tensors of equal shape (h_0 of the error, S, multiplicity)."""
    return (weight * overlap * error).sum() / (weight * overlap * overlap).sum()


def aligned(error: BlockMatrix, overlap: BlockMatrix) -> tuple[BlockMatrix, float]:
    """Return E - μ* S and μ* (eV)."""
    mu = energy_shift(error, overlap)
    values = np.array(error.values)
    values[0] -= mu * overlap.values[0]
    return error.with_values(values), mu

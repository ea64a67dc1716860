"""Predictions with known errors."""

from __future__ import annotations

import numpy as np

from nextham.core import BlockMatrix, LCAOSystem


def noisy(system: LCAOSystem, *, fraction: float = 0.5, scale_ev: float = 1e-3, seed: int = 0) -> BlockMatrix:
    """H0 + fraction * (H - H0) + noise in every number, Hermitian on site."""
    rng = np.random.default_rng(seed)
    start = system.operator("h0") + fraction * system.correction
    values = np.array(start.values)
    noise = rng.normal(scale=scale_ev, size=values.shape)
    if np.iscomplexobj(values):
        noise = noise + 1j * rng.normal(scale=scale_ev, size=values.shape)
    onsite = start.pairs.onsite[start.pair_of_value]
    noise[:, onsite] = 0
    return start.with_values(values + noise)

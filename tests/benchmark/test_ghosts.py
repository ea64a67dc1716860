"""Matching of levels: as many partners as there can be."""

from __future__ import annotations

import numpy as np
from bench_oracle_levels import lonely
from hypothesis import given
from hypothesis import strategies as st
from nextham_bench.metrics.ghosts import ghost_levels, unmatched

LEVELS = st.lists(st.floats(0, 3), max_size=6).map(sorted)


@given(LEVELS, LEVELS)
def test_as_many_levels_are_matched_as_can_be(predicted: list[float], reference: list[float]) -> None:
    near = [[abs(p - r) <= 0.3 for r in reference] for p in predicted]

    def most(p: int, used: frozenset[int]) -> int:
        if p == len(predicted):
            return 0
        takes = [1 + most(p + 1, used | {r}) for r in range(len(reference)) if near[p][r] and r not in used]
        return max([most(p + 1, used), *takes])

    alone = unmatched(np.array(predicted), np.array(reference), 0.3)
    assert len(predicted) - int(alone.sum()) == most(0, frozenset())


@given(st.integers(0, 1000))
def test_levels_outside_the_window_are_partners_but_no_ghosts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, h = (np.sort(rng.uniform(-8, 8, size=(3, 20)), axis=1) for _ in range(2))
    found = ghost_levels(p, h, window_ev=(-5.0, 5.0), distance_ev=0.3)
    assert found.sum(axis=1).tolist() == [lonely(list(p[q]), list(h[q]), -5.0, 5.0) for q in range(3)]
    assert not found[(p < -5) | (p > 5)].any()

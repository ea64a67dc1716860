from __future__ import annotations

import numpy as np
import pytest

from nextham.core import PairList
from nextham.exceptions import InputError


def test_only_one_direction_is_listed():
    with pytest.raises(InputError, match="i < j, or i = j and R >= 0"):
        PairList([[1, 0]], [[0, 0, 0]], [0, 1])
    with pytest.raises(InputError, match="R >= 0"):
        PairList([[0, 0]], [[0, -1, 5]], [0, 1])


def test_pairs_are_sorted_and_unique():
    with pytest.raises(InputError, match="sorted by i, j, R, each once"):
        PairList([[0, 1], [0, 0]], [[0, 0, 0], [0, 0, 0]], [0, 2])
    with pytest.raises(InputError, match="each once"):
        PairList([[0, 0], [0, 0]], [[0, 0, 0], [0, 0, 0]], [0, 2])


def test_two_structures_may_hold_the_same_pair():
    one = PairList.of_one([[0, 1], [0, 0]], [[0, -1, 0], [0, 0, 0]])
    both = PairList.concat([one, one], [2, 2])
    assert both.ij.tolist() == [[0, 0], [0, 1], [2, 2], [2, 3]]
    assert both[1].R.tolist() == one.R.tolist()


def test_pointers_must_rise():
    with pytest.raises(InputError, match="pointers"):
        PairList([[0, 0]], [[0, 0, 0]], [0, 2])
    with pytest.raises(InputError, match="pointers"):
        PairList([[0, 0], [0, 1]], [[0, 0, 0], [0, 0, 0]], [0, 3, 2])


def test_union_and_lookup():
    a = PairList.of_one([[0, 0], [0, 1]], [[0, 0, 0], [1, 0, 0]])
    b = PairList.of_one([[0, 1], [0, 1]], [[1, 0, 0], [2, 0, 0]])
    both = a.union(b)
    assert both.n_pairs == 3
    assert both.index_of(b).tolist() == [1, 2]
    assert a.index_of(b).tolist() == [1, -1]
    assert both.multiplicity.tolist() == [1, 2, 2]


def test_arrays_cannot_be_changed():
    pairs = PairList.of_one([[0, 0]], [[0, 0, 0]])
    with pytest.raises(ValueError, match="read-only"):
        pairs.ij[0, 0] = 3
    mine = np.array([[0, 0]])
    PairList.of_one(mine, [[0, 0, 0]])
    mine[0, 0] = 5  # the caller's array stays the caller's

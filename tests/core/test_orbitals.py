from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextham.core import OrbitalBasis
from nextham.exceptions import InputError

_shells = st.lists(st.integers(0, 4), min_size=1, max_size=9).map(sorted)


@given(st.dictionaries(st.integers(1, 94), _shells, max_size=5))
def test_printing_and_parsing_are_inverse(table):
    basis = OrbitalBasis(table)
    assert OrbitalBasis.parse(str(basis)) == basis
    assert all(basis.n_orb(z) == sum(2 * l + 1 for l in table[z]) for z in table)


@given(_shells)
def test_slices_tile_the_atom(shells):
    basis = OrbitalBasis({14: shells})
    slices = basis.shell_slices(14)
    assert [s.stop - s.start for s in slices] == [2 * l + 1 for l in shells]
    assert slices[0].start == 0
    assert slices[-1].stop == basis.n_orb(14)


def test_missing_element_is_named():
    with pytest.raises(InputError, match="the orbital basis has no Bi; it has Si:2s2p1d"):
        OrbitalBasis.parse("Si:2s2p1d").shells(83)


@pytest.mark.parametrize("text", ["Si", "Si:2q", "Si:", "Xx:2s"])
def test_bad_text(text):
    with pytest.raises(InputError):
        OrbitalBasis.parse(text)


def test_shells_must_ascend():
    with pytest.raises(InputError, match="the shells of Si must be one or more l in ascending order"):
        OrbitalBasis({14: (1, 0)})

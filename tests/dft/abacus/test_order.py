import numpy as np
import pytest

from nextham.core import OrbitalBasis
from nextham.dft.abacus.order import abacus_m, row_map
from nextham.physics.harmonics import real_harmonics


def explicit_harmonics(l, r):
    """ABACUS's functions on the unit sphere, from its ylm.cpp, in its order."""
    x, y, z = r.T
    pi = np.pi
    return {
        0: [np.full(len(r), np.sqrt(1 / (4 * pi)))],
        1: [np.sqrt(3 / (4 * pi)) * z, -np.sqrt(3 / (4 * pi)) * x, -np.sqrt(3 / (4 * pi)) * y],
        2: [
            np.sqrt(5 / (16 * pi)) * (3 * z**2 - 1),
            -np.sqrt(15 / (4 * pi)) * x * z,
            -np.sqrt(15 / (4 * pi)) * y * z,
            np.sqrt(15 / (16 * pi)) * (x**2 - y**2),
            np.sqrt(15 / (4 * pi)) * x * y,
        ],
        3: [
            np.sqrt(7 / (16 * pi)) * z * (5 * z**2 - 3),
            -np.sqrt(21 / (32 * pi)) * x * (5 * z**2 - 1),
            -np.sqrt(21 / (32 * pi)) * y * (5 * z**2 - 1),
            np.sqrt(105 / (16 * pi)) * z * (x**2 - y**2),
            np.sqrt(105 / (4 * pi)) * x * y * z,
            -np.sqrt(35 / (32 * pi)) * x * (x**2 - 3 * y**2),
            -np.sqrt(35 / (32 * pi)) * y * (3 * x**2 - y**2),
        ],
    }[l]


@pytest.mark.parametrize("l", [0, 1, 2, 3])
def test_the_map_turns_abacus_functions_into_house_harmonics(l):
    r = np.random.default_rng(1).normal(size=(20, 3))
    r /= np.linalg.norm(r, axis=1, keepdims=True)
    theirs = np.stack(explicit_harmonics(l, r), axis=1)
    rows = row_map(OrbitalBasis({1: (l,)}), np.array([1]))
    ours = np.zeros_like(theirs)
    ours[:, rows.place] = rows.sign * theirs
    np.testing.assert_allclose(ours, real_harmonics(l, r), atol=1e-14)


def test_rows_of_several_atoms_and_shells():
    rows = row_map(OrbitalBasis.parse("H:1s1p Si:2s2p1d"), np.array([14, 1]))
    assert abacus_m(3) == (0, 1, -1, 2, -2, 3, -3)
    np.testing.assert_array_equal(rows.atom, [0] * 13 + [1] * 4)
    np.testing.assert_array_equal(rows.place, [0, 1, 3, 4, 2, 6, 7, 5, 10, 11, 9, 12, 8, 0, 2, 3, 1])
    np.testing.assert_array_equal(rows.sign, [1, 1, 1, -1, -1, 1, -1, -1, 1, -1, -1, 1, 1, 1, 1, -1, -1])

"""Orders of other formats against the functions themselves, written down as polynomials by hand."""

import numpy as np
import pytest

from nextham.core import OrbitalBasis
from nextham.dft.abacus.order import row_map
from nextham.exchange.orders import ABACUS, HOUSE, OPENMX
from nextham.physics.harmonics import real_harmonics

# With r = 1 and without norms; signs count. OpenMX 3.9's manual, table 9; ABACUS's source_base/ylm.cpp.
OPENMX_SHELLS = {
    0: lambda x, y, z: [1 + 0 * x],
    1: lambda x, y, z: [x, y, z],
    2: lambda x, y, z: [3 * z**2 - 1, x**2 - y**2, x * y, x * z, y * z],
    3: lambda x, y, z: [
        z * (5 * z**2 - 3),
        x * (5 * z**2 - 1),
        y * (5 * z**2 - 1),
        z * (x**2 - y**2),
        x * y * z,
        x * (x**2 - 3 * y**2),
        y * (3 * x**2 - y**2),
    ],
}
ABACUS_SHELLS = {
    0: lambda x, y, z: [1 + 0 * x],
    1: lambda x, y, z: [z, -x, -y],
    2: lambda x, y, z: [3 * z**2 - 1, -x * z, -y * z, x**2 - y**2, x * y],
    3: lambda x, y, z: [
        z * (5 * z**2 - 3),
        -x * (5 * z**2 - 1),
        -y * (5 * z**2 - 1),
        z * (x**2 - y**2),
        x * y * z,
        -x * (x**2 - 3 * y**2),
        -y * (3 * x**2 - y**2),
    ],
}


@pytest.mark.parametrize(("order", "shells"), [(OPENMX, OPENMX_SHELLS), (ABACUS, ABACUS_SHELLS)])
@pytest.mark.parametrize("l", range(4))
def test_orders_are_those_of_the_functions(order, shells, l):
    directions = np.random.default_rng(1).normal(size=(40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    theirs = np.stack(shells[l](*directions.T), axis=1)
    theirs /= np.sqrt((theirs**2).mean(axis=0))
    ours = real_harmonics(l, directions)
    ours /= np.sqrt((ours**2).mean(axis=0))
    placed = order.of((l,))
    np.testing.assert_allclose(theirs[:, placed.index] * placed.sign, ours, atol=1e-12)


def test_house_order_is_the_identity_and_inverses_invert():
    shells = (0, 0, 1, 2, 3)
    assert (HOUSE.of(shells).index == np.arange(17)).all()
    for order in (OPENMX, ABACUS):
        placed, rows = order.of(shells), np.arange(17.0)
        there = rows[placed.inverse.index] * placed.inverse.sign
        np.testing.assert_array_equal(there[placed.index] * placed.sign, rows)


def test_the_order_of_abacus_is_that_of_its_parser():
    basis = OrbitalBasis.parse("Bi:2s2p2d1f")
    rows = row_map(basis, np.array([83]))
    placed = ABACUS.of(basis.shells(83)).inverse
    np.testing.assert_array_equal(rows.place, placed.index)
    np.testing.assert_array_equal(rows.sign, placed.sign)

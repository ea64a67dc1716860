"""Crystals that no engine is asked to compute."""

import time

import numpy as np
import pytest

from nextham.core import Structure
from nextham.dft.engine import Cause, RunError
from nextham.dft.geometry import check_geometry
from nextham.exceptions import InputError

FCC = 2.825 * (1 - np.eye(3))
APART = [[0, 0, 0], [0.25] * 3]


def crystal(cell, fractional=APART):
    return Structure.from_fractional(["Si", "C"][: len(fractional)], fractional, cell)


@pytest.mark.parametrize(
    ("structure", "sentence"),
    [
        (
            crystal(FCC, [[0, 0, 0], [0.02] * 3]),
            "s-1: atoms 1 (Si) and 2 (C) are 0.196 Å apart (at least 0.3); check units and duplicate sites",
        ),
        (
            crystal(FCC, [[0, 0, 0], [0.999, 0, 0]]),  # across the border of the cell
            "s-1: atoms 1 (Si) and 2 (C) are 0.004 Å apart (at least 0.3); check units and duplicate sites",
        ),
        (
            crystal(np.array([[5, 0, 0], [4.8, 0.14, 0], [0, 0, 5]]), [[0, 0, 0]]),
            "s-1: atom 1 (Si) is 0.244 Å from its own image in another cell (at least 0.3); check the lattice vectors",
        ),
        (
            crystal(np.array([[5, 0, 0], [0, 5, 0], [5, 5, 1e-5]])),
            "s-1 has lattice vectors almost in one plane (the cell is 1e-05 Å thick); check the cell",
        ),
        (
            crystal(np.diag([0.3, 3, 3])),
            "s-1 has a lattice vector of 0.3 Å; cells are in Å, is this one in other units?",
        ),
        (
            crystal(np.diag([4000.0, 3000, 2000])),
            "s-1 has 1.2e+10 Å³ per atom (at most 100000); cut the vacuum of the cell",
        ),
        (Structure(np.zeros(0), np.zeros((0, 3)), FCC), "s-1 has no atoms"),
    ],
)
def test_absurd_crystals_are_refused_at_once(structure, sentence):
    start = time.process_time()
    with pytest.raises(RunError) as caught:
        check_geometry(structure, "s-1")
    assert (caught.value.cause, str(caught.value)) == (Cause.BAD_INPUT, sentence)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("cell", [FCC, -FCC, FCC[[1, 0, 2]], np.diag([4, 4, 300.0])])
def test_left_handed_cells_and_slabs_are_crystals(cell):
    check_geometry(crystal(cell, [[0, 0, 0], [0.25, 0.25, 0.01]]), "s-1")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_make_no_structure(value):
    with pytest.raises(InputError, match="that is not a finite number"):
        Structure([14], [[0, 0, 0]], np.diag([value, 3, 3]))
    with pytest.raises(InputError, match="that is not a finite number"):
        Structure([14], [[0, 0, value]], FCC)
    with pytest.raises(InputError, match="span no volume"):
        crystal(np.array([[5, 0, 0], [5, 0, 0], [0, 0, 5.0]]))

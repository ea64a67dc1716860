"""The energy of the ions among themselves."""

from types import SimpleNamespace

import numpy as np
import pytest

from nextham.core import Structure
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.lcao.ions import ion_energy
from nextham.units import BOHR_ANG

CELLS = {"sc": np.eye(3), "fcc": (1 - np.eye(3)) / 2, "bcc": np.ones((3, 3)) / 2 - np.eye(3)}


def crystal(fractional, cell_bohr, charges=(3.0, 5.0)):
    """A crystal of bare charges, on every second atom the other one."""
    numbers = [(14, 6)[k % 2] for k in range(len(fractional))]
    species = {z: SimpleNamespace(pseudo=SimpleNamespace(z_valence=q)) for z, q in zip((14, 6), charges, strict=True)}
    cell = np.asarray(cell_bohr) * BOHR_ANG
    return Crystal(Structure(np.array(numbers), np.asarray(fractional) @ cell, cell), species)


def energy(crystal, ecut_ry=60.0):
    return ion_energy(crystal, FFTGrid(crystal.cell, ecut_ry))


# Coldwell-Horsfall and Maradudin, J. Math. Phys. 1, 395 (1960): energy per charge in units of Z²e²/r_s.
@pytest.mark.parametrize(("lattice", "constant"), [("sc", -0.880059), ("fcc", -0.895874), ("bcc", -0.895929)])
def test_wigner_crystals(lattice, constant):
    one = crystal([[0.3, 0.1, 0.7]], 6.0 * CELLS[lattice])
    r_s = (3 * one.volume / (4 * np.pi)) ** (1 / 3)
    assert energy(one) == pytest.approx(2 * 9 * constant / r_s, rel=1e-6)


def test_neither_width_nor_choice_of_the_cell_matters():
    cell = np.array([[6.0, 0.3, 0], [0.5, 7.0, -0.2], [0.1, 0.6, 5.0]])
    atoms = np.array([[0.1, 0.2, 0.3], [0.4, 0.9, 0.6]])
    due = energy(crystal(atoms, cell))
    assert energy(crystal(atoms, cell), 200.0) == pytest.approx(due, abs=1e-11)
    turn = np.array([[1, 0, 0], [2, -1, 0], [0, 1, 1]])  # left-handed, skew
    assert energy(crystal(atoms @ np.linalg.inv(turn), turn @ cell)) == pytest.approx(due, abs=1e-11)
    double = crystal(np.concatenate([atoms, atoms + np.array([1, 0, 0])]) / [2, 1, 1], cell * [[2], [1], [1]])
    assert energy(double) == pytest.approx(2 * due, abs=1e-11)


def test_two_ions_in_a_wide_cell_repel_as_points_held_back_by_the_background():
    cell = 40.0 * np.eye(3)

    def of(distance):
        return energy(crystal([[0, 0, 0], [distance / 40, 0, 0]], cell), 20.0)

    due = 2 * 3 * 5 * (1 / 2 - 1 / 3 + 2 * np.pi / 3 * (2**2 - 3**2) / 40**3)
    assert of(2.0) - of(3.0) == pytest.approx(due, rel=2e-5)  # cubic terms come next

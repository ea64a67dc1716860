import re

import numpy as np
import pytest

from nextham.core import Structure
from nextham.dft.abacus.stru import Species, element_of, folded, read_stru, write_stru
from nextham.dft.engine import Cause, RunError
from nextham.exceptions import InputError
from nextham.units import ABACUS_BOHR_ANG, BOHR_ANG

STRU = """ATOMIC_SPECIES
Fe1 55.845 Fe.upf upf201   // a comment
O 15.999 O.upf  # another

NUMERICAL_ORBITAL
Fe.orb
O.orb

LATTICE_CONSTANT
2.0 // Bohr
LATTICE_VECTORS
2.0 0.0 0.0
0.0 3.0 0.0
0.5 0.0 4.0

ATOMIC_POSITIONS
{mode}

Fe1
1.5
2
{first} 1 1 0 mag 2.0 angle1 90 angle2 90
0.1 0.2 0.3 m 0 0 0

O
0.0
1
0.4 0.5 0.6 0 0 1 mag 0.1 -0.2 0.3 v 0.0 0.0 0.0
"""
CELL_BOHR = np.array([[4.0, 0, 0], [0, 6, 0], [1, 0, 8]])


def read(tmp_path, text):
    (tmp_path / "STRU").write_text(text)
    return read_stru(tmp_path / "STRU")


def test_species_moments_and_cell(tmp_path):
    stru = read(tmp_path, STRU.format(mode="Direct", first="-0.25 1.5 0.0"))
    assert stru.labels == ("Fe1", "Fe1", "O")
    assert stru.numbers.tolist() == [26, 26, 8]
    assert dict(stru.species) == {"Fe1": Species("Fe.upf", "Fe.orb", 55.845), "O": Species("O.upf", "O.orb", 15.999)}
    np.testing.assert_allclose(stru.moments, [[0, 2, 0], [0, 0, 1.5], [0.1, -0.2, 0.3]], atol=1e-15)
    np.testing.assert_allclose(stru.structure.cell, CELL_BOHR * BOHR_ANG, rtol=1e-15)
    np.testing.assert_allclose(stru.fractional[0], [0.75, 0.5, 0.0])


@pytest.mark.parametrize(
    ("mode", "unit_bohr", "centre"),
    [
        ("Cartesian", 2.0, (0, 0, 0)),
        ("Cartesian_au", 1.0, (0, 0, 0)),
        ("Cartesian_angstrom", 1 / ABACUS_BOHR_ANG, (0, 0, 0)),
        ("Cartesian_angstrom_center_xy", 1 / ABACUS_BOHR_ANG, (0.5, 0.5, 0)),
        ("Cartesian_angstrom_center_xz", 1 / ABACUS_BOHR_ANG, (0.5, 0, 0.5)),
        ("Cartesian_angstrom_center_yz", 1 / ABACUS_BOHR_ANG, (0, 0.5, 0.5)),
        ("Cartesian_angstrom_center_xyz", 1 / ABACUS_BOHR_ANG, (0.5, 0.5, 0.5)),
    ],
)
def test_every_coordinate_mode(tmp_path, mode, unit_bohr, centre):
    stru = read(tmp_path, STRU.format(mode=mode, first="0.7 -0.1 0.2"))
    expected = np.array([0.7, -0.1, 0.2]) * unit_bohr @ np.linalg.inv(CELL_BOHR) + centre
    np.testing.assert_allclose(stru.fractional[0], expected % 1.0, atol=1e-11)


def test_folding_rounds_as_abacus_does():
    np.testing.assert_array_equal(folded(np.array([-1e-17, 0.0, 1.0, -2.0])), 0.0)
    assert folded(np.array(-1e-9)) == pytest.approx(1 - 1e-9, abs=2e-12)
    x = np.random.default_rng(0).uniform(-3, 3, 200)
    np.testing.assert_array_equal(folded(folded(x)), folded(x))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("LATTICE_VECTORS", "LATTICE_PARAMETERS"), "LATTICE_PARAMETERS (latname) is not supported; write "
         "the cell as LATTICE_VECTORS"),
        (("LATTICE_CONSTANT", "LATTICE_CONST"), "the section LATTICE_CONSTANT is missing"),
        (("Direct", "Fractional"), "the coordinate mode 'Fractional' is not one of Direct, Cartesian, Cartesian_au, "
         "Cartesian_angstrom and Cartesian_angstrom_center_xy|xz|yz|xyz"),
        (("Fe1", "Xx"), "atom label 'Xx' names no element; a label is an element symbol, or one with a number: Fe1"),
        (("O\n0.0", "S\n0.0"), "ATOMIC_POSITIONS has S where ATOMIC_SPECIES has O; "
         "both must list the types in one order"),
        (("0.0\n1\n", "0.0\n4\n"), "O has 1 of its 4 atoms"),
        (("0.0\n1\n", "0.0\n0\n"), "'0.4' follows the atoms of the last type; no such type in ATOMIC_SPECIES"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(tmp_path, change, sentence):
    text = STRU.format(mode="Direct", first="0 0 0").replace(*change)
    with pytest.raises(RunError, match=re.escape(f"{tmp_path}/STRU: {sentence}") + "$") as caught:
        read(tmp_path, text)
    assert caught.value.cause is Cause.BAD_INPUT


def test_a_damaged_number_is_told(tmp_path):
    with pytest.raises(RunError, match="STRU is not a complete STRU file: could not convert string to float: 'x'"):
        read(tmp_path, STRU.format(mode="Direct", first="x 0 0"))


@pytest.mark.parametrize(("label", "number"), [("Fe", 26), ("Fe1", 26), ("H_2", 1), ("C", 6), ("Co2", 27)])
def test_labels_name_elements(label, number):
    assert element_of(label) == number


def test_what_is_written_is_read_back(tmp_path):
    rng = np.random.default_rng(5)
    cell = 4 * np.eye(3) + rng.normal(size=(3, 3))
    crystal = Structure.from_fractional(["Ga", "As", "As"], rng.uniform(-1, 2, (3, 3)), cell).folded()
    species = {"Ga": Species("Ga.upf", "Ga.orb", 69.7), "As": Species("As.upf", "As.orb")}
    moments = rng.normal(size=(3, 3))
    stru = read(tmp_path, write_stru(crystal, species=species, moments=moments))
    np.testing.assert_allclose(stru.structure.positions, crystal.positions, atol=1e-10)
    np.testing.assert_allclose(stru.structure.cell, cell, atol=1e-14)
    np.testing.assert_allclose(stru.moments, moments, atol=1e-13)
    np.testing.assert_allclose(stru.z_before_3_9, moments[:, 2], atol=1e-13)  # every version takes the same start
    assert dict(stru.species) == species


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ((0, 0, 0), "mag 0"),
        ((0, 0, -2.5), "mag -2.5"),
        ((1, 0, 0), "mag 1 angle1 90"),
        ((0, -2, 0), "mag 2 angle1 90 angle2 -90"),
        ((-3, 0, -4), "mag 5 angle1 143.130102354156 angle2 180"),
    ],
)
def test_moments_are_written_as_every_version_reads_them(moment, words):
    crystal = Structure.from_fractional(["Fe"], np.zeros((1, 3)), 3 * np.eye(3))
    text = write_stru(crystal, species={"Fe": Species()}, moments=np.array([moment], dtype=float))
    assert text.endswith(f" 1 1 1 {words}\n")


@pytest.mark.parametrize(
    ("words", "moment", "z_before_3_9"),
    [
        ("mag 1 0 0", (1, 0, 0), 1),  # the length of the vector
        ("mag 0 0 -2", (0, 0, -2), 2),
        ("mag 1 angle1 90", (1, 0, 0), 0),
        ("mag 0 0 2 angle1 180", (0, 0, -2), -2),  # angles go before the direction of the vector
    ],
)
def test_what_3_8_makes_of_a_moment(tmp_path, words, moment, z_before_3_9):
    text = STRU.format(mode="Direct", first="0 0 0").replace("mag 2.0 angle1 90 angle2 90", words)
    stru = read(tmp_path, text)
    np.testing.assert_allclose(stru.moments[0], moment, atol=1e-15)
    assert stru.z_before_3_9[0] == pytest.approx(z_before_3_9, abs=1e-15)


def test_a_stru_groups_atoms():
    crystal = Structure.from_fractional(["Ga", "As", "Ga"], np.eye(3) / 3, 5 * np.eye(3))
    with pytest.raises(InputError, match=r"a STRU lists the atoms of one element together; use Structure.grouped\(\)"):
        write_stru(crystal, species={})
    with pytest.raises(InputError, match="there is no pseudopotential and orbital given for Ga"):
        write_stru(crystal.grouped(), species={})

"""Crystals from files, and what a user sees of a bad one."""

from __future__ import annotations

import numpy as np
import pytest

from nextham.exceptions import InputError
from nextham.structures.extxyz import write_extxyz
from nextham.structures.files import (
    kind_of,
    read_each,
    read_named,
    read_structure,
    structure_files,
)
from nextham.structures.sourced import Sourced
from nextham.testing import zincblende

POSCAR = """GaAs
1.0
0.0 2.825 2.825
2.825 0.0 2.825
2.825 2.825 0.0
Ga As
1 1
Direct
0.0 0.0 0.0
0.25 0.25 0.25
"""
XYZ = '2\nLattice="0 2.825 2.825 2.825 0 2.825 2.825 2.825 0"\nGa 0 0 0\nAs 1.4125 1.4125 1.4125\n'
CIF = """data_GaAs
_cell_length_a 5.65
_cell_length_b 5.65
_cell_length_c 5.65
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F -4 3 m'
_symmetry_Int_Tables_number 216
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Ga1 Ga 0 0 0 1
As1 As 0.25 0.25 0.25 1
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"), [("POSCAR", POSCAR), ("GaAs.vasp", POSCAR), ("a.xyz", XYZ), ("a.extxyz", XYZ)]
)
def test_reads_the_crystal(tmp_path, name, text):
    found = read_structure(write(tmp_path / name, text))
    expected = zincblende()
    assert found.symbols == ["Ga", "As"]
    np.testing.assert_allclose(found.cell, expected.cell, atol=1e-12)
    np.testing.assert_allclose(found.positions, expected.positions, atol=1e-12)


def test_cif_keeps_its_cell_and_fills_it_by_symmetry(tmp_path):
    found = read_structure(write(tmp_path / "GaAs.cif", CIF))
    assert found.formula == "As4Ga4"
    np.testing.assert_allclose(found.cell, 5.65 * np.eye(3), atol=1e-9)


def test_ids_come_from_files_folders_and_frames(tmp_path):
    write(tmp_path / "one" / "POSCAR", POSCAR)
    write(tmp_path / "two.vasp", POSCAR)
    write(tmp_path / "md.extxyz", XYZ * 3)
    write(tmp_path / "notes.txt", "none")
    write(tmp_path / "store.runs" / "one" / "abacus_scf" / "STRU", "a run, not a source")
    found = [id for path in structure_files([tmp_path]) for id, _ in read_named(path)]
    assert found == ["md-0", "md-1", "md-2", "one", "two"]


def test_further_formats_come_from_outside(tmp_path):
    path = write(tmp_path / "Si" / "STRU", "ATOMIC_SPECIES\n")
    with pytest.raises(InputError, match="is an ABACUS STRU, which its engine reads"):
        read_structure(path)
    assert read_named(path, more={"stru": lambda _: zincblende()}) == [("Si", zincblende())]


def test_extended_xyz_carries_ids(tmp_path):
    write_extxyz(tmp_path / "set.extxyz", [Sourced("GaAs-B3-0", zincblende()), Sourced("other", zincblende())])
    found = dict(read_named(tmp_path / "set.extxyz"))
    assert list(found) == ["GaAs-B3-0", "other"]
    np.testing.assert_allclose(found["other"].positions, zincblende().positions, atol=1e-8)
    np.testing.assert_allclose(found["other"].cell, zincblende().cell, atol=1e-8)


def test_an_id_that_cannot_name_a_folder_is_refused(tmp_path):
    path = write(tmp_path / "md.extxyz", XYZ.replace('"\n', '" id=../../x\n'))
    with pytest.raises(InputError) as error:
        read_named(path)
    assert str(error.value).startswith(f"{path}: '../../x' cannot name a structure: an id becomes the name of a folder")
    assert str(error.value).endswith("; change id=... in the second line of the frame")
    with pytest.raises(InputError, match=r"'a b' cannot name a structure.*; rename the file, or the folder"):
        read_named(write(tmp_path / "a b.vasp", POSCAR))


BAD_FRAMES = {
    "a position": (
        XYZ.replace("As 1.4125", "As nan"),
        "{} has a position or lattice vector that is not a finite number",
    ),
    "an element": (XYZ.replace("As", "Qq"), "{}: 'Qq' is not an element symbol"),
    "no third period": (
        XYZ.replace('0"\n', '0" pbc="F F F"\n'),
        '{} is not periodic in three directions; write pbc="T T T", with vacuum where it ends',
    ),
    "an atom too few": (
        XYZ.replace("Ga 0 0 0\n", "\n"),
        "{} is not complete extended XYZ: its first line says 2 atoms, but it holds 1",
    ),
    "an atom too many": (
        XYZ.replace("2\n", "1\n", 1),
        "{} is not complete extended XYZ: its first line says 1 atoms, but it holds 2",
    ),
    "a number of atoms": (
        XYZ.replace("2\n", "2x\n", 1),
        "{} is not complete extended XYZ: it begins with '2x' in place of the number of its atoms",
    ),
    "a column": (XYZ.replace(" 1.4125\n", "\n"), "{} is not complete extended XYZ: "),
}


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("case", list(BAD_FRAMES))
def test_a_bad_frame_leaves_the_others(tmp_path, case, place):
    text, sentence = BAD_FRAMES[case]
    frames = [XYZ.replace('"\n', f'" id=f{k}\n', 1) for k in range(4)]
    frames[place] = text.replace('Lattice="', f'id=f{place} Lattice="')
    path = write(tmp_path / "md.extxyz", "".join(frames))
    found = read_each(path)
    assert [each.id for each in found] == ["f0", "f1", "f2", "f3"]
    bad = found.pop(place)
    assert isinstance(bad.crystal, InputError)
    said = str(bad.crystal).replace(": a structure has", " has")
    assert said.startswith(sentence.format(f"{path}, frame {place + 1} of 4 (f{place})"))
    assert [each.crystal for each in found] == [read_structure(write(tmp_path / "one.xyz", XYZ))] * 3


def test_a_frame_with_a_bad_id_is_named_by_its_number(tmp_path):
    path = write(tmp_path / "md.extxyz", XYZ + XYZ.replace('"\n', '" id=../../evil\n'))
    good, bad = read_each(path)
    assert (good.id, bad.id) == ("md-0", "md-1")
    assert str(bad.crystal).startswith(f"{path}, frame 2 of 2: '../../evil' cannot name a structure: ")


def test_a_file_that_is_no_text_is_told(tmp_path):
    (tmp_path / "md.xyz").write_bytes(b"2\n\xff\xfe")
    with pytest.raises(InputError, match=r"md\.xyz is not a text file, as extended XYZ is"):
        read_each(tmp_path / "md.xyz")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.cif", " \n", "{} is empty; it should hold a crystal"),
        (
            "a.xyz",
            "1\n\nGa 0 0 0\n",
            '{} has no periodic cell; write it as extended XYZ with Lattice="...", CIF or POSCAR',
        ),
        (
            "a.xyz",
            XYZ.replace('0"\n', '0" pbc="T T F"\n'),
            '{} is not periodic in three directions; write pbc="T T T", with vacuum where it ends',
        ),
        ("a.extxyz", XYZ.replace("Ga", "Qq"), "{}: 'Qq' is not an element symbol"),
        ("a.xyz", XYZ.replace("Ga", "X"), "{} has an atom whose element is not known"),
        ("a.extxyz", XYZ * 2, "{} holds 2 structures where one is wanted; split the file"),
        (
            "a.cif",
            CIF.replace("0 0 0 1\n", "0 0 0 0.5\nAl1 Al 0 0 0 0.5\n"),
            "{} has a site of partial occupancy (Al:0.5, Ga:0.5); choose an ordered structure",
        ),
        (
            "a.dat",
            POSCAR,
            "{} is of no format known by its name; call it .cif, .vasp, .extxyz, .stru, POSCAR, CONTCAR or STRU",
        ),
    ],
)
def test_bad_file_is_told_in_one_sentence(tmp_path, name, text, sentence):
    path = write(tmp_path / name, text)
    with pytest.raises(InputError) as error:
        read_structure(path)
    assert str(error.value) == sentence.format(path)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("POSCAR", POSCAR.replace("Ga As\n", "").replace("GaAs", "crystal"), "is not a complete POSCAR file"),
        ("POSCAR", "\n".join(POSCAR.splitlines()[:-1]), "is not a complete POSCAR file"),
        ("POSCAR", POSCAR.replace("Ga As", "Ga Qq"), "Qq"),
        ("a.cif", "data_x\n_cell_length_a 5\n", "is not a complete CIF"),
        ("a.extxyz", "\n".join(XYZ.splitlines()[:-1]), "is not complete extended XYZ"),
    ],
)
def test_broken_file_names_itself(tmp_path, name, text, sentence):
    path = write(tmp_path / name, text)
    with pytest.raises(InputError) as error:
        read_structure(path)
    assert str(path) in str(error.value)
    assert sentence in str(error.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="there is no "):
        structure_files([tmp_path / "none"])
    with pytest.raises(InputError, match="holds no structure file"):
        structure_files([tmp_path])
    with pytest.raises(InputError, match="there is no structure file"):
        read_structure(tmp_path / "x.cif")


def test_kinds():
    from pathlib import Path

    assert [kind_of(Path(name)) for name in ("CONTCAR", "a.CIF", "STRU", "b.stru")] == ["vasp", "cif", "stru", "stru"]

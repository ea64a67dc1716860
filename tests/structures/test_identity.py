"""The hash of a crystal: what changes it and what does not, in memory and through files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextham.core import Structure
from nextham.exceptions import InputError
from nextham.structures.extxyz import write_extxyz
from nextham.structures.files import read_each, read_structure
from nextham.structures.identity import on_grid, structure_sha256
from nextham.structures.sourced import Sourced
from nextham.testing import zincblende


def random_crystal(seed: int, n: int = 5) -> Structure:
    rng = np.random.default_rng(seed)
    cell = 5 * np.eye(3) + rng.uniform(-1, 1, (3, 3))
    return on_grid(Structure(rng.integers(1, 90, n), rng.uniform(-2, 3, (n, 3)) @ cell, cell))


@given(seed=st.integers(0, 10_000))
def test_order_of_atoms_and_shifts_by_lattice_vectors_do_not_matter(seed: int) -> None:
    crystal = random_crystal(seed)
    rng = np.random.default_rng(seed + 1)
    shifted = crystal.positions + rng.integers(-3, 4, (len(crystal), 3)) @ crystal.cell
    order = rng.permutation(len(crystal))
    other = Structure(crystal.numbers[order], shifted[order], crystal.cell)
    assert structure_sha256(other) == structure_sha256(crystal)
    assert structure_sha256(crystal.folded()) == structure_sha256(crystal)


@given(seed=st.integers(0, 10_000), atom=st.integers(0, 4), axis=st.integers(0, 2))
def test_whatever_is_written_of_it_matters(seed: int, atom: int, axis: int) -> None:
    crystal = random_crystal(seed)
    moved = np.array(crystal.positions)
    moved[atom, axis] += 1e-8
    cell = np.array(crystal.cell)
    cell[axis, axis] += 1e-8
    numbers = np.array(crystal.numbers)
    numbers[atom] += 1
    others = [
        Structure(crystal.numbers, moved, crystal.cell),
        Structure(crystal.numbers, crystal.positions, cell),
        Structure(numbers, crystal.positions, crystal.cell),
        crystal.repeated((1, 1, 2)),
        Structure(crystal.numbers, crystal.positions[:, [1, 2, 0]], crystal.cell[:, [1, 2, 0]]),  # turned
    ]
    assert len({structure_sha256(each) for each in [crystal, *others]}) == 6


def test_the_hash_is_the_same_everywhere_and_for_ever() -> None:
    assert structure_sha256(zincblende()) == "48e1a17571902beb647335eebf2151e0fb91e18978f6e5aae9b35e8a438d04a7"
    tiny = zincblende().positions + np.array([[1e-17, -1e-17, 0], [0, 0, 0]])
    assert (
        structure_sha256(Structure(zincblende().numbers, tiny, zincblende().cell))
        == "48e1a17571902beb647335eebf2151e0fb91e18978f6e5aae9b35e8a438d04a7"
    )


@settings(deadline=None, max_examples=30)  # the first reads libraries
@given(seed=st.integers(0, 10_000))
def test_what_is_written_comes_back_bit_by_bit(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("set") / "set.extxyz"
    crystal = random_crystal(seed)
    one = Sourced("a", crystal, 'a "source" \\ of x=1', "CC-BY-4.0", {"parent": "007", "note": "two words", "n": "1e5"})
    write_extxyz(path, [one, Sourced("1e5", crystal)])
    first, second = (each.sourced() for each in read_each(path))
    assert first.structure == crystal
    assert (first.id, first.source, first.licence, dict(first.facts)) == (one.id, one.source, one.licence, one.facts)
    assert (second.id, second.source) == ("1e5", "set.extxyz")  # an id that looks like a number is no number
    assert first.sha256 == one.sha256


def test_other_programs_may_write_it_again(tmp_path: Path) -> None:
    import ase.io

    one = Sourced("a", random_crystal(3), "x")
    write_extxyz(tmp_path / "a.extxyz", [one])
    ase.io.write(tmp_path / "b.extxyz", ase.io.read(tmp_path / "a.extxyz"), format="extxyz")
    (found,) = read_each(tmp_path / "b.extxyz")
    assert found.sourced().sha256 == one.sha256


def test_atoms_that_were_changed_are_told(tmp_path: Path) -> None:
    path = tmp_path / "set.extxyz"
    write_extxyz(path, [Sourced("a", zincblende()), Sourced("b", zincblende())])
    path.write_text(path.read_text().replace("1.4125", "1.4126", 1))
    bad, good = read_each(path)
    assert str(bad.crystal) == (
        f"{path}, frame 1 of 2 (a): its sha256 is not that of its atoms, so they were changed after it was written; "
        "take sha256=... out of the second line of the frame if that is meant"
    )
    assert good.sourced().id == "b"
    with pytest.raises(InputError):
        bad.sourced()


def test_isotopes_are_their_element(tmp_path: Path) -> None:
    xyz = '2\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3\nD 0 0 0\nT 1.5 1.5 1.5\n'
    (tmp_path / "a.xyz").write_text(xyz)
    poscar = "heavy\n1.0\n3 0 0\n0 3 0\n0 0 3\nD T\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
    (tmp_path / "a.vasp").write_text(poscar)
    cif = (
        "data_a\n_cell_length_a 3\n_cell_length_b 3\n_cell_length_c 3\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
        "_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'P 1'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n"
        "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nD1 D 0 0 0\nH1 H1+ 0.5 0.5 0.5\n"
    )
    (tmp_path / "a.cif").write_text(cif)
    for name in ("a.xyz", "a.vasp", "a.cif"):
        assert read_structure(tmp_path / name).symbols == ["H", "H"]


def test_a_site_that_is_no_element_is_told(tmp_path: Path) -> None:
    cif = (
        "data_a\n_cell_length_a 3\n_cell_length_b 3\n_cell_length_c 3\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
        "_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'P 1'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n"
        "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nVac1 Vac 0 0 0\nSi1 Si4+ 0.5 0.5 0.5\n"
    )
    (tmp_path / "a.cif").write_text(cif)
    with pytest.raises(InputError, match=r"a\.cif has an atom 'Vac', which is not an element"):
        read_structure(tmp_path / "a.cif")

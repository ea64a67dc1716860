"""From structures as found to structures to compute: each step against plain geometry, and every reason counted."""

from __future__ import annotations

import numpy as np
import pytest

from nextham.core import Structure
from nextham.exceptions import InputError
from nextham.physics.symmetry import space_group
from nextham.structures.files import Found
from nextham.structures.generate import build
from nextham.structures.prepare import gathered, prepared, primitive
from nextham.structures.prototypes import crystal
from nextham.structures.settings import CrystalSettings, PrepareSettings
from nextham.structures.sourced import Gathered, Sourced
from nextham.testing import zincblende


def settings(**more) -> PrepareSettings:
    return PrepareSettings.model_validate(more)


def source(**structures: Structure) -> Gathered:
    return Gathered(tuple(Sourced(id, each, "here") for id, each in structures.items()))


@pytest.mark.parametrize(("name", "formula"), [("B3", "GaAs"), ("C33", "Bi2Te3"), ("E2_1", "NaMgF3"), ("A4", "Si")])
def test_a_supercell_comes_back_to_its_primitive_cell(name, formula):
    small = crystal(name, formula)
    large = small.repeated((2, 1, 2))
    found = primitive(Sourced("a", large), tolerance_ang=1e-3)
    assert len(found.structure) == len(small)
    assert found.structure.volume == pytest.approx(small.volume, rel=1e-6)
    assert space_group(found.structure) == space_group(small)
    assert found.structure.formula == small.formula
    assert dict(found.facts) == {"primitive_tolerance_ang": "0.001", "reduced_from": f"{len(large)} atoms"}
    twice = primitive(found, tolerance_ang=1e-3)
    assert twice.sha256 == found.sha256


def test_the_crystal_is_not_turned():
    large = zincblende().repeated((2, 2, 1))
    found = primitive(Sourced("a", large), tolerance_ang=1e-3).structure
    lattice = np.linalg.solve(zincblende().cell.T, found.cell.T).T
    np.testing.assert_allclose(lattice, np.rint(lattice), atol=1e-6)  # its vectors are lattice vectors of the old one


def test_a_primitive_cell_stays_as_it_is():
    one = Sourced("a", zincblende(rattle_ang=0.1))
    assert primitive(one, tolerance_ang=1e-3).sha256 == one.sha256


def test_the_tolerance_decides():
    rattled = zincblende().repeated((1, 1, 2))
    noise = np.random.default_rng(0).normal(scale=0.004, size=rattled.positions.shape)
    one = Sourced("a", Structure(rattled.numbers, rattled.positions + noise, rattled.cell))
    assert len(primitive(one, tolerance_ang=1e-3).structure) == 4
    assert len(primitive(one, tolerance_ang=0.1).structure) == 2


ORBITALS = {"Ga": 13, "As": 9}


@pytest.mark.parametrize(
    ("filters", "reason", "message"),
    [
        ({"min_atoms": 3}, "too few atoms", "a: 2 atoms, fewer than 3"),
        ({"max_atoms": 1}, "too many atoms", "a: 2 atoms, more than 1"),
        ({"elements": ["Ga", "N"]}, "other element", "a: As is not one of Ga N"),
        ({"without": ["As"]}, "excluded element", "a: it has As"),
        ({"max_orbitals": 21}, "too many orbitals", "a: 22 orbitals, more than 21"),
        ({"max_volume_ang3": 10}, "too much volume", "a: 22.5 Å³ per atom, more than 10"),
        ({"min_distance_ang": 2.5}, "atoms too close", "a: two atoms are 2.447 Å apart, less than 2.5"),
    ],
)
def test_every_filter_names_its_reason(filters, reason, message):
    found = prepared(source(a=zincblende(a_ang=5.65)), settings(filters=filters), orbitals=ORBITALS)
    assert found.found == ()
    assert [(each.reason, each.message) for each in found.left_out] == [(reason, message)]
    opposite = {"min_atoms": 2, "max_atoms": 2, "elements": ["Ga", "As"], "without": ["N"], "max_orbitals": 22}
    opposite |= {"max_volume_ang3": 23, "min_distance_ang": 2.4, "known_species": True}
    assert len(prepared(source(a=zincblende()), settings(filters=opposite), orbitals=ORBITALS).found) == 1


def test_elements_without_species_are_left_out():
    found = prepared(source(a=zincblende()), settings(filters={"known_species": True}), orbitals={"Ga": 9})
    assert found.left_out[0].message == "a: the species source has no As"
    with pytest.raises(InputError, match="need a species source; name one"):
        prepared(source(a=zincblende()), settings(filters={"max_orbitals": 10}))


def test_of_duplicates_the_first_stays():
    found = prepared(
        source(a=zincblende(), b=zincblende().repeated((1, 2, 1)), c=zincblende(a_ang=6.0)), settings(unique=True)
    )
    assert [each.id for each in found.found] == ["a", "c"]
    assert found.left_out[0].message == "b is a duplicate of a"
    assert found.reasons == {"duplicate": 1}


def test_copies_come_last_and_keep_where_they_come_from():
    steps = settings(primitive=True, unique=True, copies={"perturbed": 1, "supercells": {"2x1x1": 1}})
    found = prepared(source(a=zincblende().repeated((1, 1, 2))), steps).found
    assert [each.id for each in found] == ["a", "a-1", "a-2"]
    assert [len(each.structure) for each in found] == [2, 2, 4]
    assert {each.source for each in found} == {"here"}
    assert [each.facts.get("parent") for each in found] == [None, "a", "a"]
    again = prepared(source(a=zincblende().repeated((1, 1, 2))), steps).found
    assert [each.sha256 for each in again] == [each.sha256 for each in found]


def test_a_copy_that_is_too_large_is_counted():
    steps = settings(filters={"max_atoms": 3}, copies={"supercells": {"2x1x1": 1}})
    found = prepared(source(a=zincblende()), steps)
    assert [each.id for each in found.found] == ["a"]
    assert found.reasons == {"too many atoms": 1}


def test_an_id_that_a_copy_would_take_is_told():
    with pytest.raises(InputError, match="the copy a-1 of a has the id of another structure"):
        prepared(source(**{"a": zincblende(), "a-1": zincblende()}), settings(copies={"perturbed": 1}))


def test_files_that_cannot_be_read_and_second_ids_are_counted():
    found = gathered(
        [
            Found("a", "a.cif", zincblende()),
            Found("b", "b.cif", InputError("b.cif is empty")),
            Found("a", "more/a.vasp", zincblende()),
        ]
    )
    assert [(each.id, each.source) for each in found.found] == [("a", "a.cif")]
    assert found.reasons == {"unreadable": 1, "same id": 1}
    assert found.left_out[1].message == "more/a.vasp: a is the id of a.cif already; rename one"


def test_generated_crystals_pass_through():
    made = build(CrystalSettings(prototypes={"B3": {"GaAs": 5.653}}))
    assert prepared(made, PrepareSettings()) == made

"""Crystals built on the spot: geometry against crystallography, and what a user sees of a bad request."""

from __future__ import annotations

import numpy as np
import pytest

from nextham.core import Structure
from nextham.exceptions import InputError
from nextham.structures.prototypes import crystal, library, sites_of


def nearest_ang(structure: Structure, atom: int) -> tuple[float, list[str]]:
    """Return the distance of the nearest neighbours of an atom, and their elements."""
    corners = np.array(list(np.ndindex(5, 5, 5))) - 2
    images = structure.positions[None] + (corners @ structure.cell)[:, None]
    distance = np.linalg.norm(images - structure.positions[atom], axis=-1)
    distance[distance < 1e-6] = np.inf
    near = distance.min()
    return float(near), sorted(structure.symbols[k] for _, k in np.argwhere(distance < near * 1.001))


@pytest.mark.parametrize(
    ("prototype", "formula", "a", "element", "bond_per_a", "neighbours"),
    [
        ("A4", "Si", 5.431, "Si", np.sqrt(3) / 4, ["Si"] * 4),
        ("B3", "GaAs", 5.653, "As", np.sqrt(3) / 4, ["Ga"] * 4),
        ("B1", "NaCl", 5.640, "Na", 1 / 2, ["Cl"] * 6),
        ("B2", "TlI", 4.198, "Tl", np.sqrt(3) / 2, ["I"] * 8),
        ("E2_1", "NaMgF3", 3.955, "Na", np.sqrt(2) / 2, ["F"] * 12),
    ],
)
def test_coordination_and_bond_of_a_prototype(prototype, formula, a, element, bond_per_a, neighbours):
    found = crystal(prototype, formula, a_ang=a)
    distance, elements = nearest_ang(found, found.symbols.index(element))
    assert distance == pytest.approx(bond_per_a * a, rel=1e-5)
    assert elements == neighbours


def test_the_cell_is_primitive_and_its_atoms_are_grouped():
    found = crystal("C33", "Bi2Te3", a_ang=4.383)
    assert found.symbols == ["Bi", "Bi", "Te", "Te", "Te"]
    assert found.volume == pytest.approx(169.2, abs=1.0)  # measured: a = 4.383, c = 30.487 Å


@pytest.mark.parametrize(
    ("prototype", "formula", "centre", "corner"), [("E2_1", "TlPbI3", "Pb", "Tl"), ("E2_1", "Na3OCl", "O", "Cl")]
)
def test_elements_take_sites_by_number_and_electronegativity(prototype, formula, centre, corner):
    found = crystal(prototype, formula, a_ang=5.0)
    place = dict(zip(found.symbols, found.fractional.round(6).tolist(), strict=True))
    assert (place[centre], place[corner]) == ([0.5] * 3, [0.0] * 3)


def test_fluorite_and_antifluorite():
    assert nearest_ang(crystal("C1", "PbF2", a_ang=5.94), 0)[1] == ["F"] * 8
    assert nearest_ang(crystal("C1", "Na2S", a_ang=6.526), 0)[1] == ["Na"] * 8


@pytest.mark.parametrize(
    ("prototype", "formula", "a", "sentence"),
    [
        (
            "B3",
            "NaCl2",
            5.0,
            "B3: NaCl2 is not of the stoichiometry of this prototype, ZnS (AB); choose another formula or prototype",
        ),
        ("B3", "Xx", 5.0, "B3: 'Xx' is not a formula of elements, e.g. GaAs"),
        ("B3", "", 5.0, "B3: '' is not a formula of elements, e.g. GaAs"),
        ("B3", "Ga-As", 5.0, "B3: 'Ga-As' is not a formula of elements, e.g. GaAs"),
        ("B3", "GaAs", -5.0, "B3: GaAs: the lattice constant must be positive, not -5"),
        (
            "E21",
            "NaMgF3",
            4.0,
            "no prototype is called E21; did you mean E2_1? (Strukturbericht symbols or AFLOW labels, e.g. B1, C33; "
            "nextham generate --list shows all)",
        ),
    ],
)
def test_a_bad_request_is_told_in_one_sentence(prototype, formula, a, sentence):
    with pytest.raises(InputError) as error:
        crystal(prototype, formula, a_ang=a)
    assert str(error.value) == sentence


def test_every_entry_of_the_library_has_a_name_and_its_own_sites():
    entries = library()
    assert len({entry.names[0] for entry in entries}) == len(entries) > 280
    assert {"B1", "B2", "B3", "B4", "B8_1", "C1", "C1_b", "C4", "E1_1", "E2_1", "H1_1", "L2_1"} <= {
        entry.names[0] for entry in entries
    }
    for entry in entries[::15]:
        own = {letter: element.symbol for letter, element in entry.sites.items()}
        assert entry.decorated(own) == entry.crystal
        assert sites_of(entry, entry.formula(own), entry.names[0]) == own

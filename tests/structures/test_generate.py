"""Crystals that settings ask for: which, with what volumes, and copies that are the same everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from nextham.core import Structure
from nextham.exceptions import InputError
from nextham.structures.generate import build, plan
from nextham.structures.perturb import perturbed
from nextham.structures.prototypes import crystal, library, prototype, sites_of
from nextham.structures.settings import CrystalSettings, PerturbSettings
from nextham.structures.volumes import BOND_LENGTHS, BOND_VALENCE, predicted_volume


def built(**settings) -> dict[str, Structure]:
    return {each.id: each.structure for each in build(CrystalSettings(**settings)).found}


GAAS = {"B3": {"GaAs": 5.653}}


def test_perturbed_copies_are_reproducible_and_differ():
    found = built(prototypes=GAAS, perturbed=2)
    assert list(found) == ["GaAs-B3-0", "GaAs-B3-1", "GaAs-B3-2"]
    settings = CrystalSettings(prototypes=GAAS, perturbed=2)
    assert [each.structure for each in build(settings, only=["GaAs-B3-2"]).found] == [found["GaAs-B3-2"]]
    assert found["GaAs-B3-1"] != found["GaAs-B3-2"]
    assert built(prototypes=GAAS, perturbed=2, seed=1)["GaAs-B3-1"] != found["GaAs-B3-1"]


def test_copies_are_the_same_on_every_machine_and_with_every_version():
    settings = CrystalSettings(prototypes=GAAS, perturbed=1, supercells={"2x1x1": 1}, seed=7)
    assert {each.id: each.sha256[:16] for each in build(settings).found} == {
        "GaAs-B3-0": "e40065c67ecd668a",
        "GaAs-B3-1": "df9a4bf213e16e05",
        "GaAs-B3-2": "9803a16792b47561",
    }
    assert built(prototypes=GAAS)["GaAs-B3-1"].cell[0].tolist() == [-2.85113575, -2.77297834, -0.00038466]


def test_supercells_are_numbered_after_the_copies_of_the_cell():
    found = build(CrystalSettings(prototypes=GAAS, perturbed=1, supercells={"2x1x1": 2, "1x1x3": 1})).found
    assert [len(each.structure) for each in found] == [2, 2, 4, 4, 6]
    assert [each.facts.get("supercell", "") for each in found] == ["", "", "2x1x1", "2x1x1", "1x1x3"]
    assert [each.facts.get("parent", "") for each in found] == ["", *["GaAs-B3-0"] * 4]
    assert found[2].structure.symbols == ["As", "As", "Ga", "Ga"]
    still = build(CrystalSettings(prototypes=GAAS, perturbed=0, supercells={"2x1x1": 1}, strain=0, rattle_ang=0)).found
    large, small = still[1].structure, still[0].structure
    assert large == Structure(large.numbers, *_of_repeated(small, (2, 1, 1)))


def _of_repeated(small: Structure, repeats: tuple[int, int, int]):
    large = small.repeated(repeats).grouped()
    return np.round(large.positions, 8), np.round(large.cell, 8)


def test_perturbations_have_the_size_that_was_asked_for():
    cell = Structure(np.full(400, 14), np.random.default_rng(0).uniform(0, 20, (400, 3)), 20 * np.eye(3))
    rattled = perturbed(cell, PerturbSettings(strain=0.0, rattle_ang=0.05), id="x")
    np.testing.assert_array_equal(rattled.cell, cell.cell)
    assert (rattled.positions - cell.positions).std() == pytest.approx(0.05, rel=0.1)
    strains = [
        perturbed(cell, PerturbSettings(strain=0.02, rattle_ang=0.0), id=str(k)).cell / 20 - np.eye(3)
        for k in range(200)
    ]
    assert np.diagonal(strains, axis1=1, axis2=2).std() == pytest.approx(0.02, rel=0.15)
    np.testing.assert_allclose(strains, np.swapaxes(strains, 1, 2), atol=1e-12)  # no rotation


def test_decorations_are_every_combination_but_one_element_twice():
    found = built(decorate={"E2_1": {"A": ["Na", "Cs"], "B": ["Mg", "Na"], "C": ["F"]}}, perturbed=0)
    assert list(found) == ["NaMgF3-E2_1-0", "CsMgF3-E2_1-0", "CsNaF3-E2_1-0"]
    place = dict(zip(found["CsMgF3-E2_1-0"].symbols, found["CsMgF3-E2_1-0"].fractional.round(6).tolist(), strict=True))
    assert (place["Cs"], place["Mg"]) == ([0.0] * 3, [0.5] * 3)


def test_sites_are_where_the_letters_say():
    anti = built(decorate={"C1": {"A": ["O"], "B": ["Na"]}}, perturbed=0)
    assert list(anti) == ["ONa2-C1-0"]
    np.testing.assert_allclose(anti["ONa2-C1-0"].volume, crystal("C1", "Na2O").volume, rtol=1e-7)


def test_a_listed_crystal_is_not_decorated_again():
    settings = CrystalSettings(prototypes=GAAS, decorate={"B3": {"A": ["Ga", "Al"], "B": ["As"]}}, perturbed=0)
    found = {each.id: each for each in build(settings).found}
    assert list(found) == ["GaAs-B3-0", "AlAs-B3-0"]
    assert [each.facts["volume"] for each in found.values()] == ["lattice constant", BOND_VALENCE]
    assert found["GaAs-B3-0"].structure.volume == pytest.approx(5.653**3 / 4)


def test_combinations_that_are_not_neutral_are_counted():
    settings = CrystalSettings(decorate={"B1": {"A": ["Na", "Mg"], "B": ["O", "Cl"]}}, charge_neutral=True, perturbed=0)
    found = build(settings)
    assert [each.id for each in found.found] == ["NaCl-B1-0", "MgO-B1-0"]
    assert found.reasons == {"not neutral": 2}
    with pytest.raises(InputError, match="none of 1 combinations is neutral; choose other elements"):
        build(CrystalSettings(decorate={"B1": {"A": ["Na"], "B": ["O"]}}, charge_neutral=True))


def test_a_crystal_without_a_volume_is_counted_and_the_rest_goes_on():
    found = build(CrystalSettings(decorate={"A1": {"A": ["Cu", "Xe"]}}, perturbed=1))
    assert [each.id for each in found.found] == ["Cu-A1-0", "Cu-A1-1"]
    assert found.reasons == {"no volume": 1}
    assert found.left_out[0].message == (
        "Xe in A1: no volume can be predicted (no bond lengths of Xe); give the lattice constant"
    )
    with pytest.raises(InputError, match=r"^Xe in A1: no volume can be predicted"):
        build(CrystalSettings(prototypes={"A1": {"Xe": None}}))


@pytest.mark.parametrize(
    ("decorate", "sentence"),
    [
        (
            {"B1": {"A": ["Na"]}},
            "decorate: the sites of B1 are A, B, not A; give elements for each, e.g. {A: [Na], B: [Cl]}",
        ),
        ({"B1": {"A": ["Na"], "B": []}}, "decorate: B1: site B has no elements; name some, e.g. [Cl]"),
        ({"B111": {"A": ["Na"]}}, "no prototype is called B111; did you mean B11?"),
    ],
)
def test_a_bad_decoration_is_told(decorate, sentence):
    with pytest.raises(InputError) as error:
        plan(CrystalSettings(decorate=decorate))
    assert str(error.value).startswith(sentence)


def test_bad_settings():
    with pytest.raises(ValidationError, match="'Xx' is not an element symbol"):
        CrystalSettings(decorate={"B1": {"A": ["Xx"], "B": ["O"]}})
    with pytest.raises(ValidationError, match="'2x1' is not a supercell like 2x1x1"):
        CrystalSettings(supercells={"2x1": 1})
    with pytest.raises(ValidationError, match="'0x1x1' is not a supercell"):
        CrystalSettings(supercells={"0x1x1": 1})


def test_an_unknown_id_is_told():
    with pytest.raises(InputError, match=r"^no crystal of the settings is called x; they are Si-A4-0, Si-A4-1$"):
        build(CrystalSettings(prototypes={"A4": {"Si": 5.431}}), only=["x"])
    with pytest.raises(InputError, match=r"^prototypes is empty; name crystals"):
        build(CrystalSettings())


def measured() -> dict[tuple[str, str], float]:
    """Lattice constants of the campaign."""
    root = Path(__file__).parents[2]
    of = yaml.safe_load((root / "workflow" / "campaign.yaml").read_text())["source"]["crystals"]["prototypes"]
    return {(name, formula): a for name, formulas in of.items() for formula, a in formulas.items()}


def test_predicted_volumes_are_near_measured_ones():
    error: dict[str, list[float]] = {BOND_VALENCE: [], BOND_LENGTHS: []}
    for (name, formula), a in measured().items():
        entry = prototype(name)
        found, rule = predicted_volume(entry.decorated(sites_of(entry, formula, name)), formula)
        error[rule].append(abs(np.log(found / crystal(name, formula, a_ang=a).volume)))
    assert (len(error[BOND_VALENCE]), len(error[BOND_LENGTHS])) == (69, 11)
    assert np.median(error[BOND_VALENCE]) < 0.04
    assert np.percentile(error[BOND_VALENCE], 90) < 0.08
    assert np.median(error[BOND_LENGTHS]) < 0.12
    assert max(error[BOND_VALENCE] + error[BOND_LENGTHS]) < 0.3


def test_a_prediction_does_not_depend_on_the_volume_it_starts_from():
    entry = prototype("E2_1")
    one = entry.decorated({"A": "Cs", "B": "Pb", "C": "I"})
    other = one.copy()
    other.scale_lattice(7 * one.volume)
    assert predicted_volume(one, "x")[0] == pytest.approx(predicted_volume(other, "x")[0], rel=1e-9)
    cu3au = prototype("L1_2").crystal
    other = cu3au.copy()
    other.scale_lattice(0.1 * cu3au.volume)
    assert predicted_volume(cu3au, "x")[1] == BOND_LENGTHS
    assert predicted_volume(cu3au, "x")[0] == pytest.approx(predicted_volume(other, "x")[0], rel=1e-9)


def test_bond_valences_add_up_to_the_charges():
    """Caesium chloride: eight bonds of one length carry one charge, and six farther shells add a little."""
    from pymatgen.analysis.bond_valence import BV_PARAMS
    from pymatgen.core.periodic_table import Element

    (r_a, c_a), (r_b, c_b) = ((BV_PARAMS[Element(e)]["r"], BV_PARAMS[Element(e)]["c"]) for e in ("Cs", "Cl"))
    r0 = r_a + r_b - r_a * r_b * (np.sqrt(c_a) - np.sqrt(c_b)) ** 2 / (c_a * r_a + c_b * r_b)
    a = crystal("B2", "CsCl").volume ** (1 / 3)
    corners = np.array(list(np.ndindex(8, 8, 8))) - 4 + 0.5
    distances = a * np.linalg.norm(corners, axis=1)
    assert np.exp((r0 - distances) / 0.37).sum() == pytest.approx(1.0, abs=1e-4)


def test_shortest_bonds_are_those_of_pymatgen():
    """pymatgen's predictor goes at most from half to 1.5 times its input: repeated, it must come to the same."""
    from pymatgen.analysis.structure_prediction.volume_predictor import DLSVolumePredictor

    from nextham.structures.volumes import _by_shortest_bond

    small = [entry.crystal for entry in library() if len(entry.crystal) < 7]
    for own in small[::12]:
        scaled, volume = own.copy(), 0.0
        while abs(volume / scaled.volume - 1) > 1e-9:
            scaled.scale_lattice(volume or scaled.volume)
            volume = DLSVolumePredictor().predict(scaled)
        assert _by_shortest_bond(own) == pytest.approx(volume, rel=1e-6)

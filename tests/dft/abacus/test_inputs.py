"""INPUT, STRU and KPT follow the recipe, and STRU is the structure."""

from __future__ import annotations

import numpy as np
import pytest

from nextham.core import Structure
from nextham.dft.abacus import inputs as abacus_inputs
from nextham.dft.abacus.inputs import Task
from nextham.dft.abacus.settings import AbacusSettings
from nextham.dft.abacus.stru import read_stru
from nextham.dft.engine import Cause, RunError
from nextham.dft.settings import SpeciesSettings
from nextham.dft.species.source import open_source
from nextham.exceptions import InputError
from nextham.testing import zincblende

ELEMENTS = ("Ga", "As", "Fe", "S", "Sr", "Si")


@pytest.fixture
def library(tmp_path):
    """Folders with a made-up file for each element."""
    for folder, name in (("upf", "{}.upf"), ("orb", "{}_gga_8au_100Ry_2s2p1d.orb")):
        (tmp_path / folder).mkdir()
        for element in ELEMENTS:
            (tmp_path / folder / name.format(element)).write_text(f"{folder} of {element}\n")
    return {"pseudo_dir": str(tmp_path / "upf"), "orbital_dir": str(tmp_path / "orb")}


def make_inputs(structure, settings, task, **more):
    species = open_source(SpeciesSettings(), settings)
    return abacus_inputs.make_inputs(structure, settings, task, species=species, **more)


def keys(inputs):
    head, *lines = inputs.texts["INPUT"].splitlines()
    assert head == "INPUT_PARAMETERS"
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}


def test_input_is_the_recipe(library):
    settings = AbacusSettings(**library)
    scf = keys(make_inputs(zincblende(), settings, Task.SCF, id="x"))
    assert scf == {
        "suffix": "ABACUS",
        "pseudo_dir": "./",
        "orbital_dir": "./",
        "calculation": "scf",
        "basis_type": "lcao",
        "nspin": "4",
        "lspinorb": "1",
        "ecutwfc": "100",
        "gamma_only": "0",
        "symmetry": "0",
        "smearing_method": "gauss",
        "smearing_sigma": "0.015",
        "mixing_type": "broyden",
        "scf_thr": "1e-06",
        "scf_nmax": "100",
        "out_mat_hs2": "1",
        "out_mul": "1",
        "kspacing": "0.1",
    }


def test_both_routes_to_h0_use_one_k_point_and_the_same_stru(library):
    settings = AbacusSettings(**library)
    get_hs, scf1, scf = (make_inputs(zincblende(), settings, task, id="x") for task in Task)
    assert keys(get_hs)["calculation"] == "get_hs"
    assert (keys(scf1)["calculation"], keys(scf1)["scf_nmax"]) == ("scf", "1")
    for inputs in (get_hs, scf1):
        assert "kspacing" not in keys(inputs)
        assert inputs.texts["KPT"] == "K_POINTS\n0\nGamma\n1 1 1 0 0 0\n"
    assert "KPT" not in scf.texts
    assert get_hs.texts["STRU"] == scf1.texts["STRU"] == scf.texts["STRU"]


def test_the_eigensolver_is_abacus_own_choice_unless_named(library):
    inputs = make_inputs(zincblende(), AbacusSettings(ks_solver="scalapack_gvx", **library), Task.SCF, id="x")
    assert keys(inputs)["ks_solver"] == "scalapack_gvx"


def test_mesh_replaces_kspacing(library):
    inputs = make_inputs(zincblende(), AbacusSettings(kmesh=(4, 3, 2), **library), Task.SCF, id="x")
    assert "kspacing" not in keys(inputs)
    assert inputs.texts["KPT"].splitlines()[-1] == "4 3 2 0 0 0"


def test_decimals_and_mixing(library):
    inputs = make_inputs(zincblende(), AbacusSettings(mixing_beta=0.2, **library), Task.SCF, id="x", decimals=12)
    assert keys(inputs)["out_mat_hs2"] == "1 12"
    assert keys(inputs)["mixing_beta"] == "0.2"


def test_stru_is_the_structure(library, tmp_path):
    mixed = Structure.from_fractional(
        ["Ga", "As", "Ga", "S"],
        [[0.1, -0.2, 1.3], [1 / 3, 0.5, 0.25], [-1e-17, 0.999999999, 0.7], [0.4, 0.9, 0.1]],
        [[5.1, 0.2, 0.0], [-0.3, 6.2, 0.1], [0.0, 0.4, 7.3]],
    )
    make_inputs(mixed, AbacusSettings(**library), Task.SCF, id="x").write(tmp_path / "run")
    back = read_stru(tmp_path / "run" / "STRU")
    assert back.structure.symbols == ["Ga", "Ga", "As", "S"]
    np.testing.assert_allclose(back.structure.cell, mixed.cell, rtol=0, atol=1e-12)
    expected = mixed.grouped().folded()
    np.testing.assert_allclose(back.structure.positions, expected.positions, rtol=0, atol=5e-11)
    assert ((back.fractional >= 0) & (back.fractional < 1)).all()
    assert back.species["Ga"].upf == "Ga.upf"
    assert back.species["S"].orb == "S_gga_8au_100Ry_2s2p1d.orb"
    assert (tmp_path / "run" / "S.upf").read_text() == "upf of S\n"


def test_a_nonmagnetic_start_is_never_all_zero(library, tmp_path):
    inputs = make_inputs(zincblende(), AbacusSettings(**library), Task.SCF, id="x")
    assert inputs.texts["STRU"].count("mag 1 angle1 90\n") == 1  # "mag 1 0 0" is a moment along z in 3.8
    assert inputs.texts["STRU"].count("mag 0\n") == 1


def test_autoset_leaves_all_moments_zero(library):
    inputs = make_inputs(zincblende(), AbacusSettings(magnetism="autoset", **library), Task.SCF, id="x")
    assert inputs.texts["STRU"].count("mag 0\n") == 2


def test_moments_are_along_z(library):
    settings = AbacusSettings(magnetism="moments", moments_bohr_magneton={"Fe": 2.5}, **library)
    inputs = make_inputs(zincblende("Fe", "S"), settings, Task.SCF, id="x")
    assert "mag 2.5\n" in inputs.texts["STRU"]
    without = make_inputs(zincblende(), settings, Task.SCF, id="x")
    assert "mag 1 angle1 90\n" in without.texts["STRU"]


def test_hash_knows_contents_not_places(library, tmp_path):
    first = make_inputs(zincblende(), AbacusSettings(**library), Task.SCF, id="x").sha256
    (tmp_path / "upf").rename(tmp_path / "elsewhere")
    moved = library | {"pseudo_dir": str(tmp_path / "elsewhere")}
    assert make_inputs(zincblende(), AbacusSettings(**moved), Task.SCF, id="y").sha256 == first
    (tmp_path / "new.upf").write_text("another")
    changed = AbacusSettings(pseudopotentials={"Ga": str(tmp_path / "new.upf")}, **moved)
    assert make_inputs(zincblende(), changed, Task.SCF, id="x").sha256 != first
    assert make_inputs(zincblende(a_ang=5.66), AbacusSettings(**moved), Task.SCF, id="x").sha256 != first


def test_missing_files_are_named_together(library, tmp_path):
    with pytest.raises(RunError) as error:
        make_inputs(zincblende("Cl", "Na"), AbacusSettings(**library), Task.SCF, id="salt")
    assert error.value.cause is Cause.MISSING_FILE
    assert str(error.value) == (
        f"salt: {tmp_path}/upf holds no pseudopotential (*.upf) of Cl, Na; "
        "add it there or name it under pseudopotentials"
    )


def test_several_files_are_listed(library, tmp_path):
    (tmp_path / "orb" / "Ga_gga_9au_100Ry_2s2p2d1f.orb").touch()
    with pytest.raises(RunError) as error:
        make_inputs(zincblende(), AbacusSettings(**library), Task.SCF, id="x")
    assert str(error.value) == (
        f"x: {tmp_path}/orb holds several orbital files of Ga (Ga_gga_8au_100Ry_2s2p1d.orb, "
        "Ga_gga_9au_100Ry_2s2p2d1f.orb); choose one with orbitals: {Ga: Ga_gga_8au_100Ry_2s2p1d.orb}"
    )
    chosen = AbacusSettings(orbitals={"Ga": "Ga_gga_9au_100Ry_2s2p2d1f.orb"}, **library)
    assert "Ga_gga_9au_100Ry_2s2p2d1f.orb" in make_inputs(zincblende(), chosen, Task.SCF, id="x").texts["STRU"]


def test_element_names_are_whole_words(library):
    """S.upf is not taken for Si or Sr."""
    inputs = make_inputs(zincblende("S", "Sr"), AbacusSettings(**library), Task.SCF, id="x")
    assert sorted(inputs.links) == [
        "S.upf",
        "S_gga_8au_100Ry_2s2p1d.orb",
        "Sr.upf",
        "Sr_gga_8au_100Ry_2s2p1d.orb",
    ]


def test_folders_must_be_set_and_exist(tmp_path):
    with pytest.raises(InputError, match=r"pseudo_dir is not set; name the folder with one \.upf file per element"):
        make_inputs(zincblende(), AbacusSettings(), Task.SCF, id="x")
    with pytest.raises(InputError, match="pseudo_dir: there is no folder /no/such"):
        make_inputs(zincblende(), AbacusSettings(pseudo_dir="/no/such"), Task.SCF, id="x")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"command": "abacus 'x"}, "cannot be split into words"),
        ({"command": " "}, "the command is empty"),
        ({"kmesh": (0, 1, 1)}, "at least one point along each axis"),
        ({"magnetism": "moments"}, "magnetism: moments needs moments_bohr_magneton"),
        ({"moments_bohr_magneton": {"Fe": 1.0}}, "read with magnetism: moments only"),
        ({"ecutwfc": 100}, "Extra inputs"),
    ],
)
def test_settings_are_checked(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        AbacusSettings(**values)

"""The shipped species: their files, their records, and that the generator makes them."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from nextham.dft.engine import Cause, RunError
from nextham.dft.species.generate import build, dirac, gth, pseudo_atom
from nextham.dft.species.generate.configuration import configuration, first_valence_n, split_valence
from nextham.dft.species.generate.files import MESH, projectors
from nextham.dft.species.lock import LOCK
from nextham.dft.species.provenance import PROVENANCE, read_provenance
from nextham.dft.species.source import embedded_species, locked_species
from nextham.exceptions import InputError

SET = embedded_species()
TABLE = read_provenance(SET.folder)["elements"]
WANTED = [*"HBCNOF", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ga", "Ge", "As", "Se", "Br"]
WANTED += ["In", "Sn", "Sb", "Te", "I", "Tl", "Pb", "Bi"]


def numbers(root, tag):
    return np.array(root.find(f".//{tag}").text.split(), dtype=float)


def orbitals_of(text):
    """{l: (n_zeta, n)} of an .orb text."""
    blocks = text.split("Type                   L                   N")[1:]
    found = {}
    for block in blocks:
        words = block.split()
        found.setdefault(int(words[1]), []).append([float(x) for x in words[3:]])
    return {l: np.array(rows) for l, rows in found.items()}


def fitted(name):
    """The potential with the recorded spin-orbit strengths."""
    potential = gth.potential(name)
    for channel in TABLE[name]["channels"]:
        potential = potential.with_spin_orbit(channel["l"], np.array(channel["k_ha"]))
    return potential


def test_the_set_holds_the_promised_elements():
    assert SET.elements == WANTED


def test_a_missing_element_is_named():
    with pytest.raises(RunError) as missing:
        SET.files(["Si", "Ti", "Fe", "Ti"], id="x-1")
    assert missing.value.cause is Cause.MISSING_FILE
    assert str(missing.value) == (
        "x-1: the embedded species set has no Fe, Ti; it has H B C N O F Na Mg Al Si P S Cl Ga Ge As Se Br In Sn Sb Te "
        "I Tl Pb Bi; lock a folder with fully relativistic UPF and .orb files of every element (nextham species lock "
        "DIR) and name it in species.source (--species)"
    )


def test_files_of_a_structure_stand_in_the_order_of_its_elements():
    found = SET.files(["Te", "H", "Te"], id="x")
    assert {name: (f.upf.name, f.orb.name) for name, f in found.items()} == {
        "Te": ("Te.upf", "Te.orb"),
        "H": ("H.upf", "H.orb"),
    }


@pytest.mark.parametrize("name", WANTED)
def test_files_are_whole_and_carry_the_recorded_operator(name):
    assert SET.problems(name) == []
    files = SET.files_of(name)
    upf, orb = files.upf, files.orb
    root = ET.parse(upf).getroot()
    header = root.find("PP_HEADER").attrib
    assert (header["element"], header["has_so"], header["functional"]) == (name, "T", "PBE")
    r = numbers(root, "PP_R")
    np.testing.assert_allclose(r, MESH.r, atol=1e-12)
    assert numbers(root, "PP_RHOATOM") @ MESH.w == pytest.approx(TABLE[name]["valence"], rel=2e-3)
    expected = projectors(fitted(name))
    strengths = numbers(root, "PP_DIJ").reshape(len(expected), -1)
    np.testing.assert_allclose(strengths, np.diag([p.strength for p in expected]), atol=2e-6)
    for i, projector in enumerate(expected, start=1):
        found = root.find(f".//PP_RELBETA.{i}").attrib
        assert (int(found["lll"]), float(found["jjj"])) == (projector.l, projector.j)
        norm = (numbers(root, f"PP_BETA.{i}") ** 2) @ MESH.w
        assert norm == pytest.approx(1.0, abs=1e-8)
    for functions in orbitals_of(orb.read_text()).values():
        mesh = 0.01 * np.arange(functions.shape[1])
        weights = np.full(len(mesh), 2.0)
        weights[1::2], weights[[0, -1]] = 4.0, 1.0
        overlap = (functions * mesh**2 * weights * 0.01 / 3) @ functions.T
        np.testing.assert_allclose(overlap, np.eye(len(functions)), atol=1e-8)
        assert not functions[:, -1].any()


@pytest.mark.parametrize("name", WANTED)
def test_files_read_as_species_of_the_engine(name):
    upf_reader = pytest.importorskip("nextham.dft.species.upf")
    orb_reader = pytest.importorskip("nextham.dft.species.orb")
    files = SET.files_of(name)
    upf, orb = files.upf, files.orb
    pseudo, basis = upf_reader.read_upf(upf), orb_reader.read_orb(orb)
    assert (pseudo.number, pseudo.z_valence, pseudo.has_so) == (basis.number, TABLE[name]["valence"], True)
    assert len(pseudo.projectors) == len(projectors(fitted(name)))
    widest = max(c["cut_radius_bohr"] for c in TABLE[name]["channels"])
    assert widest - 0.2 < pseudo.projector_cutoff <= widest + 0.02


@pytest.mark.parametrize("name", [name for name in WANTED if name != "H"])
def test_recorded_splittings_of_the_valence_shell_are_all_electron_ones(name):
    neutral = next(s for s in TABLE[name]["splittings"] if s["charge"] == 0)
    assert neutral["pseudo_mev"] == pytest.approx(neutral["all_electron_mev"], rel=0.03)
    assert abs(neutral["level_shift_mev"]) < 10.0


@pytest.mark.parametrize("name", ["P", "Te"])
def test_recorded_strengths_give_the_all_electron_splitting(name):
    potential = fitted(name)
    core, valence = split_valence(potential.number, potential.valence)
    settings = pseudo_atom.AtomSettings(spin_orbit=True)
    pseudo = pseudo_atom.solve(potential, {l: count for (_, l), count in valence.items()}, settings)
    whole = dirac.solve(potential.number, configuration(potential.number))
    assert pseudo.splitting(1) == pytest.approx(whole.splitting(first_valence_n(core, 1), 1), rel=0.03)


@pytest.mark.parametrize(("name", "published"), [("Ge", 0.07515712), ("As", 0.07884496), ("Se", 0.15386757)])
def test_fitted_strengths_agree_with_an_independent_fit(name, published):
    # k_11 of the p channel in CP2K's data/GTH_SOC_POTENTIALS (M. Krack), same h and radii.
    channel = next(c for c in TABLE[name]["channels"] if c["l"] == 1)
    assert channel["k_ha"][0][0] == pytest.approx(published, rel=0.04)


def test_rebuilding_hydrogen_gives_the_shipped_files(tmp_path):
    build.write([build.build("H")], tmp_path)
    files = SET.files_of("H")
    upf, orb = files.upf, files.orb
    shipped, made = ET.parse(upf).getroot(), ET.parse(tmp_path / "H.upf").getroot()
    for tag in ("PP_LOCAL", "PP_BETA.1", "PP_RHOATOM", "PP_CHI.1"):
        np.testing.assert_allclose(numbers(made, tag), numbers(shipped, tag), atol=1e-7)
    # The optimiser may stop elsewhere on another machine; the space that is spanned has to be the same.
    mesh = 0.01 * np.arange(701)
    for l, functions in orbitals_of(orb.read_text()).items():
        again = orbitals_of((tmp_path / "H.orb").read_text())[l]
        overlap = (functions * mesh**2 * 0.01) @ again.T
        assert np.linalg.svd(overlap, compute_uv=False).min() > 0.999
    assert list(locked_species(str(tmp_path)).files(["H"], id="x")) == ["H"]
    record = read_provenance(tmp_path)["elements"]["H"]
    assert record["occupied_band_error_mev"] == pytest.approx(TABLE["H"]["occupied_band_error_mev"], abs=0.5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["H.orb", "H.upf", "provenance.json", LOCK]


def test_the_lock_says_what_the_provenance_says():
    for name, entry in SET.lock.elements.items():
        facts = TABLE[name]
        assert (entry.valence, entry.orbitals, entry.has_so) == (facts["valence"], facts["zetas"], True)
        assert (entry.radius_bohr, entry.cutoff_ry) == (facts["radius_bohr"], facts["cutoff_ry"])


def test_a_broken_provenance_table_is_told(tmp_path):
    (tmp_path / PROVENANCE).write_text("[]")
    with pytest.raises(InputError, match="is not a provenance table"):
        read_provenance(tmp_path)

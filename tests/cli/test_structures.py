"""The command ``structures``: any source to one file, and what became of the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fake_materials_project import FakeClient, document
from typer.testing import CliRunner

from nextham.cli import app
from nextham.core import Structure
from nextham.dft.abacus.stru import read_stru
from nextham.exceptions import InputError
from nextham.structures.extxyz import write_extxyz
from nextham.structures.files import read_each
from nextham.structures.sourced import Sourced
from nextham.testing import zincblende

ROOT = Path(__file__).parents[2]


def run(*words: object):
    return CliRunner().invoke(app, ["structures", *map(str, words)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of good and bad files of all kinds."""
    here = tmp_path / "crystals"
    (here / "Si").mkdir(parents=True)
    poscar = "Si\n1.0\n0 2.7 2.7\n2.7 0 2.7\n2.7 2.7 0\nSi\n2\nDirect\n0 0 0\n0.25 0.25 0.25\n"
    (here / "Si" / "POSCAR").write_text(poscar)
    (here / "Si.vasp").write_text(poscar)  # its id is that of the folder
    (here / "bad.cif").write_text("data_x\n_cell_length_a 5\n")
    large = zincblende().repeated((1, 1, 2))
    write_extxyz(here / "set.extxyz", [Sourced("GaAs", large, "mine", "CC0-1.0"), Sourced("again", zincblende())])
    (here / "salt").mkdir()
    import tarfile

    with tarfile.open(ROOT / "examples" / "abacus-runs" / "case-NaCl-rs-0.tar.xz") as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith("abacus_scf/STRU"))
        found = archive.extractfile(member)
        assert found is not None
        (here / "salt" / "STRU").write_bytes(found.read())
    return here


def test_a_mixed_folder_becomes_one_file(folder, tmp_path):
    path = tmp_path / "out" / "set.extxyz"
    done = run(folder, "-o", path, "--settings", "prepare: {primitive: true, unique: true}")
    assert done.exit_code == 0, done.output
    found = {each.id: each.sourced() for each in read_each(path)}
    assert list(found) == ["Si", "salt", "GaAs"]
    assert len(found["GaAs"].structure) == 2
    assert (found["GaAs"].source, found["GaAs"].licence) == ("mine", "CC0-1.0")
    assert found["GaAs"].facts["reduced_from"] == "4 atoms"
    assert found["Si"].source == "POSCAR"
    salt = read_stru(folder / "salt" / "STRU").structure
    assert sorted(found["salt"].structure.symbols) == sorted(salt.symbols)
    assert "3 left out: 1 same id, 1 unreadable, 1 duplicate" in done.stdout
    assert f"3 crystals in {path}" in done.stdout
    again = run(folder, "-o", tmp_path / "b.extxyz", "--settings", "prepare: {primitive: true, unique: true}")
    assert again.exit_code == 0
    assert (tmp_path / "b.extxyz").read_bytes() == path.read_bytes()


def test_json_for_machines_and_a_dry_run(folder, tmp_path):
    done = run(folder, "--dry-run", "--json", "--settings", "prepare: {filters: {max_atoms: 3}}")
    found = json.loads(done.stdout)
    assert [each["id"] for each in found["crystals"]] == ["Si", "salt", "again"]
    assert found["reasons"] == {"unreadable": 1, "same id": 1, "too many atoms": 1}
    assert {each["reason"]: each["id"] for each in found["left_out"]} == {
        "unreadable": "bad",
        "same id": "Si",
        "too many atoms": "GaAs",
    }
    assert not list(tmp_path.glob("*.extxyz"))


def test_orbitals_are_those_of_the_species(folder):
    text = "prepare: {{filters: {{max_orbitals: {}}}}}"
    n_orb = 2 * 13  # of silicon in the embedded set
    kept = run(folder / "Si.vasp", "--dry-run", "--settings", text.format(n_orb))
    assert kept.exit_code == 0, kept.output
    less = run(folder / "Si.vasp", "--dry-run", "--settings", text.format(n_orb - 1))
    assert str(less.exception) == "no structure is left (1 too many orbitals); nothing was written"
    assert f"Si: {n_orb} orbitals, more than {n_orb - 1}" in less.stdout


def test_elements_without_species_are_named(tmp_path):
    iron = Structure(np.array([26]), np.zeros((1, 3)), 2.5 * np.eye(3))
    write_extxyz(tmp_path / "a.extxyz", [Sourced("Fe", iron), Sourced("GaAs", zincblende())])
    done = run(tmp_path / "a.extxyz", "--dry-run", "--settings", "prepare: {filters: {known_species: true}}")
    assert "left out: Fe: the species source has no Fe" in done.stdout


def test_prototypes_pass_through_the_same_steps(tmp_path):
    text = (
        "{kind: prototypes, crystals: {decorate: {B3: {A: [Ga, As], B: [As, Ga]}}, perturbed: 0}, "
        "prepare: {unique: true, copies: {perturbed: 1}}}"
    )
    done = run("-o", tmp_path / "a.extxyz", "--settings", text)
    assert done.exit_code == 0, done.output
    assert [each.id for each in read_each(tmp_path / "a.extxyz")] == ["GaAs-B3-0", "GaAs-B3-0-1"]
    assert "1 left out: 1 duplicate" in done.stdout


def test_the_materials_project_passes_through_the_same_steps(tmp_path, monkeypatch):
    client = FakeClient([document("mp-1"), document("mp-2"), document("mp-3", ("Si", "C"), 4.36)])
    monkeypatch.setattr("nextham.structures.mp.client.MPAPIClient", lambda: client)
    text = (
        f"{{kind: materials-project, materials_project: {{ids: [mp-1, mp-2, mp-3, mp-9], cache: {tmp_path}/cache}}, "
        "prepare: {unique: true}}"
    )
    done = run("-o", tmp_path / "a.extxyz", "--settings", text)
    assert done.exit_code == 0, done.output
    found = [each.sourced() for each in read_each(tmp_path / "a.extxyz")]
    assert [(each.id, each.source) for each in found] == [
        ("mp-1", "Materials Project mp-1"),
        ("mp-3", "Materials Project mp-3"),
    ]
    assert "2 left out: 1 unknown id, 1 duplicate" in done.stdout
    assert "database: 2025.09.25" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere", "--dry-run"], "there is no nowhere"),
        (["--dry-run"], "name files or folders of structures, or a source with kind prototypes, structures or"),
        (["--settings", "{kind: materials-project}", "--dry-run"], "the query is empty, which would be the whole"),
        (
            ["--settings", "prepare: {filter: {}}", "--dry-run"],
            "prepare.filter is not a setting; did you mean filters?",
        ),
        (["--settings", "prepare: {filters: {elements: [Xx]}}", "--dry-run"], "'Xx' is not an element symbol"),
        (["--species", "nowhere", "--settings", "prepare: {filters: {known_species: true}}", "--dry-run"], "no folder"),
    ],
)
def test_a_bad_request_is_told(words, sentence):
    done = run(*words)
    assert isinstance(done.exception, InputError)
    assert sentence in str(done.exception)


def test_nothing_is_written_where_nothing_is_left(tmp_path):
    write_extxyz(tmp_path / "a.extxyz", [Sourced("GaAs", zincblende())])
    done = run(tmp_path / "a.extxyz", "-o", tmp_path / "b.extxyz", "--settings", "prepare: {filters: {without: [As]}}")
    assert str(done.exception) == "no structure is left (1 excluded element); nothing was written"
    assert not (tmp_path / "b.extxyz").exists()

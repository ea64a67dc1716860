"""The command ``generate``."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from nextham.cli import app
from nextham.exceptions import InputError
from nextham.structures.files import read_named

SETTINGS = "prototypes: {B3: {GaAs: 5.653}, A4: {Si: 5.431}}"


def generate(*words: str):
    return CliRunner().invoke(app, ["generate", "--settings", SETTINGS, *words])


def test_writes_the_crystals_with_their_ids(tmp_path):
    done = generate("-o", str(tmp_path / "new" / "set.extxyz"))
    assert done.exit_code == 0, done.output
    assert done.stdout == f"4 crystals in {tmp_path / 'new' / 'set.extxyz'}\n"
    assert dict(read_named(tmp_path / "new" / "set.extxyz")).keys() == {
        "GaAs-B3-0", "GaAs-B3-1", "Si-A4-0", "Si-A4-1"
    }  # fmt: skip


def test_an_existing_file_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "set.extxyz"
    path.write_text("mine")
    done = generate("-o", str(path))
    assert str(done.exception) == f"{path} exists already; choose another name or pass --overwrite"
    assert generate("-o", str(path), "--dry-run").exit_code == 0
    assert path.read_text() == "mine"
    assert generate("-o", str(path), "--overwrite").exit_code == 0
    assert len(read_named(path)) == 4


def test_a_dry_run_lists_and_writes_nothing(tmp_path):
    done = generate("--dry-run", "--only", "Si-A4-0", "-o", str(tmp_path / "x.extxyz"))
    assert done.stdout.splitlines()[0].split()[:4] == ["Si-A4-0", "Si2", "2", "atoms"]
    assert not list(tmp_path.iterdir())


def test_json_for_machines(tmp_path):
    found = json.loads(generate("--dry-run", "--json").stdout)
    first = found["crystals"][0]
    assert first.pop("volume_ang3") == pytest.approx(5.653**3 / 4, abs=2e-3)
    assert len(first.pop("sha256")) == 64
    assert first == {
        "id": "GaAs-B3-0",
        "formula": "AsGa",
        "atoms": 2,
        "source": "prototype B3",
        "licence": "",
        "prototype": "AB_cF8_216_c_a",
        "volume": "lattice constant",
    }
    assert (found["file"], found["reasons"], found["left_out"]) == (None, {}, [])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "name the file to write with --output, or list the crystals with --dry-run"),
        (["-o", "x.cif"], "x.cif: crystals with ids are written as extended XYZ; call it x.extxyz"),
    ],
)
def test_a_wrong_file_is_told(words, sentence):
    done = generate(*words)
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == sentence


def test_prototypes_are_listed():
    lines = CliRunner().invoke(app, ["generate", "--list"]).stdout.splitlines()
    assert "E2_1 AB3C_cP5_221_a_c_b: CaTiO3, A1 = Ca, B1 = Ti, C3 = O, 5 atoms" in lines
    assert len(lines) > 280

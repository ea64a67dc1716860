"""The ``species`` commands."""

import json
import shutil

import pytest
import typer
from made_up_species import orb_text, upf_text
from typer.testing import CliRunner

from nextham.cli import species
from nextham.dft.species.source import embedded_species
from nextham.exceptions import InputError


@pytest.fixture
def app():
    made = typer.Typer()
    species.register(made)
    return made


@pytest.fixture
def run(app):
    return lambda *words: CliRunner().invoke(app, ["species", *map(str, words)])


@pytest.fixture
def folder(tmp_path):
    for name in ("Si", "C"):
        (tmp_path / f"{name}.upf").write_text(upf_text(name))
        (tmp_path / f"{name}.orb").write_text(orb_text(name))
    (tmp_path / "Ge.upf").write_text(upf_text("Ge", relativistic=False))
    return tmp_path


def test_list_shows_every_element_with_its_splitting(app):
    result = CliRunner().invoke(app, ["species", "list"])
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert sum(line.split()[2:3] == ["2s2p1d"] for line in lines) == 25
    assert any(line.startswith("Te") and "5p" in line for line in lines)


def test_build_writes_files_that_the_engine_can_use(app, tmp_path):
    result = CliRunner().invoke(app, ["species", "build", "H", "-o", str(tmp_path)])
    assert result.exit_code == 0
    assert "1 species in" in result.stdout
    assert (tmp_path / "H.upf").read_text().startswith('<UPF version="2.0.1">')


def test_a_wrong_symbol_is_told_before_anything_is_built(app, tmp_path):
    result = CliRunner().invoke(app, ["species", "build", "H", "Xx", "-o", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "(nextham species lock DIR) and name it in species.source (--species)" in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_lock_tells_what_it_took_and_what_it_did_not(run, folder):
    done = run("lock", folder)
    assert done.exit_code == 0, done.output
    reason = "Ge.upf is scalar-relativistic; spin-orbit coupling needs a fully relativistic UPF file (has_so = T)"
    assert done.stdout.splitlines() == [
        f"skipped: {reason}",
        f"not locked: Ge (no usable UPF file: {reason} and no .orb file)",
        f"{folder}/species.lock.json: 2 elements: C Si",
    ]
    found = json.loads(run("lock", folder, "--json").stdout)
    assert (found["elements"], found["changed"], set(found["skipped"])) == (["C", "Si"], [], {"Ge.upf"})


def test_locking_again_tells_what_is_other_than_before(run, folder, tmp_path):
    assert run("lock", folder, "-o", tmp_path / "mine.json").exit_code == 0
    (folder / "C.orb").write_text(orb_text("C", shells=(0, 1)))
    done = run("lock", folder, "-o", tmp_path / "mine.json")
    assert f"other than in the last lock: C\n{tmp_path}/mine.json: 2 elements: C Si" in done.stdout
    assert "other than" not in run("lock", folder, "-o", tmp_path / "mine.json").stdout
    assert not (folder / "species.lock.json").exists()


def test_several_files_need_a_choice_and_nothing_is_written_without(run, folder):
    (folder / "Si_2.orb").write_text(orb_text("Si", shells=(0, 1)))
    done = run("lock", folder)
    assert isinstance(done.exception, InputError)
    assert not (folder / "species.lock.json").exists()
    assert run("lock", folder, "--choose", "Si=Si_2.orb").exit_code == 0
    assert "Si      4  1s1p         5  Si.upf  Si_2.orb" in run("list", "--source", folder).stdout


def test_list_of_a_locked_folder_verifies_it(run, folder):
    assert run("lock", folder).exit_code == 0
    done = run("list", "--source", folder)
    assert done.exit_code == 0, done.output
    assert "C       4  2s1p1d       5  C.upf  C.orb" in done.stdout
    assert "Ge  cannot be used: no usable UPF file: Ge.upf is scalar-relativistic" in done.stdout
    (folder / "C.orb").unlink()
    done = run("list", "--source", folder, "--json")
    gone = f"{folder}/C.orb of the species lock is gone; restore it, or lock again: nextham species lock {folder}"
    assert json.loads(done.stdout)["problems"] == [gone]
    assert str(done.exception) == f"1 files are not those of the lock; the first: {gone}"


def test_a_copy_of_the_embedded_set_is_listed_like_it(run, tmp_path):
    shutil.copytree(embedded_species().folder, tmp_path / "copy")
    rows = [run("list", *words).stdout.splitlines()[:-2] for words in ((), ("--source", tmp_path / "copy"))]
    assert rows[0] == rows[1]


def test_an_output_that_cannot_be_written_is_told(run, folder):
    done = run("lock", folder, "-o", folder / "C.upf" / "lock.json")
    assert "lock.json cannot be written: a file is where a folder is needed; choose another place" in str(
        done.exception
    )

"""Where species come from, as a user of nextham h0 says it: the embedded set, a locked folder, folders of files."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from made_up_species import SHELLS, SPECIES, orb_text, upf_text
from typer.testing import CliRunner

from nextham.cli import app
from nextham.data.ledger import Ledger
from nextham.data.store import Store
from nextham.dft.species.source import embedded_species

SI_C = "SiC\n4.4\n0 .5 .5\n.5 0 .5\n.5 .5 0\nSi C\n1 1\ndirect\n0 0 0\n.25 .25 .25\n"
CHEAP = {"ecutwfc_ry": 10.0}


@pytest.fixture
def place(tmp_path):
    """A crystal, and a locked folder of made-up species."""
    (tmp_path / "SiC.vasp").write_text(SI_C)
    for kind in ("pseudo", "orbital"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    for name, what in SPECIES.items():
        (tmp_path / "set" / "pseudo" / f"{name}.upf").write_text(upf_text(name, **what))
        (tmp_path / "set" / "orbital" / f"{name}.orb").write_text(orb_text(name, shells=SHELLS[name]))
    assert CliRunner().invoke(app, ["species", "lock", str(tmp_path / "set")]).exit_code == 0
    return tmp_path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("NEXTHAM_CACHE", str(tmp_path_factory.mktemp("cache")))


def h0(place, *words, out="store", **sections):
    settings = json.dumps({"lcao": CHEAP, **sections})
    words = ("h0", place / "SiC.vasp", "-o", place / out, *words, "--settings", settings)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_locked_folder_by_option_or_by_settings_and_wherever_it_lies(place):
    first = h0(place, "--species", place / "set")
    assert first.exit_code == 0, first.output
    (place / "set").rename(place / "moved")
    second = h0(place, out="second", species={"source": str(place / "moved")})
    assert second.exit_code == 0, second.output
    third = h0(place, "--pseudo-dir", place / "moved/pseudo", "--orbital-dir", place / "moved/orbital", out="third")
    assert third.exit_code == 0, third.output
    metas = [Store(place / name)["SiC"].meta[0] for name in ("store", "second", "third")]
    assert len({meta.input_sha256 for meta in metas}) == 1
    lock = json.loads((place / "moved" / "species.lock.json").read_text())["elements"]
    assert metas[0].orbitals["C"] == f"C.orb@sha256:{lock['C']['orb']['sha256']}"
    assert metas[0].pseudopotentials["Si"] == f"Si.upf@sha256:{lock['Si']['upf']['sha256']}"


def test_a_missing_element_and_a_changed_file_go_to_the_ledger(place):
    (place / "SiC.vasp").write_text(SI_C.replace("Si C", "Si Po"))
    assert h0(place, "--species", place / "set").exit_code == 1
    entry = Ledger(place / "store.ledger.jsonl").last()["SiC"]
    assert (entry.cause, entry.message) == (
        "missing-file",
        f"SiC: the locked species of {place}/set lack Po (no UPF and no .orb file); add what is missing, then lock "
        f"again: nextham species lock {place}/set",
    )
    (place / "SiC.vasp").write_text(SI_C)
    (place / "set" / "orbital" / "C.orb").write_text(orb_text("C"))
    assert h0(place, "--species", place / "set").exit_code == 1
    entry = Ledger(place / "store.ledger.jsonl").last()["SiC"]
    assert entry.cause == "bad-input"
    assert entry.message.startswith(f"SiC: {place}/set/orbital/C.orb has changed since it was locked (its SHA-256 is ")


def test_what_is_wrong_with_the_source_is_told_before_a_store_is_begun(place):
    (place / "set" / "species.lock.json").rename(place / "mine.json")
    for words, sentence in [
        (
            ("--species", place / "set"),
            f"species.source: there is no lock {place}/set/species.lock.json; check and lock the files with: "
            f"nextham species lock {place}/set",
        ),
        (
            ("--species", place / "set", "--pseudo-dir", place),
            "species.source and lcao.pseudo_dir name two places for species; keep one of them",
        ),
        (("--species-lock", "x"), "species.lock is the lock of a folder; name the folder in species.source"),
    ]:
        assert str(h0(place, *words).exception) == sentence
    assert not (place / "store.ledger.jsonl").exists()
    done = h0(place, "--species", place / "set", "--species-lock", place / "mine.json")
    assert done.exit_code == 0, done.output


def test_an_option_replaces_folder_and_lock_of_the_settings(place):
    elsewhere = {"source": str(place / "nowhere"), "lock": "nowhere.json"}
    done = h0(place, "--species", place / "set", "--dry-run", species=elsewhere)
    assert done.exit_code == 0, done.output
    assert f"species   C: {place}/set/pseudo/C.upf, {place}/set/orbital/C.orb" in done.stdout


def test_a_copy_of_the_embedded_set_gives_the_same_inputs(place):
    shutil.copytree(embedded_species().folder, place / "copy")
    for name, source in (("one", "embedded"), ("two", place / "copy")):
        assert h0(place, "--species", source, out=name).exit_code == 0
    one, two = (Store(place / name)["SiC"].meta[0] for name in ("one", "two"))
    assert one.input_sha256 == two.input_sha256


def test_abacus_reads_locked_folders_and_the_embedded_set(place):
    words = [sys.executable, str(Path(__file__).parents[1] / "fake_abacus.py"), "replay", str(place)]
    abacus = {"abacus": {"command": shlex.join(words)}, "lcao": {}}
    for source, folder in ((place / "set", "set/pseudo"), ("embedded", None)):
        done = h0(place, "--engine", "abacus", "--species", source, "--dry-run", **abacus)
        assert done.exit_code == 0, done.output
        where = place / folder if folder else embedded_species().folder
        assert f"Si.upf -> {where}/Si.upf" in done.stdout
    done = h0(place, "--engine", "abacus", "--dry-run", **abacus)
    assert "or set species.source in place of both folders" in str(done.exception)


def test_files_of_one_name_keep_apart_in_an_abacus_run(place):
    for name in SPECIES:
        (place / "set" / name).mkdir()
        for kind, suffix in (("pseudo", "upf"), ("orbital", "orb")):
            (place / "set" / kind / f"{name}.{suffix}").rename(place / "set" / name / f"pbe.{suffix}")
    assert CliRunner().invoke(app, ["species", "lock", str(place / "set")]).exit_code == 0
    done = h0(place, "--engine", "abacus", "--species", place / "set", "--dry-run", "--json", abacus={})
    stru = json.loads(done.stdout)["inputs"]["SiC"]["get_hs"]["STRU"]
    assert [line.split()[-1] for line in stru.splitlines()[1:3]] == ["Si_pbe.upf", "C_pbe.upf"]

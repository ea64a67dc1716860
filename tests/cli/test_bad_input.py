"""What a user may hand over by mistake: each goes to the ledger in one sentence, none becomes a record."""

from __future__ import annotations

import json
import re

import pytest
from made_up_species import SHELLS, SPECIES, orb_text, upf_text
from typer.testing import CliRunner

from nextham.cli import app
from nextham.data.ledger import Ledger
from nextham.data.store import Store
from nextham.exceptions import InputError, NexthamError

FRAME = '2\nLattice="0 2.2 2.2 2.2 0 2.2 2.2 2.2 0" id={}\nSi 0 0 0\nC 1.1 1.1 {}\n'
SI_C = "SiC\n4.4\n0 .5 .5\n.5 0 .5\n.5 .5 0\nSi C\n1 1\ndirect\n0 0 0\n.25 .25 .25\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTHAM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "SiC.vasp").write_text(SI_C)
    for name, what in SPECIES.items():
        (tmp_path / f"{name}.upf").write_text(upf_text(name, **what))
        (tmp_path / f"{name}.orb").write_text(orb_text(name, shells=SHELLS[name]))
    return tmp_path


def run(place, task, *words, out="store", crystal="SiC.vasp", engine="lcao", **recipe):
    folders = {"pseudo_dir": str(place), "orbital_dir": str(place)}
    settings = json.dumps({engine: {"ecutwfc_ry": 10.0, "kmesh": [1, 1, 1], **folders, **recipe}})
    words = (task, place / crystal, "-o", place / out, "--engine", engine, "--settings", settings, *words)
    return CliRunner().invoke(app, [str(word) for word in words])


def failure(place, done):
    """Cause and sentence in the ledger of a command that stored nothing."""
    assert isinstance(done.exception, NexthamError)
    assert not (place / "store").exists()
    (entry,) = Ledger(place / "store.ledger.jsonl").last().values()
    return entry.cause, entry.message


def test_an_scf_that_does_not_converge_is_rescued_then_told_and_never_a_record(place):
    done = run(place, "scf", "--allow-empty", scf_nmax=2, scf_thr=1e-9)
    assert done.exit_code == 0, done.output
    assert len(Store(place / "store")) == 0
    (entry,) = Ledger(place / "store" / "ledger.jsonl").last().values()
    assert (entry.cause, entry.log_tail.count("# Mixing(")) == ("unconverged", 3)
    assert [(a["beta"], a["steps"], a["outcome"]) for a in entry.attempts] == [
        (0.7, 2, "unconverged"),
        (0.2, 2, "unconverged"),
        (0.08, 2, "unconverged"),
    ]
    assert entry.message.startswith("SiC: the SCF did not converge in 3 attempts of 2 steps: density error ")
    assert entry.message.endswith("raise scf_nmax or smearing_sigma_ry, or lower mixing_beta")
    assert "did not converge" in (place / "store.runs" / "SiC" / "lcao.log").read_text()


def test_memory_is_estimated_before_even_the_k_points_exist(place):
    done = run(place, "scf", "--kspacing", "0.001")
    cause, message = failure(place, done)
    assert cause == "bad-input"
    assert message.startswith("SiC (CSi) needs about ")
    assert message.endswith("max_memory_gb is 8: raise it, or use fewer k points (kspacing_inv_bohr)")


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("recipe", "cure"),
    [
        *(({"ecutwfc_ry": cutoff}, "a smaller cell or ecutwfc_ry") for cutoff in (1e6, 1e9, 1e300)),
        *(({"kmesh": None, "kspacing_inv_bohr": k}, "fewer k points (kspacing_inv_bohr)") for k in (1e-4, 1e-320)),
        ({"kmesh": [10**150] * 3}, "fewer k points (kspacing_inv_bohr)"),
    ],
)
def test_absurd_settings_are_refused_at_once_and_not_tried(place, recipe, cure, dry_run):
    done = run(place, "scf", *(["--dry-run"] if dry_run else []), **recipe)
    sentence = str(done.exception) if dry_run else failure(place, done)[1]
    assert re.search(r"SiC \(CSi\) needs about ([\d.]{3,9}|\de\+\d+|inf) GB, ", sentence)
    assert sentence.endswith(f"max_memory_gb is 8: raise it, or use {cure}")


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("Si.upf", 'z_valence="4.0"', 'z_valence="13"', "PP_HEADER has z_valence=13, but PP_LOCAL ends as"),
        (
            "Si.upf",
            'number_of_proj="3"',
            'number_of_proj="1e400"',
            "PP_HEADER has number_of_proj='1e400', which is not",
        ),
        ("Si.upf", 'mesh_size="1001"', 'mesh_size="0"', "PP_HEADER has mesh_size='0', which is not a whole number"),
        ("Si.orb", "dr    0.01", "dr    ..", "Si.orb has dr .., which is not a number"),
    ],
)
def test_damaged_species_are_refused_with_file_and_key(place, name, old, new, sentence):
    text = (place / name).read_text()
    assert old in text
    (place / name).write_text(text.replace(old, new))
    cause, message = failure(place, run(place, "h0"))
    assert cause == "bad-input"
    assert message.startswith(f"SiC: {place}/{name}")
    assert sentence in message
    assert message.endswith("fetch the file again")


@pytest.mark.parametrize(
    ("key", "value", "least"),
    [("ecutwfc_ry", 1, "10"), ("box_edge_bohr", 1e-3, "0.3"), ("scf_thr", 1e-16, "0.00000000000001")],
)
def test_settings_that_give_no_sensible_numbers_are_refused_before_anything_is_read(place, key, value, least):
    done = run(place, "h0", "--dry-run", **{key: value})
    assert str(done.exception) == (f"the given settings: lcao.{key}: Input should be greater than or equal to {least}")


def wrong_files():
    name_of = "is of C, but it is named for Si; choose a file of Si"
    return {
        "scalar": (
            "Si.upf",
            upf_text("Si", relativistic=False),
            "is scalar-relativistic; spin-orbit coupling needs",
        ),
        "upf": ("Si.upf", upf_text("C"), name_of),
        "orb": ("Si.orb", orb_text("C"), name_of),
    }


@pytest.mark.parametrize("engine", ["lcao", "abacus"])
@pytest.mark.parametrize("case", list(wrong_files()))
def test_files_of_the_wrong_kind(place, engine, case):
    name, text, reason = wrong_files()[case]
    (place / name).write_text(text)
    done = run(place, "h0", "--dry-run", engine=engine)
    assert f"the first reason: SiC: {place}/{name} {reason}" in str(done.exception)


@pytest.mark.parametrize("engine", ["lcao", "abacus"])
def test_overlapping_atoms_are_refused_before_any_engine_starts(place, engine):
    (place / "close.vasp").write_text(SI_C.replace(".25 .25 .25", ".02 .02 .02"))
    done = run(place, "h0", "--dry-run", crystal="close.vasp", engine=engine)
    assert "close: atoms 1 (Si) and 2 (C) are 0.152 Å apart (at least 0.3); check units" in str(done.exception)


def test_absurd_crystals_go_to_the_ledger_and_the_rest_is_stored(place):
    (place / "crystals").mkdir()
    (place / "SiC.vasp").rename(place / "crystals" / "SiC.vasp")
    for name, text in {
        "flat": SI_C.replace(".5 .5 0\n", "0 1 1.00001\n"),
        "zero": SI_C.replace(".5 .5 0\n", "0 .5 .5\n"),
        "nan": SI_C.replace(".5 .5 0\n", "nan .5 0\n"),
        "vast": SI_C.replace("4.4", "1000"),
    }.items():
        (place / "crystals" / f"{name}.vasp").write_text(text)
    done = run(place, "h0", crystal="crystals")
    assert done.exit_code == 0, done.output
    assert "SiC" in Store(place / "store").ids
    last = Ledger(place / "store" / "ledger.jsonl").last()
    said = {id: entry.message for id, entry in last.items() if not entry.ok}
    assert set(said) == {"flat", "zero", "nan", "vast"}
    assert "flat has lattice vectors almost in one plane" in said["flat"]
    assert said["zero"].endswith("zero.vasp: the lattice vectors of a structure span no volume")
    assert "that is not a finite number" in said["nan"]
    assert said["vast"].endswith("Å³ per atom (at most 100000); cut the vacuum of the cell")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_frame_leaves_the_others_of_its_file(place, workers):
    frames = [FRAME.format(id, z) for id, z in (("good", 1.1), ("bad", "nan"), ("../../evil", 1.1), ("fine", 1.0))]
    (place / "four.extxyz").write_text("".join(frames))
    done = run(place, "h0", "--workers", workers, crystal="four.extxyz")
    assert done.exit_code == 0, done.output
    assert sorted(Store(place / "store").ids) == ["fine", "good"]
    last = Ledger(place / "store" / "ledger.jsonl").last()
    said = {id: entry.message for id, entry in last.items() if not entry.ok}
    assert set(said) == {"bad", "four-2"}
    assert said["bad"].startswith(f"{place}/four.extxyz, frame 2 of 4 (bad): a structure has a position")
    assert said["four-2"].startswith(f"{place}/four.extxyz, frame 3 of 4: '../../evil' cannot name a structure")


def test_two_frames_of_one_id_are_told(place):
    (place / "two.extxyz").write_text(FRAME.format("a", 1.1) + FRAME.format("a", 1.0))
    path = place / "two.extxyz"
    said = f"{path}, frame 2 of 2 and {path}, frame 1 of 2 are both called a; rename one"
    assert str(run(place, "h0", crystal="two.extxyz").exception) == said


def test_a_script_gets_the_causes_where_every_structure_failed(place):
    (place / "two.extxyz").write_text(FRAME.format("a", "nan") + FRAME.format("b", 0.0).replace("Si", "Qq"))
    done = run(place, "h0", "--json", crystal="two.extxyz")
    cause, message = {e.id: (e.cause, e.message) for e in Ledger(place / "store.ledger.jsonl").last().values()}["a"]
    found = json.loads(done.stdout)
    assert (done.exit_code, found["stored"], len(found["failed"])) == (1, [], 2)
    assert found["failed"][0] == {"id": "a", "stage": "h0", "cause": cause, "message": message}
    assert str(done.exception).startswith("no structure of 2 gave a record (2 bad-input)")


def test_two_h0_definitions_do_not_share_a_dataset(place):
    assert run(place, "h0", out="one").exit_code == 0
    (place / "SiC.vasp").rename(place / "SiC2.vasp")
    assert run(place, "h0", out="two", crystal="SiC2.vasp", h0_definition="core").exit_code == 0
    done = CliRunner().invoke(app, ["pack", f"{place}/one", f"{place}/two", "-o", f"{place}/both"])
    assert str(done.exception) == (
        f"SiC2 has the H0 definition 'core', the structures before it in {place}/both have 'atomic-density-step0'; "
        "write them to two stores"
    )
    assert not (place / "both").exists()


@pytest.mark.parametrize("words", [("config",), ("campaign", "plan", "results", "--config")])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"abacus: [1", r"config.yaml is not valid YAML: while parsing a flow sequence"),
        (b"- lcao\n", r"config.yaml holds a list, not keys with values, e.g. engine: lcao"),
        (b"\xff\xfe\x00", r"the config file config.yaml cannot be read: 'utf-8' codec can't decode"),
        (None, r"there is no config file config.yaml"),
    ],
)
def test_a_config_that_is_none(tmp_path, monkeypatch, words, text, said):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "config.yaml").write_bytes(text)
    with pytest.raises(InputError, match=said):
        CliRunner().invoke(app, [*words, "config.yaml"], catch_exceptions=False)


def test_a_config_that_is_refused_is_not_that_of_the_campaign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("source: {kind: structures, paths: [nothing]}")
    with pytest.raises(InputError, match="there is no nothing"):
        CliRunner().invoke(app, ["campaign", "plan", "results", "--config", "config.yaml"], catch_exceptions=False)
    assert not (tmp_path / "results").exists()

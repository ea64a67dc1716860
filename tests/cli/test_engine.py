"""nextham h0 and nextham scf with ABACUS as a user runs them; a stand-in for it replays a recorded run."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nextham.cli import app
from nextham.data.ledger import Ledger
from nextham.data.store import Store
from nextham.exceptions import NexthamError

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests" / "fake_abacus.py"
ARCHIVE = ROOT / "examples" / "abacus-runs" / "case-BeS-zb-0.tar.xz"


@pytest.fixture
def place(tmp_path):
    """A folder with a recorded case, its STRU as a structure file, and made-up pseudopotentials and orbitals."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    crystals = tmp_path / "crystals"
    crystals.mkdir()
    (crystals / "BeS.stru").write_text((tmp_path / "case-BeS-zb-0" / "abacus_scf" / "STRU").read_text())
    for name, shells in {"Be": "4s1p", "S": "2s2p1d"}.items():
        (tmp_path / f"{name}.upf").write_text(f"<UPF of {name}>\n")
        counts = [f"Number of {s.upper()}orbital--> {n}" for n, s in zip(shells[::2], shells[1::2], strict=True)]
        (tmp_path / f"{name}_gga_7au_100Ry_{shells}.orb").write_text("\n".join(["Radius Cutoff(a.u.) 7", *counts]))
    return tmp_path


def settings(place, mode="replay", **changes):
    command = shlex.join([sys.executable, str(FAKE), mode, str(place / "case-BeS-zb-0")])
    abacus = {"command": command, "pseudo_dir": str(place), "orbital_dir": str(place), "kspacing_inv_bohr": 0.2}
    return json.dumps({"abacus": abacus | changes})


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in (*words, "--engine", "abacus")])


def test_scf_makes_a_store(place, example):
    done = invoke("scf", place / "crystals", "-o", place / "store", "--settings", settings(place))
    assert done.exit_code == 0, done.output
    assert f"{place}/store: 1 of 1 structures" in done.stdout
    system = Store(place / "store")["BeS"]
    expected = example("BeS-zb-0").system
    assert np.abs((system.operator("hamiltonian") - expected.operator("hamiltonian")).values).max() < 1e-7
    assert not (place / "store.runs").exists()
    assert not (place / "store.ledger.jsonl").exists()
    assert Ledger(place / "store" / "ledger.jsonl").last()["BeS"].facts["scf_steps"] > 1


def test_h0_makes_a_store_without_hamiltonian(place):
    done = invoke("h0", place / "crystals", "-o", place / "store", "--settings", settings(place), "--keep-runs")
    assert done.exit_code == 0, done.output
    assert set(Store(place / "store")["BeS"].operators) == {"overlap", "h0"}
    assert (place / "store.runs" / "BeS" / "abacus_geths" / "INPUT").is_file()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_structure_does_not_stop_the_rest(place, workers):
    (place / "crystals" / "bad.cif").write_text("")
    (place / "crystals" / "NaCl.vasp").write_text("x\n1\n0 3 3\n3 0 3\n3 3 0\nNa Cl\n1 1\nDirect\n0 0 0\n.5 .5 .5\n")
    words = ("--settings", settings(place), "--json", "--workers", workers)
    done = invoke("scf", place / "crystals", "-o", place / "store", *words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["stored"] == ["BeS"]
    assert {f["id"]: f["cause"] for f in found["failed"]} == {"NaCl": "missing-file", "bad": "bad-input"}
    last = Ledger(place / "store" / "ledger.jsonl").last()
    assert last["bad"].message == f"{place}/crystals/bad.cif is empty; it should hold a crystal"
    assert last["NaCl"].message == (
        f"NaCl: {place} holds no pseudopotential (*.upf) of Na, Cl; add it there or name it under pseudopotentials"
    )


def test_nothing_left_is_an_error_that_keeps_the_ledger(place):
    done = invoke("scf", place / "crystals", "-o", place / "store", "--settings", settings(place, "unconverged"))
    assert isinstance(done.exception, NexthamError)
    folder = place / "store.runs" / "BeS" / "abacus_scf"
    assert str(done.exception).startswith(
        f"no structure of 1 gave a record (1 unconverged); all reasons are in {place}/store.ledger.jsonl, "
        f"the first: BeS: the SCF run in {folder} did not converge in 9 steps"
    )
    entry = Ledger(place / "store.ledger.jsonl").last()["BeS"]
    assert entry.cause == "unconverged"
    assert "convergence has not been achieved" in entry.log_tail
    assert not (place / "store").exists()


def test_a_store_may_be_empty_when_asked(place):
    words = ("-o", place / "store", "--settings", settings(place, "crash"), "--allow-empty")
    done = invoke("scf", place / "crystals", *words)
    assert done.exit_code == 0, done.output
    assert f"{place}/store: 0 of 1 structures (failed: 1 crashed)" in done.stdout
    assert len(Store(place / "store")) == 0
    assert Ledger(place / "store" / "ledger.jsonl").summary() == {"crashed": 1}


def test_an_interrupted_campaign_goes_on_where_it_was(place):
    words = ("scf", place / "crystals", "-o", place / "store", "--settings")
    assert invoke(*words, settings(place, "unconverged")).exit_code == 1
    assert invoke(*words, settings(place), "--keep-runs").exit_code == 0
    calls = (place / "store.runs" / "BeS" / "fake-calls.txt").read_text().splitlines()
    ladder = ["scf"] * 3  # that did not converge
    assert [line.split()[0] for line in calls] == ["get_hs", *ladder, "scf"]


def test_dry_run_prints_and_runs_nothing(place):
    words = ("scf", place / "crystals", "-o", place / "store", "--dry-run", "--settings")
    done = invoke(*words, settings(place, command="no-such-abacus"))
    assert done.exit_code == 0, done.output
    assert "=== BeS: get_hs" in done.stdout
    assert "=== BeS: scf" in done.stdout
    assert "lspinorb        1" in done.stdout
    assert not (place / "store.runs").exists()
    found = json.loads(invoke(*words, settings(place), "--json").stdout)
    assert set(found["inputs"]["BeS"]) == {"get_hs", "scf"}


def test_a_misspelt_key_is_named(place):
    done = invoke("scf", place / "crystals", "-o", place / "store", "--settings", settings(place, kspacing_inv_bor=0.1))
    assert str(done.exception) == (
        "the given settings: abacus.kspacing_inv_bor is not a setting; did you mean kspacing_inv_bohr?"
    )


def test_no_program_is_told_before_a_store_is_begun(place):
    done = invoke("scf", place / "crystals", "-o", place / "store", "--settings", settings(place, command="no-such"))
    assert "there is no program 'no-such' on PATH" in str(done.exception)
    assert not (place / "store.ledger.jsonl").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_ending_the_command_ends_its_jobs(place, workers):
    (place / "crystals" / "bad.cif").write_text("")
    words = ["scf", place / "crystals", "-o", place / "store", "--settings", settings(place, "hang")]
    words += ["--engine", "abacus", "--workers", workers]
    program = [sys.executable, "-c", "from nextham.cli import main; main()", *map(str, words)]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    note = place / "store.runs" / "BeS" / "abacus_geths" / "child.pid"
    wait_until(lambda: note.is_file() and note.read_text())
    process.terminate()
    assert process.wait(timeout=120) == 128 + 15
    child = Path("/proc") / note.read_text()
    wait_until(lambda: not child.exists() or "Z" in (child / "stat").read_text().split()[2])
    assert not list(place.glob("*.partial*"))


def wait_until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)

"""An interrupted campaign goes on where it was, and a dead process costs one crystal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_engine import calls, write_crystals

from nextham.data.ledger import Ledger

FAKE = Path(__file__).parents[1] / "fake_engine.py"
QUICK = ("a-1", "b-1", "c-1")


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_crystals(Path("crystals"), *QUICK, "slow-1", "slow-2")


def run(*words, recipe="good"):
    """Return the finished command and what it computed."""
    Path("calls.txt").unlink(missing_ok=True)
    done = subprocess.run(command(*words, recipe=recipe), capture_output=True, text=True, check=False, timeout=120)
    return done, sorted(calls())


def command(*words, recipe="good"):
    return [sys.executable, str(FAKE), recipe, "scf", "crystals", "-o", "store", *map(str, words)]


def interrupted(*words, by=signal.SIGKILL):
    """Start a command and end it when the quick crystals are done and a slow one is not."""
    environment = {**os.environ, "FAKE_SLOW_S": "100"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command(*words), env=environment, stdout=pipe, stderr=pipe, start_new_session=True)
    wait_until(lambda: "slow-1" in calls() and len(list(Path("store.runs").glob("*/finished.npz"))) == len(QUICK))
    if by is signal.SIGINT:
        os.killpg(process.pid, by)  # as a terminal does
    else:
        process.send_signal(by)
    process.communicate(timeout=120)
    wait_until(lambda: not processes_of(process.pid))
    return process.returncode


def processes_of(group: int) -> list[str]:
    """Return living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == group and state != "Z":
            found.append(stat.parent.name)
    return found


def wait_until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def facts():
    return {id: entry.facts for id, entry in Ledger("store/ledger.jsonl").last().items()}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_killed_command_had_finished_is_not_computed_again(workers):
    interrupted("--workers", workers)
    assert not Path("store").exists()
    done, computed = run("--workers", 3 - workers)  # how many at a time does not matter
    assert (done.returncode, computed) == (0, ["slow-1", "slow-2"]), done.stderr
    assert "store: 5 of 5 structures (3 finished before an interruption; " in done.stdout
    assert [name for name in sorted(facts()) if "read_back" in facts()[name]] == [*QUICK]
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["calls.txt", "crystals", "store"]


@pytest.mark.parametrize(("workers", "by", "status"), [(1, signal.SIGINT, 130), (2, signal.SIGINT, 130), (2, 15, 143)])
def test_ctrl_c_ends_all_processes_and_leaves_nothing_half_written(workers, by, status):
    assert interrupted("--workers", workers, by=by) == status
    assert not [str(path) for path in Path.cwd().rglob("*partial*")]
    assert not Path("store").exists()


def test_a_dead_process_costs_one_crystal():
    write_crystals(Path("crystals"), "killed-1", "crash-1")
    done, computed = run("--workers", 2, "--json")
    found = json.loads(done.stdout)
    assert sorted(found["stored"]) == [*QUICK, "slow-1", "slow-2"]
    assert {entry["id"]: entry["cause"] for entry in found["failed"]} == {"killed-1": "killed", "crash-1": "crashed"}
    assert computed == sorted([*QUICK, "slow-1", "slow-2", "killed-1", "crash-1"])
    assert Ledger("store/ledger.jsonl").last()["killed-1"].message == (
        "killed-1: its process was killed, most often because memory ran out; use fewer workers or more memory"
    )

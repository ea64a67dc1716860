"""Jobs that are killed anywhere: what was finished is never computed again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import yaml
from fake_engine import calls, write_crystals
from made_campaign import FAKE, RESULTS, command, planned

from nextham.campaign.folder import CampaignFolder
from nextham.data.store import Store

ROOT = Path(__file__).parents[2]
QUICK = ["a-1", "b-1", "c-1"]
SLOW = ["slow-1", "slow-2"]
SLOW_S = 2.0


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def finished(folder: Path = RESULTS) -> set[str]:
    """Return structures whose records are on disk."""
    found = {path.parent.name for path in folder.glob("campaign/runs/*/*/finished.npz")}
    for store in folder.glob("chunks/*/store.json"):
        found |= set(Store(store.parent).ids)
    return found


def wait_until(true, seconds=120.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    "victims",
    [
        "the job",
        pytest.param("all its processes", marks=pytest.mark.slow),
        pytest.param("a structure", marks=pytest.mark.slow),
    ],
)
def test_a_killed_job_loses_what_was_in_flight_and_nothing_else(victims):
    planned(*QUICK, *SLOW, cores=2)
    environment = {**os.environ, "FAKE_SLOW_S": "100"}
    job = subprocess.Popen(command("compute", "results", "00000", "--cores", 2), env=environment, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    processes = psutil.Process(job.pid)
    wait_until(lambda: job.poll() is not None or (set(calls()) == {*QUICK, *SLOW} and finished() == set(QUICK)))
    children = processes.children(recursive=True)
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    for process in {"the job": [processes], "all its processes": [*children, processes], "a structure": workers}[
        victims
    ]:
        process.kill()
    said, _ = job.communicate(timeout=60)
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    if victims == "a structure":
        assert "2 of 5 structures are not finished (2 killed, attempt 1 of 2 at most)" in said
    assert finished() == set(QUICK)
    Path("calls.txt").unlink()
    environment["FAKE_SLOW_S"] = "0"
    done = subprocess.run(command("compute", "results", "00000", "--cores", 2), env=environment, text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert "chunk 00000: 5 of 5 structures (2 computed now)" in done.stdout, done.stderr
    assert sorted(calls()) == SLOW
    assert CampaignFolder(RESULTS).receipt("00000").is_file()


@pytest.mark.slow
def test_a_workflow_killed_at_random_repeats_nothing_that_was_finished():
    """SIGKILL to Snakemake, to a job, to a worker or to everything at once ("the node"), until it is done."""
    seed = int(os.environ.get("KILL_SEED", str(random.randrange(10**6))))
    print("KILL_SEED", seed)  # noqa: T201
    chance = random.Random(seed)
    ids = [f"slow-{k:02d}" for k in range(30)]
    write_crystals(Path("crystals"), *ids)
    source = {"kind": "structures", "paths": ["crystals"], "chunk_size": 8}
    config = {"source": source, "campaign": {"cores": 2, "max_attempts": 100, "job_retries": 0}}
    Path("config.yaml").write_text(yaml.safe_dump(config))
    environment = with_made_up_engine()
    again: Counter[str] = Counter()
    for round_ in range(60):
        before, known = Counter(calls()), finished()
        last = round_ == 59
        rc, died = run_workflow(environment, None if last else chance)
        now = Counter(calls())
        again.update({id: now[id] - before[id] for id in known if now[id] > before[id]})
        if rc == 0 and not died:
            break
    assert rc == 0
    assert not again, f"computed although finished: {again} (KILL_SEED={seed})"
    assert sorted(Store("results/dataset").ids) == ids
    print("rounds", round_ + 1, "calls", sum(Counter(calls()).values()), "of", len(ids))  # noqa: T201
    assert sum(Counter(calls()).values()) > len(ids), "nothing was killed in flight: the test shows nothing"


def with_made_up_engine() -> dict[str, str]:
    """Return an environment whose nextham computes with the made-up engine."""
    Path("bin").mkdir(exist_ok=True)
    script = Path("bin/nextham")
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} good "$@"\n')
    script.chmod(0o755)
    path = os.pathsep.join([str(Path("bin").absolute()), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "FAKE_SLOW_S": str(SLOW_S)}


def run_workflow(environment: dict[str, str], chance: random.Random | None) -> tuple[int, str]:
    """Run the workflow and kill something at some time; return its status and what was killed."""
    profile = ROOT / "workflow" / "profiles" / "local"
    words = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--workflow-profile", str(profile)]
    process = subprocess.Popen([*words, "--cores", "4", "dataset_only"], env=environment, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    victim = ""
    if chance is not None:
        before, started = len(calls()), time.monotonic() + 120
        while process.poll() is None and len(calls()) == before and time.monotonic() < started:
            time.sleep(0.1)
        end = time.monotonic() + chance.uniform(0, 2 * SLOW_S)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        victim = chance.choice(["snakemake", "job", "worker", "node"]) if process.poll() is None else ""
        kill(process.pid, victim, chance)
    rc = process.wait(timeout=900)
    wait_until(lambda: not living(process.pid))  # jobs of a killed Snakemake end what they began
    return rc, victim


def living(session: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def kill(session: int, victim: str, chance: random.Random) -> None:
    processes = living(session)
    jobs = [p for p in processes if "compute" in command_of(p) and str(FAKE) in command_of(p)]
    workers = [p for p in processes if "spawn_main" in command_of(p)]
    chosen = {
        "snakemake": [p for p in processes if p.pid == session],
        "job": chance.sample(jobs, min(1, len(jobs))),
        "worker": chance.sample(workers, min(1, len(workers))),
        "node": processes,
        "": [],
    }[victim]
    for process in chosen:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue

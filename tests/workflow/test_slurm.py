"""The workflow on a real Slurm of one node that the test starts: plain, with a job that is cancelled, and killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from fake_engine import calls, write_crystals
from running_snakemake import ROOT

from nextham.data.store import Store

SCRIPT = Path(__file__).with_name("one_node_slurm.sh")
FAKE = ROOT / "tests" / "fake_engine.py"
PROFILE = ROOT / "workflow" / "profiles" / "slurm"
IDS = [f"slow-{k}" for k in range(6)]

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A Slurm whose only node is this machine."""
    missing = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(name)]
    if missing or os.getuid() != 0:
        pytest.skip(f"needs root and Debian's slurmctld, slurmd, slurm-client and munge ({missing} missing)")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([SCRIPT, "start", folder], capture_output=True, text=True, check=False)
    if started.returncode == 2:
        pytest.skip(started.stderr)
    assert started.returncode == 0, started.stderr
    yield folder
    subprocess.run([SCRIPT, "stop", folder], check=False)


@pytest.fixture
def campaign(slurm, tmp_path, monkeypatch):
    """Return what starts the workflow to the dataset on Slurm."""
    monkeypatch.chdir(tmp_path)
    script = Path("bin/nextham")
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} good "$@"\n')
    script.chmod(0o755)
    write_crystals(Path("crystals"), *IDS)
    source = {"kind": "structures", "paths": ["crystals"], "chunk_size": 3}
    campaign = {"cores": 1, "max_attempts": 9}
    Path("config.yaml").write_text(yaml.safe_dump({"source": source, "campaign": campaign}))
    bin_ = os.pathsep.join([str(script.parent.absolute()), str(Path(sys.executable).parent)])
    env = {**os.environ, "PATH": os.pathsep.join([bin_, os.environ["PATH"]]), "FAKE_SLOW_S": "4"}
    words = [sys.executable, "-m", "snakemake", "dataset_only"]
    words += ["-s", ROOT / "Snakefile", "--workflow-profile", PROFILE]
    words += ["--slurm-status-command", "squeue", "--slurm-no-account", "--seconds-between-status-checks", "3"]
    words += ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"]
    words += ["--default-resources", "mem_mb=500", "runtime=30", "cpus_per_task=1", "slurm_partition=main"]

    def start() -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(list(map(str, words)), env=env, stdout=pipe, stderr=subprocess.STDOUT, text=True)

    return start


def good(process):
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    assert sorted(Store("results/dataset").ids) == IDS
    return said


def jobs(state):
    done = subprocess.run(["squeue", "-h", "-t", state, "-o", "%A %k"], capture_output=True, text=True, check=True)
    return [line.split(maxsplit=1) for line in done.stdout.splitlines() if "chunk" in line]


def wait_for(true, seconds=300.0):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


def finished():
    found = {path.parent.name for path in Path("results").glob("campaign/runs/*/*/finished.npz")}
    for store in Path("results").glob("chunks/*/store.json"):
        found |= set(Store(store.parent).ids)
    return found


def test_the_workflow_through_slurm(campaign):
    said = good(campaign())
    assert "rule chunk:" in said
    assert sorted(calls()) == IDS


def test_a_cancelled_job_is_submitted_again_and_repeats_nothing_finished(campaign):
    process = campaign()
    wait_for(finished)
    ((job, _), *_) = wait_for(lambda: jobs("RUNNING"))
    known, before = finished(), Counter(calls())
    subprocess.run(["scancel", job], check=True)
    said = good(process)
    assert "Trying to restart job" in said
    after = Counter(calls())
    assert not [id for id in known if after[id] > before[id]]
    assert sum(after.values()) <= len(IDS) + 1


def test_jobs_whose_workflow_is_killed_end_by_themselves_and_a_new_one_goes_on(campaign):
    process = campaign()
    wait_for(finished)
    process.send_signal(signal.SIGKILL)
    process.wait()
    good(campaign())  # waits for the job that still runs, and takes over what it finished
    assert sorted(calls()) == IDS

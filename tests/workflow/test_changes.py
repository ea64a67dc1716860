"""What the workflow does again when something changed under it, and what it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from fake_engine import calls, write_crystals
from running_snakemake import ROOT, snakemake

from nextham.data.store import Store

FAKE = ROOT / "tests" / "fake_engine.py"
IDS = ["a", "b", "c", "d"]


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    """Return what runs the workflow to the dataset with a made-up engine."""
    monkeypatch.chdir(tmp_path)
    script = Path("bin/nextham")
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} good "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("NEXTHAM_BIN", str(script.parent.absolute()))
    write_crystals(Path("crystals"), *IDS)
    configure()

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        done = snakemake(tmp_path, "--cores", "2", "dataset_only", *words)
        done.stdout += done.stderr
        return done

    return run


def configure(**changes):
    source = {"kind": "structures", "paths": ["crystals"], "chunk_size": 2}
    Path("config.yaml").write_text(yaml.safe_dump({"source": source, "campaign": {"cores": 1}, **changes}))


def good(done):
    assert done.returncode == 0, done.stdout
    return done.stdout


def idle(done):
    return "nothing to be done" in good(done).lower()


def test_clocks_that_are_ahead_cost_no_work_and_other_recipes_are_refused(campaign):
    good(campaign())
    assert sorted(calls()) == IDS
    assert idle(campaign("-n"))
    future = time.time() + 10**6
    for path in [*Path("crystals").iterdir(), *Path("results").rglob("*"), Path("results/dataset")]:
        os.utime(path, (future, future))
    said = good(campaign())
    assert "files of results were from the future" in said
    assert sorted(calls()) == IDS
    assert idle(campaign("-n"))
    assert idle(campaign())
    configure(lcao={"ecutwfc_ry": 50})
    refused = campaign("-n")
    assert refused.returncode != 0
    assert (
        "results holds 2 chunks that were computed otherwise: lcao.ecutwfc_ry was 100.0 and is now 50.0"
        in refused.stdout
    )


@pytest.mark.slow
def test_only_what_a_change_concerns_is_done_again(campaign):
    good(campaign())
    configure(lcao={"scf_nmax": 99}, campaign={"cores": 2, "max_attempts": 5})  # no number follows from these
    good(campaign())
    configure(split={"seed": 5})
    said = good(campaign())
    assert "rule split" in said
    assert "rule chunk" not in said
    write_crystals(Path("crystals"), *IDS, "e", "f")
    said = good(campaign())
    assert said.count("rule chunk:") == 1
    assert sorted(calls()) == [*IDS, "e", "f"]
    assert sorted(Store("results/dataset").ids) == [*IDS, "e", "f"]
    Path("crystals/b.vasp").unlink()
    good(campaign())
    assert sorted(Store("results/dataset").ids) == ["a", "c", "d", "e", "f"]
    assert len(calls()) == 6
    shutil.rmtree(".snakemake")  # what Snakemake knows of its own
    good(campaign())
    assert len(calls()) == 6


@pytest.mark.slow
def test_two_workflows_in_one_results_folder(campaign, tmp_path):
    write_crystals(Path("crystals"), *(f"slow-{k}" for k in range(8)))
    os.environ["FAKE_SLOW_S"] = "3"
    path = f"{os.environ['NEXTHAM_BIN']}{os.pathsep}{os.environ['PATH']}"
    words = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1", "dataset_only"]
    first = subprocess.Popen(words, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy("config.yaml", other)
    for name in ("crystals", "results"):
        (other / name).symlink_to(tmp_path / name)
    while not Path("results/campaign/lock.json").is_file():
        time.sleep(0.1)
    refused = snakemake(other, "--cores", "1", "dataset_only")
    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert f"the campaign in results is in use by process {first.pid} on " in said
    assert "wait for it or end it, then start again (its lock is results/campaign/lock.json)" in said
    first.kill()
    first.wait()
    done = snakemake(other, "--cores", "2", "dataset_only")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert f"the campaign in results was left locked by process {first.pid} on " in said
    assert len(Store("results/dataset")) == 8 + len(IDS)

"""A campaign of the ABACUS on PATH through the workflow, killed at random, against the embedded engine.

    python bench/killed_campaign.py FOLDER --kills 5 --seed 0

Six crystals of two atoms with the species that ship, in chunks of three. At random moments one of the workflow, a
job, a worker, an ABACUS or all of them is killed with SIGKILL, and the workflow is started again wherever it ended.
Then the embedded engine computes the same crystals without an interruption. Printed are what was killed, what was
computed how often, how far the matrices of the two engines are apart, and the processor time of both. The command
fails if a structure is missing, or was started again after it had finished. FOLDER must not exist.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil

from nextham.data.store import Store

ROOT = Path(__file__).parents[1]
RECIPE = {"ecutwfc_ry": 50, "kspacing_inv_bohr": 0.5}
PROTOTYPES = {"A4": {"Si": 5.431}, "B3": {"BN": 3.616, "AlP": 5.463}, "B1": {"MgO": 4.212, "NaF": 4.634, "PbTe": 6.462}}
NEXTHAM = [sys.executable, "-c", "from nextham.cli import main; main()"]
SNAKEMAKE = [sys.executable, "-m", "snakemake", "dataset_only", "-s", str(ROOT / "Snakefile"), "--cores", "2"]
PROFILE = ["--workflow-profile", str(ROOT / "workflow" / "profiles" / "local")]
TARGETS = ("workflow", "job", "worker", "abacus", "all of them")
COUNTED = """#!{python}
import json, os, resource, subprocess, sys

def note(**facts):
    *_, id, task = os.getcwd().split("/")
    with open({log!r}, "a") as file:
        file.write(json.dumps({{"id": id, "task": task, **facts}}) + "\\n")

if "--version" in sys.argv:
    os.execv({abacus!r}, ["abacus", "--version"])
note(event="start")
code = subprocess.call([{abacus!r}, *sys.argv[1:]])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
note(event="end", code=code, cpu_s=used.ru_utime + used.ru_stime)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def prepare() -> None:
    """Write crystals, config and an ABACUS that notes its starts and its ends."""
    abacus = shutil.which("abacus")
    if abacus is None:
        raise SystemExit("there is no abacus on PATH")
    counted = Path("counted-abacus")
    counted.write_text(COUNTED.format(python=sys.executable, log=str(Path("runs.jsonl").absolute()), abacus=abacus))
    counted.chmod(0o755)
    settings = json.dumps({"prototypes": PROTOTYPES, "perturbed": 0})
    subprocess.run([*NEXTHAM, "generate", "--settings", settings, "-o", "crystals.extxyz"], check=True)
    config = {
        "source": {"kind": "structures", "paths": ["crystals.extxyz"], "chunk_size": 3},
        "engine": "abacus",
        "species": {"source": "embedded"},
        "abacus": {**RECIPE, "command": str(counted.absolute())},
        "campaign": {"cores": 1, "max_attempts": 9},
        "split": {"fractions": {"train": 0.5, "val": 0.25, "test": 0.25}},
    }
    Path("config.yaml").write_text(json.dumps(config, indent=1))


def runs(event: str, task: str = "") -> list[dict[str, object]]:
    """Return what ABACUS noted: its starts or its ends, of one task or all."""
    log = Path("runs.jsonl")
    lines = log.read_text().splitlines() if log.exists() else []
    return [run for run in map(json.loads, lines) if run["event"] == event and run["task"].endswith(task)]


def scf_starts() -> Counter[object]:
    """Return how often the SCF of each structure was started."""
    return Counter(run["id"] for run in runs("start", "scf"))


def finished() -> set[str]:
    """Return structures whose record is on the disk."""
    found = {path.parent.name for path in Path("results").glob("campaign/runs/*/*/finished.npz")}
    return found.union(*(Store(path.parent).ids for path in Path("results").glob("chunks/*/store.json")))


def below(workflow: subprocess.Popen[bytes]) -> dict[str, list[psutil.Process]]:
    """Return the living processes that there are to kill."""
    root = psutil.Process(workflow.pid)
    living = [root, *root.children(recursive=True)]
    found: dict[str, list[psutil.Process]] = {name: [] for name in TARGETS}
    for process in living:
        with contextlib.suppress(psutil.NoSuchProcess):
            if kind := kind_of(process.name(), " ".join(process.cmdline())):
                found[kind].append(process)
    return {**found, "workflow": [root], "all of them": living}


def kind_of(name: str, words: str) -> str:
    """Return what a process of the workflow is, as far as it is a target of its own."""
    if name == "abacus":
        return "abacus"
    if "spawn_main" in words:
        return "worker"
    return "job" if "campaign compute" in words and name != "bash" else ""


def start(number: int) -> subprocess.Popen[bytes]:
    """Start the workflow."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with Path(f"workflow-{number}.log").open("wb") as log:
        return subprocess.Popen([*SNAKEMAKE, *PROFILE], stdout=log, stderr=log, env={**os.environ, "PATH": path})


def killed_campaign(kills: int, pause_s: float, rng: random.Random) -> int:
    """Run the campaign to its end, killing; return how often the workflow was started."""
    known: dict[str, int] = {}  # of each structure, its SCFs when it was first seen finished
    print("| s | killed | processes | structures finished |\n| --- | --- | --- | --- |")
    began, left, number = time.monotonic(), kills, 1
    workflow, moment = start(1), time.monotonic() + rng.uniform(0.5, 1.5) * pause_s
    while workflow.poll() != 0:
        if workflow.poll() is not None:
            number += 1
            if number > 3 + kills:
                raise SystemExit(f"the workflow failed {number - 1} times; see workflow-{number - 1}.log")
            workflow = start(number)
        known = {**{id: scf_starts()[id] for id in finished()}, **known}
        if left and time.monotonic() > moment and (living := below(workflow))["abacus"]:
            what = rng.choice([name for name in TARGETS if living[name]])
            chosen = living[what] if what == "all of them" else [rng.choice(living[what])]
            for process in chosen:
                process.kill()
            left, moment = left - 1, time.monotonic() + rng.uniform(0.5, 1.5) * pause_s
            print(f"| {time.monotonic() - began:.0f} | {what} | {len(chosen)} | {len(finished())} |", flush=True)
        time.sleep(0.5)
    again = {id: n for id, n in scf_starts().items() if id in known and n > known[str(id)]}
    if left or again:
        raise SystemExit(f"the campaign ended with {left} kills left; started again after they had finished: {again}")
    return number


def compare(starts: Counter[object]) -> None:
    """Print how far the engines are apart, and fail if a structure is missing."""
    store, own = Store("results/dataset"), Store("embedded")
    if sorted(store.ids) != sorted(own.ids):
        raise SystemExit(f"the dataset holds {sorted(store.ids)}, not {sorted(own.ids)}")
    print("\n| structure | SCFs started | ended | max ΔS | max ΔH0 (eV) | max ΔH (eV) |\n" + "| --- " * 6 + "|")
    ended = Counter(run["id"] for run in runs("end", "scf") if run["code"] == 0)
    for id in sorted(store.ids):
        a, b = store[id].on(own[id].pairs), own[id]
        names = ("overlap", "h0", "hamiltonian")
        far = [float(np.abs((a.operator(name) - b.operator(name)).values).max()) for name in names]
        print(f"| {id} | {starts[id]} | {ended[id]} | " + " | ".join(f"{x:.1e}" for x in far) + " |")


def main() -> None:
    """Run, kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--pause", type=float, default=60.0, help="mean time between two kills, s")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    chosen.folder.mkdir()
    os.chdir(chosen.folder)
    prepare()
    started = killed_campaign(chosen.kills, chosen.pause, random.Random(chosen.seed))  # noqa: S311
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    scf = ["scf", "crystals.extxyz", "-o", "embedded", "--settings", json.dumps({"lcao": RECIPE})]
    subprocess.run([*NEXTHAM, *scf], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    compare(scf_starts())
    n = len(Store("embedded"))
    cpu = sum(float(str(run["cpu_s"])) for run in runs("end") if run["code"] == 0) / n
    own = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / n
    version = Store("results/dataset").provenance(Store("embedded").ids[0]).engine_version
    print(f"\nABACUS {version}; the workflow was started {started} times")
    print(f"processor time of a structure, H0 and SCF: ABACUS {cpu:.1f} s, embedded engine {own:.1f} s")


if __name__ == "__main__":
    main()

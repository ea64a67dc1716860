"""Time and memory that the workflow takes to plan a campaign, against its size.

    python bench/dag.py 1000 4000 17000 --plot dag.png

Structures are POSCAR files in a folder, one each, which is the dearest source. For each number: the dry run before
there is a plan, the plan itself (every file is read, once), the same plan again (no file has changed: none is read),
the dry run of all jobs, and the dry run where each structure is a job of its own. Memory is the largest of the
process and its children together.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import yaml

from nextham.testing import zincblende

ROOT = Path(__file__).parents[1]
Row = tuple[str, int, float, float, float]  # step, jobs, wall time (s), processor time (s), memory (GB)
STEPS = ("dry run, no plan", "plan", "plan again", "dry run", "dry run, one structure a job")


def write_structures(folder: Path, n: int) -> None:
    """Write n crystals of 2 to 16 atoms."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for k in range(n):
        crystal, copies = zincblende(), 1 + k % 8
        cell = crystal.cell * [[copies], [1], [1]]
        sites = np.concatenate([crystal.fractional + np.array([i, 0, 0]) for i in range(copies)]) / [copies, 1, 1]
        order = np.argsort(np.tile(crystal.numbers, copies), kind="stable")
        rows = [" ".join(f"{x:.8f}" for x in row) for row in cell]
        places = [" ".join(f"{x:.8f}" for x in row) for row in sites[order] + rng.normal(0, 0.002, sites.shape)]
        text = ["x", "1", *rows, "Ga As", f"{copies} {copies}", "Direct", *places]
        (folder / f"s{k:06d}.vasp").write_text("\n".join(text) + "\n")


def measured(words: list[str], cwd: Path) -> tuple[float, float, float, str]:
    """Run a command; return wall time (s), processor time (s), memory (GB) and what it printed."""
    peak, start, before = 0, time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(process.stdout.read() if process.stdout else ""))
    reader.start()
    root = psutil.Process(process.pid)
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            peak = max(peak, sum(p.memory_info().rss for p in [root, *root.children(recursive=True)]))
        time.sleep(0.05)
    reader.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{''.join(said)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu, peak / 1e9, "".join(said)


def rows(n: int, folder: Path) -> list[Row]:
    """Return what each step takes for n structures."""
    write_structures(folder / "crystals", n)
    snakemake = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "--cores", "2"]
    plan = [sys.executable, "-c", "from nextham.cli import main; main()", "campaign", "plan", "results"]
    found = []
    for step in STEPS:
        most = 1 if step.endswith("job") else 512
        source = {"kind": "structures", "paths": ["crystals"], "chunk_size": most}
        (folder / "config.yaml").write_text(yaml.safe_dump({"source": source}))
        if step.endswith("job"):
            measured([*plan, "--config", "config.yaml"], folder)
        if step.startswith("plan"):
            words = [*plan, "--config", "config.yaml"]
        else:
            words = [*snakemake, "dataset_only", "-q", "rules"]
        seconds, cpu, memory, said = measured(words, folder)
        if step == "plan again":
            (folder / "results" / "campaign" / "planned").touch()
        jobs = re.findall(r"^total +(\d+)", said, re.M)
        found.append((step, int(jobs[-1]) if jobs else 0, seconds, cpu, memory))
    return found


def plot(table: dict[int, list[Row]], path: Path) -> None:
    """Draw time and memory against the number of structures."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    for k, step in enumerate(STEPS):
        for axis, column in zip(axes, (3, 4), strict=True):
            axis.plot(list(table), [lines[k][column] for lines in table.values()], "o-", label=step)
    for axis, label, limit in zip(axes, ("processor seconds", "GB"), (60, 4), strict=True):
        axis.axhline(limit, color="0.6", linestyle=":")
        axis.set(xlabel="structures", ylabel=label, xscale="log", yscale="log")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print a table, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", type=int, default=[1000, 4000, 17000])
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    table = {}
    print("| structures | step | jobs | s | processor s | GB |\n| --- | --- | --- | --- | --- | --- |")
    for n in chosen.numbers:
        with tempfile.TemporaryDirectory() as folder:
            table[n] = rows(n, Path(folder))
        for step, jobs, seconds, cpu, memory in table[n]:
            print(f"| {n} | {step} | {jobs or ''} | {seconds:.1f} | {cpu:.1f} | {memory:.2f} |", flush=True)
    if chosen.plot:
        plot(table, chosen.plot)


if __name__ == "__main__":
    main()

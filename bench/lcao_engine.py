"""Time, memory and errors of the embedded engine: recorded ABACUS runs, and H0 of growing supercells.

    OMP_NUM_THREADS=1 python bench/lcao_engine.py runs PPORB RUNS...      # case folders or archives
    OMP_NUM_THREADS=1 python bench/lcao_engine.py supercells PPORB RUN    # 2 to 200 atoms, H0 only
    OMP_NUM_THREADS=1 python bench/lcao_engine.py limit                   # what this machine can do

PPORB holds pseudo/ and orbital/. Times are user CPU and wall seconds within the process, without imports; the first
case also fills the cache of tables.
"""

import os
import re
import resource
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from nextham.core import SpinLayout, Structure
from nextham.dft.abacus.reader import read_run
from nextham.dft.engine import RunResult
from nextham.dft.lcao.engine import LCAOEngine
from nextham.dft.lcao.settings import LCAOSettings
from nextham.physics.spin import narrowed
from nextham.units import RYDBERG_EV


def orbital_files(case: Path) -> dict[str, str]:
    """Element to .orb file of a recorded run."""
    if case.is_dir():
        text = next(case.glob("*scf/STRU")).read_text()
    else:
        with tarfile.open(case) as archive:
            text = archive.extractfile(next(m for m in archive if m.name.endswith("scf/STRU"))).read().decode()
    return {name.split("_")[0]: name for name in re.findall(r"\S+\.orb", text)}


def engine(pporb: str, case: Path, **more) -> LCAOEngine:
    """Return an engine with the species of a recorded run."""
    return LCAOEngine(
        LCAOSettings(pseudo_dir=f"{pporb}/pseudo", orbital_dir=f"{pporb}/orbital", orbitals=orbital_files(case), **more)
    )


def timed(run, structure: Structure, id: str) -> tuple[RunResult, float, float]:
    """Return a result with its CPU and wall seconds."""
    with tempfile.TemporaryDirectory() as folder:
        cpu, wall = time.process_time(), time.perf_counter()
        result = run(structure, id=id, folder=Path(folder))
        return result, time.process_time() - cpu, time.perf_counter() - wall


def error(one: RunResult, two: RunResult, operator: str) -> str:
    """Return max and mean |difference| over every element of every block, Ry (S: 1)."""
    pairs = one.system.pairs.union(two.system.pairs)
    a, b = (r.system.operator(operator).on(pairs).values for r in (one, two))
    if operator != "overlap":
        a, b = (narrowed(v, SpinLayout.TIME_REVERSAL)[0] / RYDBERG_EV for v in (a, b))
    return f"{np.abs(a - b).max():.1e} {np.abs(a - b).mean():.1e}"


def peak_mb() -> float:
    """Return the largest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def runs(pporb: str, *cases: str) -> None:
    """Print errors against recorded runs, and times."""
    print(
        "case         atoms  S max mean       H0 max mean      H max mean       steps  H0 cpu wall   SCF cpu wall   MB"
    )
    for case in map(Path, cases):
        id = case.name.removeprefix("case-").removesuffix(".tar.xz")
        recorded = read_run(case, id=id)
        made = engine(pporb, case, kmesh=recorded.system.meta[0].kmesh)
        structure = recorded.system.structure()
        _, *h0 = timed(made.h0, structure, id)
        result, *scf = timed(made.scf, structure, id)
        errors = "  ".join(error(recorded, result, o) for o in ("overlap", "h0", "hamiltonian"))
        steps = result.system.meta[0].scf_steps
        times = f"{h0[0]:6.2f} {h0[1]:6.2f}  {scf[0]:6.2f} {scf[1]:6.2f}"
        print(f"{id:12s} {len(structure):4d}  {errors}  {steps:4d}  {times}  {peak_mb():6.0f}", flush=True)


def supercells(pporb: str, case: str) -> None:
    """Print time and memory of H0 of growing supercells."""
    crystal = read_run(Path(case), id="cell").system.structure()
    made = engine(pporb, Path(case), max_memory_gb=64.0)
    print("atoms  H0 cpu   wall  cpu/atom  peak MB")
    for n in ((1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (3, 2, 2), (3, 3, 3), (4, 3, 3), (4, 4, 4), (5, 5, 4)):
        corners = np.array(list(np.ndindex(*n)))
        positions = (corners @ crystal.cell)[:, None] + crystal.positions
        cell = Structure(
            np.tile(crystal.numbers, len(corners)), positions.reshape(-1, 3), crystal.cell * np.array(n)[:, None]
        )
        _, cpu, wall = timed(made.h0, cell, "x".join(map(str, n)))
        print(f"{len(cell):5d}  {cpu:6.2f} {wall:6.2f}  {cpu / len(cell):8.3f}  {peak_mb():7.0f}", flush=True)


def limit() -> None:
    """Print the speed of the matrix products and eigenproblems that the engine is made of."""
    for dtype in (torch.float64, torch.float32):
        a, b = torch.rand(96, 500, dtype=dtype), torch.rand(400, 500, dtype=dtype)
        start = time.perf_counter()
        for _ in range(200):
            a @ b.T
        print(
            f"products of a tile, {dtype}: {200 * 2 * a.numel() * 400 / (time.perf_counter() - start) / 1e9:.0f} GF/s"
        )
    for n in (50, 100, 200, 400):
        h = torch.rand(4, n, n, dtype=torch.complex128)
        start = time.perf_counter()
        torch.linalg.eigh(h + h.mH)
        print(f"eigenproblem of {n} spin orbitals: {(time.perf_counter() - start) / 4 * 1e3:.1f} ms")


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    {"runs": runs, "supercells": supercells, "limit": limit}[sys.argv[1]](*sys.argv[2:])

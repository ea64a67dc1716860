"""Scoring: real-space metrics beside reading the data once, levels beside the time in LAPACK, and beside pyatb.

pytest bench/bench_score.py     times, grouped so that the ratio stands in one table
python bench/bench_score.py     the ratios of CPU time, from interleaved repeats (for busy machines)

The data are the recorded ABACUS runs of the repository and supercells of two of them. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from nextham_bench.measure import measured
from nextham_bench.metrics.levels import solved
from nextham_bench.pyatb_process import check_pyatb, spectra
from nextham_bench.score import Request, score
from nextham_bench.sources import StoreSource, verified

from nextham.core import BlockMatrix, LCAOSystem
from nextham.data.record import encode
from nextham.data.settings import StoreSettings
from nextham.data.store import Store, StoreWriter
from nextham.dft.abacus.reader import read_run
from nextham.exceptions import InputError
from nextham.physics.bands import eigenproblem, monkhorst_pack, shared_levels
from nextham.physics.symmetry import supercell

RUNS = Path(__file__).parent.parent / "examples" / "abacus-runs"
COPIES = 8
CELLS = {"AlP-zb-1": (1, 1, 1), "BaTe-rs-1": (1, 1, 1), "NaCl-rs-1": (2, 1, 1), "MgO-rs-1": (2, 2, 1)}


@cache
def system(name: str) -> LCAOSystem:
    """Return a recorded run as a store holds it: printed digits that are noise make no Pauli component."""
    run = read_run(RUNS / f"case-{name}.tar.xz", id=name).system
    return encode(run, StoreSettings()).system()


@cache
def cell(name: str) -> LCAOSystem:
    """Return the cell of it whose levels are solved."""
    one = system(name)
    if CELLS[name] == (1, 1, 1):
        return one
    large = supercell(one, CELLS[name])
    n_electrons = one.meta[0].n_electrons
    assert n_electrons is not None
    return large.with_meta(n_electrons=n_electrons * int(np.prod(CELLS[name])), id=f"{name}-large")


def guess(one: LCAOSystem) -> BlockMatrix:
    """Return a prediction with a tenth of H0's error."""
    return one.operator("h0") + 0.9 * one.correction


@contextmanager
def stores(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Write the recorded runs some times over, and corrections of them."""
    reference, prediction = folder / "reference", folder / "prediction"
    with StoreWriter(reference) as mine, StoreWriter(prediction) as theirs:
        for path in sorted(RUNS.glob("case-*.tar.xz")):
            one = system(path.name.removeprefix("case-").removesuffix(".tar.xz"))
            for copy in range(COPIES):
                moved = one.with_meta(id=f"{one.ids[0]}-{copy}")
                mine.add(moved)
                theirs.add(moved.without("overlap", "h0", "hamiltonian"), correction=0.9 * moved.correction)
    yield reference, prediction


def read(reference: Path, prediction: Path) -> None:
    """Read every number once: S, H0 and H of the reference, the corrections of the prediction."""
    mine, theirs = Store(reference), Store(prediction)
    for id in mine.ids:
        mine.read(id)
        theirs.correction(id)


def measure(reference: Path, prediction: Path) -> None:
    """Read, verify checksums and measure every matrix element."""
    mine, source = Store(reference), StoreSource(Store(prediction))
    for id in mine.ids:
        one = verified(mine, id).system()
        measured(one, source.predicted(one), bands=False)


def command(reference: Path, prediction: Path) -> None:
    """Do all that ``nextham-bench score --no-bands`` does."""
    score(Request(reference=reference, prediction=prediction, bands=False))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The two stores."""
    with stores(tmp_path_factory.mktemp("score")) as paths:
        yield paths


@pytest.mark.benchmark(group="matrix elements")
@pytest.mark.parametrize("what", [read, measure, command])
def test_matrix_elements(benchmark, written, what):
    """All structures; measuring takes at most twice as long as reading."""
    benchmark.pedantic(what, args=written, rounds=3, warmup_rounds=1)


def levels(one: LCAOSystem) -> None:
    """Do all that the band metrics of one structure take."""
    measured(one, guess(one))


@pytest.mark.benchmark(group="levels")
@pytest.mark.parametrize("name", CELLS)
def test_levels(benchmark, name):
    """All metrics of one structure, levels included."""
    benchmark.pedantic(levels, args=(cell(name),), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="H, H0 and P on a mesh of 64 k")
@pytest.mark.parametrize("how", ["together", "one by one", "pyatb"])
def test_three_hamiltonians(benchmark, how):
    """The same levels: of three Hamiltonians that share S, each alone, and by pyatb (with the start of its process)."""
    one, k = cell("BaTe-rs-1"), monkhorst_pack((4, 4, 4))
    three = {"h0": one.operator("h0"), "h": one.operator("hamiltonian"), "p": guess(one)}
    if how == "pyatb":
        try:
            check_pyatb()
        except InputError as error:
            pytest.skip(str(error))
    calls: dict[str, Callable[[], Any]] = {
        "together": lambda: shared_levels(one, list(three.values()), k),
        "one by one": lambda: [eigenproblem(one.with_operator("hamiltonian", m.values), k) for m in three.values()],
        "pyatb": lambda: spectra(one, three, k),
    }
    benchmark.pedantic(calls[how], rounds=3, warmup_rounds=1)


def in_turn(calls: list[Callable[[], Any]], *, repeats: int = 5) -> list[float]:
    """Return the shortest CPU time (s) of each of some calls, taken in turn."""
    best = [float("inf")] * len(calls)
    for _ in range(repeats):
        for number, call in enumerate(calls):
            start = time.process_time()
            call()
            best[number] = min(best[number], time.process_time() - start)
    return best


@contextmanager
def lapack() -> Iterator[list[float]]:
    """Add up the CPU time in numpy's eigenvalue routines."""
    spent, plain = [0.0], {name: getattr(np.linalg, name) for name in ("eigh", "eigvalsh")}

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            found = function(*args, **kwargs)
            spent[0] += time.process_time() - start
            return found

        return call

    for name, function in plain.items():
        setattr(np.linalg, name, timed(function))
    try:
        yield spent
    finally:
        for name, function in plain.items():
            setattr(np.linalg, name, function)


def share_of_lapack(one: LCAOSystem, *, repeats: int = 5) -> tuple[float, float, float]:
    """Return the CPU time (s) of the band metrics of a structure, and the shares in LAPACK: all, levels alone."""
    found = []
    whole = {"h0": one.operator("h0"), "model": guess(one)}
    for _ in range(repeats):
        with lapack() as spent:
            start = time.process_time()
            measured(one, whole["model"])
            total = time.process_time() - start
            measured_share = spent[0] / total
            spent[0] = 0.0
            start = time.process_time()
            solved(one, whole)
            found.append((total, measured_share, spent[0] / (time.process_time() - start)))
    return min(found)


def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as folder, stores(Path(folder)) as paths:
        reading, measuring, all_of_it = in_turn([lambda f=f: f(*paths) for f in (read, measure, command)])
        n = len(Store(paths[0]))
    print(f"{n} structures, matrix elements: read {reading:.2f} s")
    for what, seconds in (("measured", measuring), ("whole command", all_of_it)):
        print(f"  {what} {seconds:.2f} s, {seconds / reading:.2f} times reading")
    for name in CELLS:
        one = cell(name)
        seconds, share, alone = share_of_lapack(one)
        print(
            f"{one.ids[0]}, {len(one.numbers)} atoms, {2 * int(one.n_orb.sum())} levels: {seconds:.2f} s, "
            f"in LAPACK {100 * share:.0f} % of all metrics, {100 * alone:.0f} % of the levels"
        )
    beside_pyatb()


def beside_pyatb() -> None:
    """Print the time of one Hamiltonian's levels beside pyatb's, without the start of its process."""
    try:
        check_pyatb()
    except InputError as error:
        print(error)
        return
    one, few, many = cell("BaTe-rs-1"), monkhorst_pack((2, 1, 1)), monkhorst_pack((8, 8, 4))
    h = {"h": one.operator("hamiltonian")}

    def cpu_of_child(k: np.ndarray) -> float:
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        spectra(one, h, k)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime

    (ours,) = in_turn([lambda: eigenproblem(one, many)], repeats=3)
    theirs = min(cpu_of_child(many) for _ in range(3)) - min(cpu_of_child(few) for _ in range(3))
    n_k = len(many) - len(few)
    print(f"{one.ids[0]}, levels at {n_k} k: ours {ours:.2f} s, pyatb {theirs:.2f} s ({theirs / ours:.1f} x)")


if __name__ == "__main__":
    sys.exit(main())

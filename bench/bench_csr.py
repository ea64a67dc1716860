"""Reading ABACUS: our reader beside a plain one, line by line with a scipy matrix per R, on the same files.

pytest bench/bench_csr.py     times, grouped so that the ratio stands in one table
python bench/bench_csr.py     the ratios of CPU and wall time, from interleaved repeats (for busy machines)

The plain side of a run parses H0, H and S and does no more; ours parses them and the logs, checks and writes a store to
disk. A store costs some tens of milliseconds of its own, so that importing one run alone and one run of several into a
store are told apart. Set OMP_NUM_THREADS=1 for CPU times that do not count waiting threads, and NEXTHAM_RUNS to a
folder of unpacked cases for more than the example.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "dft" / "abacus"))
from abacus_files import plain_read, unpacked

from nextham.data.checks import certify
from nextham.data.store import StoreWriter
from nextham.dft.abacus.csr import CsrFile
from nextham.dft.abacus.reader import read_run

CASE = "AlSb-zb-1"
FILES = (
    "abacus_geths/OUT.ABACUS/data-HR-sparse_SPIN0.csr",
    "abacus_scf/OUT.ABACUS/data-HR-sparse_SPIN0.csr",
    "abacus_scf/OUT.ABACUS/data-SR-sparse_SPIN0.csr",
)
MANY = 8


def ours(path: Path) -> int:
    """Read every block of a file."""
    return sum(len(block.values) for block in CsrFile(path))


def plain(path: Path) -> int:
    """Read every block of a file, token by token."""
    return sum(matrix.nnz for matrix in plain_read(path)[1].values())


def read(case: Path) -> None:
    """Parse H0, H and S, log and STRU into hopping blocks; check files against each other."""
    read_run(case)


def imported(case: Path, folder: Path, *, times: int = 1) -> None:
    """Parse, check and write a run to a new store in a folder; several times over under other ids."""
    with StoreWriter(Path(tempfile.mkdtemp(dir=folder)) / "store") as writer:
        for k in range(times):
            result = read_run(case, id=f"{case.name}-{k}")
            writer.add(result.system, certificate=certify(result.system, levels=result.levels))


def plain_import(case: Path) -> None:
    """Parse H0, H and S into scipy matrices, and no more."""
    for name in FILES:
        plain(case / name)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded run, unpacked."""
    return unpacked(CASE, tmp_path_factory.mktemp("case"))


@pytest.mark.benchmark(group="one H(R) file")
@pytest.mark.parametrize("reader", [ours, plain])
def test_file(benchmark, case, reader):
    """One file of H(R)."""
    assert benchmark(reader, case / FILES[1]) > 10**5


@pytest.mark.benchmark(group="one run")
@pytest.mark.parametrize("reader", [read, plain_import])
def test_run(benchmark, case, reader):
    """All matrices of a run."""
    benchmark(reader, case)


@pytest.mark.benchmark(group="one run")
def test_import(benchmark, case, tmp_path):
    """A run into a store."""
    benchmark(imported, case, tmp_path)


def interleaved(a: Callable[[], object], b: Callable[[], object], *, repeats: int = 7) -> list[list[float]]:
    """Return the shortest CPU and wall time of each of two calls, taken in turn."""
    best = [[float("inf")] * 2 for _ in range(2)]
    for _ in range(repeats):
        for k, call in enumerate((a, b)):
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            best[k] = [min(old, new) for old, new in zip(best[k], spent, strict=True)]
    return best


def main() -> None:
    """Print the ratios."""
    runs = os.environ.get("NEXTHAM_RUNS")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cases = sorted(Path(runs).glob("case-*/")) if runs else [unpacked(CASE, folder)]
        imported(cases[0], folder)  # compiled loops and modules are loaded once
        for case in cases:
            compare(case, folder)


def compare(case: Path, folder: Path) -> None:
    """Print the ratios of one run."""
    h, s = case / FILES[1], case / FILES[2]
    rows = {
        "H(R)": (lambda: ours(h), lambda: plain(h), 1),
        "S(R)": (lambda: ours(s), lambda: plain(s), 1),
        "run, read": (lambda: read(case), lambda: plain_import(case), 1),
        "run, imported alone": (lambda: imported(case, folder), lambda: plain_import(case), 1),
        f"run, one of {MANY}": (lambda: imported(case, folder, times=MANY), lambda: plain_import(case), MANY),
    }
    for name, (a, b, times) in rows.items():
        fast, slow = interleaved(a, b)
        text = "  ".join(
            f"{kind} {1e3 * one / times:6.1f} ms, plain {1e3 * two:6.1f} ms, ratio {two / one * times:4.1f}"
            for kind, one, two in zip(("CPU", "wall"), fast, slow, strict=True)
        )
        print(f"{case.name:16s} {name:20s} {text}", flush=True)


if __name__ == "__main__":
    main()

"""Reading ABACUS: our reader beside a plain one, line by line with a scipy matrix per R, on the same files.

pytest bench/bench_csr.py                   times, grouped so that the ratio stands in one table
python bench/bench_csr.py                   the ratios, from interleaved repeats (for busy machines)
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


def ours(path: Path) -> int:
    """Read every block of a file."""
    return sum(len(block.values) for block in CsrFile(path))


def plain(path: Path) -> int:
    """Read every block of a file, token by token."""
    return sum(matrix.nnz for matrix in plain_read(path)[1].values())


def read(case: Path) -> None:
    """Parse H0, H and S, log and STRU into hopping blocks; check files against each other."""
    read_run(case)


def full_import(case: Path) -> None:
    """Parse, certify and write one run."""
    result = read_run(case)
    with tempfile.TemporaryDirectory() as folder, StoreWriter(Path(folder) / "store") as writer:
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
@pytest.mark.parametrize("reader", [read, full_import, plain_import])
def test_run(benchmark, case, reader):
    """All of a run."""
    benchmark(reader, case)


def interleaved(a: Callable[[], object], b: Callable[[], object], *, repeats: int = 7) -> tuple[float, float]:
    """Return the shortest CPU time of each of two calls, taken in turn."""
    best = [float("inf"), float("inf")]
    for _ in range(repeats):
        for k, call in enumerate((a, b)):
            start = time.process_time()
            call()
            best[k] = min(best[k], time.process_time() - start)
    return best[0], best[1]


def main() -> None:
    """Print the ratios."""
    folder = os.environ.get("NEXTHAM_RUNS")
    with tempfile.TemporaryDirectory() as temporary:
        cases = sorted(Path(folder).glob("case-*/")) if folder else [unpacked(CASE, Path(temporary))]
        for case in cases:
            h, s = case / FILES[1], case / FILES[2]
            pairs = {
                "H(R)": (lambda h=h: ours(h), lambda h=h: plain(h)),
                "S(R)": (lambda s=s: ours(s), lambda s=s: plain(s)),
                "run, read": (lambda c=case: read(c), lambda c=case: plain_import(c)),
                "run, imported": (lambda c=case: full_import(c), lambda c=case: plain_import(c)),
            }
            for name, (a, b) in pairs.items():
                fast, slow = interleaved(a, b)
                print(
                    f"{case.name:20s} {name:14s} ours {fast:.3f} s  plain {slow:.3f} s  ratio {slow / fast:.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

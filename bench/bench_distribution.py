"""Distribution: packing, verifying and reading on disk and over HTTP, and download against curl, side by side.

python bench/bench_distribution.py [--structures 500] [--latency-ms 20]     a table of MB/s and structures/s
pytest bench/bench_distribution.py                                         the same steps on 50 structures, timed

MB are those of the files, except where the table says numbers. The server is a process of its own on this machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests")]

from bench_store import multiplied  # noqa: E402
from serving import serving  # noqa: E402

from nextham.data.download import Request, download  # noqa: E402
from nextham.data.publish import Request as Publication  # noqa: E402
from nextham.data.publish import publish  # noqa: E402
from nextham.data.selection import Selection  # noqa: E402
from nextham.data.store import Store, StoreWriter, merge_stores  # noqa: E402
from nextham.data.transfer import Traffic  # noqa: E402
from nextham.data.verify import verify  # noqa: E402

_SAMPLES = 40  # structures read at random


def write(path: Path, n: int) -> Store:
    """Write a store of n systems."""
    with StoreWriter(path) as writer:
        for system in multiplied(n):
            writer.add(system)
    return Store(path)


@contextmanager
def served(folder: Path, latency_s: float) -> Iterator[str]:
    """Serve a folder from another process, with a latency per request; yield its address."""
    words = [sys.executable, __file__, "--serve", str(folder), "--latency-ms", str(1e3 * latency_s)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


@dataclass(frozen=True)
class Spent:
    """The shortest of some runs: time, and processor time of this process and of those that it started."""

    wall: float
    cpu: float


def spent(call: Callable[[], object], *, runs: int = 1, before: Callable[[], object] = lambda: None) -> Spent:
    """Measure a call."""
    found = []
    for _ in range(runs):
        before()
        begin, clock = os.times(), time.perf_counter()
        call()
        wall, end = time.perf_counter() - clock, os.times()
        found.append((wall, sum(end[:4]) - sum(begin[:4])))
    return Spent(min(wall for wall, _ in found), min(cpu for _, cpu in found))


def read(store: Store, order: list[int]) -> None:
    """Read structures with all operators."""
    for k in order:
        store.record(k)


def curl(address: str, published: Path, out: Path) -> None:
    """Fetch the same files with curl: one process, eight at a time, connections kept."""
    names = [p.relative_to(published).as_posix() for p in published.rglob("*") if p.is_file()]
    lines = [f'url = "{address}/{name}"\noutput = "{out / name}"\n' for name in names]
    options = ["--parallel", "--parallel-max", "8", "--create-dirs", "--fail", "--silent", "--config", "-"]
    subprocess.run(["curl", *options], input="".join(lines), text=True, check=True)


@dataclass(frozen=True)
class Table:
    """Prints a line a measurement."""

    n: int
    megabytes: float

    def row(self, what: str, took: Spent, share: float = 1.0) -> Spent:
        """Print a line; ``share`` of the structures and bytes were handled."""
        mb, count = share * self.megabytes / took.wall, share * self.n / took.wall
        print(f"{what:52s} {took.wall:7.2f} s {took.cpu:7.2f} s cpu {mb:7.1f} MB/s {count:7.1f} structures/s")
        return took


def compared(what: str, one: Spent, other: Spent) -> None:
    """Print a ratio of times."""
    print(f"{'':4s}{what}: {one.wall / other.wall:.2f} of the time, {one.cpu / other.cpu:.2f} of the processor time")


def run(n: int, latency_s: float) -> None:
    """Print all measurements."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = write(folder / "store", n)
        size, numbers = sum(s["bytes"] for s in store.shards), sum(store.record(k).nbytes for k in range(n))
        print(
            f"{n} structures, {size / 1e6:.0f} MB in files, {numbers / 1e6:.0f} MB of numbers; {os.cpu_count()} cores"
        )
        table = Table(n, size / 1e6)
        table.row("packing (nextham pack)", spent(lambda: merge_stores([store.path], folder / "packed")))
        one = table.row("verifying, 1 process", spent(lambda: verify(Store(store.path))))
        two = table.row("verifying, 2 processes", spent(lambda: verify(Store(store.path), jobs=2)))
        compared("2 processes against 1", two, one)
        publication = Publication(folder / "published")
        table.row("publishing, checks of the store included", spent(lambda: publish(Store(store.path), publication)))
        order = np.random.default_rng(0).permutation(n)[:_SAMPLES].tolist()
        local = Store(folder / "published")
        local.record(0)
        near = table.row("reading at random, disk", spent(lambda: read(local, order)), len(order) / n)
        for latency in (0.0, latency_s):
            print(f"HTTP, {1e3 * latency:.0f} ms a request")
            with served(folder / "published", latency) as address:
                over_http(table, address, folder, order, near)


def over_http(table: Table, address: str, folder: Path, order: list[int], near: Spent) -> None:
    """Print reading and downloading by address."""
    published, out = folder / "published", folder / "out"
    table.row("opening to the first structure", spent(lambda: Store(address).record(0)), 1 / table.n)
    far = Store(address)
    far.record(0)
    took = table.row("reading at random", spent(lambda: read(far, order)), len(order) / table.n)
    compared("against the disk", took, near)

    def clear() -> None:
        shutil.rmtree(out, ignore_errors=True)

    plain = table.row("curl, 8 at a time", spent(lambda: curl(address, published, out), runs=3, before=clear))
    own = table.row("nextham download", spent(lambda: _download(address, out), runs=3, before=clear))
    compared("nextham download against curl", own, plain)
    again = table.row("nextham download again: everything is checked", spent(lambda: _download(address, out)))
    compared("against the download", again, own)
    clear()
    ids = tuple(Store(published).ids[k] for k in order)
    part = spent(lambda: _download(address, out, ids))
    table.row(f"nextham download of {len(ids)} at random", part, len(ids) / table.n)


def _download(address: str, out: Path, ids: tuple[str, ...] | None = None) -> None:
    download(Request(source=address, out=out, selection=Selection(ids=ids)), Traffic())


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published store of 50 structures."""
    folder = tmp_path_factory.mktemp("bench")
    publish(write(folder / "store", 50), Publication(folder / "published"))
    return folder / "published"


def test_pack(benchmark, published: Path, tmp_path: Path) -> None:
    """50 structures from one store to another."""
    benchmark.pedantic(lambda: merge_stores([published], tmp_path / "out", overwrite=True), rounds=3)


@pytest.mark.parametrize("jobs", [1, 2])
def test_verify(benchmark, published: Path, jobs: int) -> None:
    """50 structures, every file and record; with two processes their start counts."""
    benchmark.pedantic(lambda: verify(Store(published), jobs=jobs), rounds=3)


@pytest.mark.parametrize("latency_s", [0.0, 0.02])
def test_read_http(benchmark, published: Path, latency_s: float) -> None:
    """One structure of an opened shard."""
    with served(published, latency_s) as address:
        store = Store(address)
        order = iter(np.random.default_rng(0).integers(0, len(store), size=10**6).tolist())
        store.record(0)
        benchmark.pedantic(lambda: store.record(next(order)), rounds=20)


@pytest.mark.parametrize("what", ["curl", "nextham"])
def test_download(benchmark, published: Path, tmp_path: Path, what: str) -> None:
    """50 structures."""
    out = tmp_path / "out"
    with served(published, 0.0) as address:
        call = (lambda: curl(address, published, out)) if what == "curl" else (lambda: _download(address, out))
        benchmark.pedantic(call, setup=lambda: shutil.rmtree(out, ignore_errors=True), rounds=3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=int, default=500)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is None:
        run(options.structures, options.latency_ms / 1e3)
    else:
        with serving(options.serve) as server:
            server.latency_s = options.latency_ms / 1e3
            print(server.url, flush=True)
            while True:
                time.sleep(3600)

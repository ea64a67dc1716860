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


def size_of(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


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


def seconds(call: Callable[[], object]) -> float:
    """Time of a call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


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


def table(n: int, latency_s: float) -> None:
    """Print all measurements."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = write(folder / "store", n)
        size, numbers = sum(s["bytes"] for s in store.shards), sum(store.record(k).nbytes for k in range(n))
        print(
            f"{n} structures, {size / 1e6:.0f} MB in files, {numbers / 1e6:.0f} MB of numbers; {os.cpu_count()} cores"
        )

        def row(what: str, spent: float, count: int = n, megabytes: float = size / 1e6) -> float:
            print(f"{what:56s} {spent:7.2f} s {megabytes / spent:8.1f} MB/s {count / spent:8.1f} structures/s")
            return spent

        row("packing (nextham pack)", seconds(lambda: merge_stores([store.path], folder / "packed")))
        one = row("verifying, 1 process", seconds(lambda: verify(Store(store.path))))
        two = row("verifying, 2 processes", seconds(lambda: verify(Store(store.path), jobs=2)))
        publication = Publication(folder / "published")
        row("publishing, checks of the store included", seconds(lambda: publish(Store(store.path), publication)))
        print(f"{'':4s}2 processes verify {one / two:.2f} times as fast as 1")
        order = np.random.default_rng(0).permutation(n)[:_SAMPLES].tolist()
        part = size / 1e6 * len(order) / n
        local = Store(folder / "published")
        local.record(0)
        near = row("reading at random, disk", seconds(lambda: read(local, order)), len(order), part)
        for latency in (0.0, latency_s):
            with served(folder / "published", latency) as address:
                _over_http(row, (address, folder, latency), order, near, part)


def _over_http(
    row: Callable[..., float], where: tuple[str, Path, float], order: list[int], near: float, part: float
) -> None:
    address, folder, latency = where
    published, n, label = folder / "published", len(Store(folder / "published")), f"HTTP, {1e3 * latency:.0f} ms"
    total = size_of(published) / 1e6
    row(f"opening to the first structure, {label}", seconds(lambda: Store(address).record(0)), 1, 0.0)
    far = Store(address)
    far.record(0)
    spent = row(f"reading at random, {label}", seconds(lambda: read(far, order)), len(order), part)
    print(f"{'':4s}{spent / near:.1f} times as long as from disk")
    out = folder / "out"
    plain = row(f"curl, 8 at a time, {label}", seconds(lambda: curl(address, published, out)), n, total)
    shutil.rmtree(out)
    own = row(f"nextham download, {label}", seconds(lambda: _download(address, out)), n, total)
    print(f"{'':4s}{plain / own:.2f} of curl's speed, checksums of everything included")
    again = row(f"... again: everything is checked, {label}", seconds(lambda: _download(address, out)), n, total)
    print(f"{'':4s}{again / own:.2f} of the time of the download")
    shutil.rmtree(out)
    ids = tuple(Store(published).ids[k] for k in order)
    row(
        f"nextham download of {len(ids)} at random, {label}",
        seconds(lambda: _download(address, out, ids)),
        len(ids),
        part,
    )
    shutil.rmtree(out)


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
        table(options.structures, options.latency_ms / 1e3)
    else:
        with serving(options.serve) as server:
            server.latency_s = options.latency_ms / 1e3
            print(server.url, flush=True)
            while True:
                time.sleep(3600)

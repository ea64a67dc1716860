"""Stores: time to one record, bytes per record, and the measurements behind docs/decisions/0001-store-layout.md.

pytest bench/bench_store.py                 times
python bench/bench_store.py                 tables of bytes and codecs
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numcodecs import Blosc, Zstd

from nextham.core import LCAOSystem, SpinLayout
from nextham.data.checks import certify
from nextham.data.checksums import content_of
from nextham.data.record import rounded
from nextham.data.settings import StoreSettings
from nextham.data.store import Store, StoreWriter
from nextham.dft.abacus.reader import read_run
from nextham.dft.engine import RunResult

RUNS = Path(__file__).parent.parent / "examples" / "abacus-runs"
CHUNK = StoreSettings().chunk_numbers


@cache
def runs() -> tuple[RunResult, ...]:
    """The recorded ABACUS runs of the repository."""
    return tuple(read_run(path) for path in sorted(RUNS.glob("case-*.tar.xz")))


@cache
def systems() -> tuple[LCAOSystem, ...]:
    """Their systems."""
    return tuple(result.system for result in runs())


def multiplied(n: int) -> list[LCAOSystem]:
    """Return n systems: the recorded ones again and again, each time with other digits."""
    found = []
    for k in range(n):
        system = systems()[k % len(systems())]
        scaled = {name: values * (1 + 1e-3 * k / n) for name, values in system.operators.items()}
        found.append(dataclasses.replace(system, operators=scaled).with_meta(id=f"{system.ids[0]}-{k}"))
    return found


@pytest.fixture(scope="session")
def big(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of 500 structures in one shard."""
    path = tmp_path_factory.mktemp("bench") / "store"
    with StoreWriter(path, settings=StoreSettings(shard_raw_mb=1e6)) as writer:
        for system in multiplied(500):
            writer.add(system)
    store = Store(path)
    assert len(store.shards) == 1
    return store


def test_random_record(benchmark, big: Store) -> None:
    """One structure with all operators, from a shard of 500: 20 ms at most."""
    order = iter(np.random.default_rng(0).integers(0, len(big), size=10**6).tolist())
    big[0]
    benchmark(lambda: big[next(order)])


def test_open(benchmark, big: Store) -> None:
    """From nothing to the first structure of a shard of 500."""
    benchmark(lambda: Store(big.path)[0])


def test_certify(benchmark) -> None:
    """All checks of one recorded run, with 12 printed k points."""
    result = runs()[0]
    benchmark(lambda: certify(result.system, levels=result.levels))


def test_write(benchmark, tmp_path: Path) -> None:
    """The recorded runs to a store."""

    def write() -> None:
        with StoreWriter(tmp_path / "store", overwrite=True) as writer:
            for system in systems():
                writer.add(system)

    benchmark.pedantic(write, rounds=3)


def reference_bytes(system: LCAOSystem) -> int:
    """Bytes of the reference layout: per directed edge within 8 Å nine 54 x 54 complex64 arrays, and eigenvectors.

    Edges are counted among the pairs that have an H (the reference's list can only be longer); the
    eigenvectors are (64 k, 2n, 2n) complex64.
    """
    near = (system.distances < 8.0) & system.operator("hamiltonian").support
    edges = int(system.pairs.multiplicity[near].sum())
    n = 2 * int(system.n_orb.sum())
    return edges * 9 * 54 * 54 * 8 + 64 * n * n * 8


def print_bytes() -> None:
    """Print bytes per record, each structure in a store of its own, and all in one."""
    print(f"{'structure':12s} {'reference MB':>12s} {'raw MB':>8s} {'stored MB':>9s} {'1 / ratio':>9s}")
    with tempfile.TemporaryDirectory() as folder:
        total = [0, 0]
        for system in systems():
            path = Path(folder) / system.ids[0]
            with StoreWriter(path) as writer:
                writer.add(system)
            sizes = reference_bytes(system), Store(path).record(0).nbytes, content_of(path)[0]
            total = [total[0] + sizes[0], total[1] + sizes[2]]
            print(f"{system.ids[0]:12s} " + _row(*sizes))
        path = Path(folder) / "all"
        with StoreWriter(path) as writer:
            for system in systems():
                writer.add(system)
        print(
            f"{'one store':12s} "
            + _row(total[0], sum(Store(path).record(s.ids[0]).nbytes for s in systems()), content_of(path)[0])
        )


def _row(reference: int, raw: int, stored: int) -> str:
    return f"{reference / 1e6:12.2f} {raw / 1e6:8.2f} {stored / 1e6:9.3f} {reference / stored:9.1f}"


def print_codecs() -> None:
    """Print bytes per number and speed of codecs over 1 MB chunks, exact and rounded, and of two layouts of H0."""
    full = [system.operator("h0").with_layout(SpinLayout.FULL).values for system in systems()]
    data = {
        "S": [system.operators["overlap"] for system in systems()],
        "H0, time-reversal": [system.operators["h0"] for system in systems()],
        "H - H0, Re h_0": [system.correction.values[:1].real for system in systems()],
        "full H0, complex128": full,
        "full H0, 8 real rows": [np.stack([v.real, v.imag], axis=1).reshape(8, -1) for v in full],
    }
    codecs = {
        "zstd 1": Zstd(1),
        "zstd 5": Zstd(5),
        "zstd 9": Zstd(9),
        "blosc zstd 5 shuffle": Blosc("zstd", 5, Blosc.SHUFFLE),
        "blosc zstd 5 bitshuffle": Blosc("zstd", 5, Blosc.BITSHUFFLE),
    }
    for name, parts in data.items():
        flat = np.concatenate([np.ascontiguousarray(part).view(np.float64).ravel() for part in parts])
        for bits in (None, 40, 34, 30):
            print(f"\n{name} ({flat.nbytes / 1e6:.1f} MB), " + (f"multiples of 2^-{bits}" if bits else "every bit"))
            for label, codec in codecs.items():
                print(f"  {label:24s} {_speed(codec, rounded(flat, bits))}")


def _speed(codec: Zstd | Blosc, flat: np.ndarray) -> str:
    chunks = [flat[k : k + CHUNK] for k in range(0, len(flat), CHUNK)]
    begin = time.perf_counter()
    packed = [codec.encode(chunk) for chunk in chunks]
    middle = time.perf_counter()
    for chunk in packed:
        codec.decode(chunk)
    end = time.perf_counter()
    speeds = flat.nbytes / 1e6 / (middle - begin), flat.nbytes / 1e6 / (end - middle)
    return (
        f"{sum(map(len, packed)) / flat.size:5.2f} bytes/number  "
        f"write {speeds[0]:5.0f} MB/s  read {speeds[1]:5.0f} MB/s"
    )


if __name__ == "__main__":
    print_bytes()
    print_codecs()

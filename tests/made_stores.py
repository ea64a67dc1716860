"""Small stores of made-up systems, for tests of splits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nextham.core import OrbitalBasis, Structure
from nextham.data.store import Store, StoreWriter
from nextham.testing import synthetic_system


def store_of(path: Path, structures: Mapping[str, Structure], *, shells: str = "1s", engine: str = "") -> Store:
    """Write structures with made-up operators of a tiny basis."""
    elements = sorted({name for each in structures.values() for name in each.symbols})
    basis = OrbitalBasis.parse(" ".join(f"{name}:{shells}" for name in elements))
    with StoreWriter(path) as writer:
        for id, each in structures.items():
            system = synthetic_system(each, basis.restricted(each.numbers.tolist()), id=id, cutoff_ang=3.5)
            writer.add(system.with_meta(engine=engine) if engine else system)
    return Store(path)

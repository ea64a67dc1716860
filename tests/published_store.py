"""A small published store, and a web server for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Served, serving

from nextham.core import OrbitalBasis
from nextham.data.cards import CardSettings
from nextham.data.certificate import Certificate
from nextham.data.patience import Patience
from nextham.data.publish import Request, publish
from nextham.data.settings import StoreSettings
from nextham.data.splits import Split
from nextham.data.store import Store, StoreWriter
from nextham.data.transfer import Traffic
from nextham.testing import magnetic, synthetic_system, zincblende

BASIS = OrbitalBasis.parse("Ga:2s2p1d As:2s2p1d Si:1s1p O:1s1p")
CARD = CardSettings(
    name="small",
    title="A small dataset",
    description="Made-up Hamiltonians.",
    license="CC-BY-4.0",
    authors=("Lovelace, Ada <https://orcid.org/0000-0002-1825-0097>", "The group"),
    url="https://example.org/small",
    date="2026-01-02",
)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Eight structures in three shards; one is magnetic, one has no H0."""
    path = tmp_path_factory.mktemp("source") / "store"
    settings = StoreSettings(structures_per_shard=3, chunk_numbers=4096)
    with StoreWriter(path, settings=settings) as writer:
        for k, (first, second) in enumerate([("Ga", "As")] * 4 + [("Si", "O")] * 2 + [("Ga", "As")] * 2):
            crystal = zincblende(first, second, a_ang=5.5 + 0.05 * k, rattle_ang=0.05)
            system = synthetic_system(crystal, BASIS, id=f"{first}{second}-{k}", cutoff_ang=6.0, seed=k)
            system = magnetic(system) if k == 1 else system
            system = system.without("h0") if k == 5 else system
            writer.add(system, certificate=Certificate(passed=("finite",), gap_ev=0.1 * k))
        writer.ledger.failure("Fe-0", "scf", "unconverged", "Fe-0 did not converge")
    return Store(path)


@pytest.fixture(scope="session")
def split_file(source: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("split") / "main.json"
    Split({"train": ("GaAs-0", "GaAs-1", "GaAs-2", "GaAs-3"), "test": ("SiO-4", "GaAs-7")}).save(path)
    return path


@pytest.fixture(scope="session")
def published(source: Store, split_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("published") / "small"
    publish(source, Request(out, CARD, splits=(split_file,)))
    return out


@pytest.fixture
def server(published: Path) -> Iterator[Served]:
    with serving(published) as served:
        yield served


@pytest.fixture
def traffic() -> Traffic:
    """Transfers that do not wait long before they try again."""
    return Traffic(patience=Patience(retries=3, first_s=0.01))

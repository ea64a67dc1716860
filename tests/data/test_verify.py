"""Records that are read together are the records, and processes that verify together find the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr

from nextham.core import OrbitalBasis
from nextham.data.settings import StoreSettings
from nextham.data.store import Store, StoreWriter, merge_stores
from nextham.data.verify import verify
from nextham.exceptions import InputError
from nextham.testing import synthetic_system, zincblende

BASIS = OrbitalBasis.parse("Ga:2s2p1d As:2s2p1d")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    settings = StoreSettings(structures_per_shard=2, chunk_numbers=1024)
    with StoreWriter(tmp_path / "store", settings=settings) as writer:
        for k, id in enumerate("abc"):
            writer.add(synthetic_system(zincblende(), BASIS, id=id, cutoff_ang=4.0, seed=k))
    return Store(tmp_path / "store")


@pytest.mark.parametrize("together", [1, 4000, 10**9])
def test_neighbours_read_together_are_the_same(store: Store, monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    monkeypatch.setattr("nextham.data.shard._TOGETHER", together)
    assert [(r.id, r.sha256) for r in store.records()] == [(id, store.checksum(id)) for id in store.ids]
    (store.path / "shard-00000.zarr" / "h0" / "c" / "0").unlink()
    with pytest.raises(InputError, match="the h0 of a cannot be read"):
        list(Store(store.path).records())


def test_two_processes_find_the_same(store: Store) -> None:
    for name in ("shard-00000.zarr", "shard-00001.zarr"):
        file = store.path / name / "overlap" / "c" / "0"
        file.write_bytes(file.read_bytes()[:-4])
    one, two = verify(Store(store.path)), verify(Store(store.path), jobs=2)
    assert one == two
    assert [problem.split("zarr")[0][-12:] for problem in one] == ["shard-00000."] * 3 + ["shard-00001."] * 2


def test_packing_does_not_vouch_for_other_numbers(store: Store, tmp_path: Path) -> None:
    shard = zarr.open_group(store.path / "shard-00000.zarr", mode="r+")
    values = shard["h0"][:]
    values[-1] += 1
    shard["h0"][:] = values  # the checksums of its chunks agree
    with pytest.raises(InputError, match="the numbers of b are not those that were written; fetch it again"):
        merge_stores([store.path], tmp_path / "all")
    assert not (tmp_path / "all").exists()

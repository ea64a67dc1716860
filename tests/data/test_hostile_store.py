"""Stores from strangers: nothing outside the folder is read, and what is wrong is said in one sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from nextham.core import OrbitalBasis
from nextham.data.store import Store, StoreWriter
from nextham.exceptions import InputError
from nextham.testing import synthetic_system, zincblende


@pytest.fixture
def store(tmp_path: Path) -> Path:
    basis = OrbitalBasis.parse("Ga:1s1p As:1s1p")
    with StoreWriter(tmp_path / "store") as writer:
        for n in range(2):
            writer.add(synthetic_system(zincblende(), basis, id=f"GaAs-{n}", seed=n, cutoff_ang=3.0))
    return tmp_path / "store"


def complaint(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        Store(path)["GaAs-1"]
    return str(raised.value)


@pytest.mark.parametrize(
    "name", ["store.json", "manifest.parquet", "shard-00000.zarr", "shard-00000.zarr/h0", "shard-00000.zarr/h0/c/0"]
)
def test_links_are_not_followed(store: Path, name: str) -> None:
    outside = store.parent / "outside"
    (store / name).rename(outside)
    (store / name).symlink_to(outside)
    assert complaint(store) == f"{store / name} is a link or no plain file; put the file itself in its place"


def test_a_pipe_is_not_waited_for(store: Path) -> None:
    os.mkfifo(store / "shard-00000.zarr" / "pipe")
    assert "pipe is a link or no plain file" in complaint(store)


@pytest.mark.parametrize("name", ["/etc", "../other.zarr", "shard-00000.zarr/../../other", "shard-0.zarr", ""])
def test_shards_have_names_of_their_own(store: Path, name: str) -> None:
    about = json.loads((store / "store.json").read_text())
    about["shards"][0]["name"] = name
    (store / "store.json").write_text(json.dumps(about))
    assert complaint(store).endswith(f"names the shard {name!r}, which is not a name like shard-00000.zarr")


def _records(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(store: Path) -> None:
        file = store / "shard-00000.zarr" / "zarr.json"
        about = json.loads(file.read_text())
        change(about["attributes"]["records"][1])
        file.write_text(json.dumps(about))

    return apply


def _array(name: str, **made: Any) -> Callable[[Path], None]:
    def apply(store: Path) -> None:
        group = zarr.open_group(store / "shard-00000.zarr", mode="r+")
        group.create_array(name, overwrite=True, **made)

    return apply


def _nan(store: Path) -> None:
    zarr.open_group(store / "shard-00000.zarr", mode="r+")["correction"][-1] = np.nan  # type: ignore[index]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_records(lambda r: r["provenance"].update(engin="x")), "the provenance of GaAs-1 cannot be read"),
        (_records(lambda r: r.pop("provenance")), "the provenance of GaAs-1 cannot be read"),
        (_records(lambda r: r.update(id="GaAs-2")), "the ids differ from those in store.json"),
        (_array("numbers", shape=(2**40,), chunks=(2**20,), dtype="int16"), "it claims 2199023255552 bytes, more"),
        (_array("h0", data=np.array([True])), "it is no array of integers or real numbers"),
        (_array("h0", data=np.zeros(3)), "3 stored"),
        (_nan, "numbers are missing or NaN"),
    ],
)
def test_what_is_inside_a_shard(store: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(store)
    assert said in complaint(store)
    assert "\n" not in complaint(store)


@pytest.mark.parametrize("key", ["basis", "h0_definition", "shards"])
def test_a_description_without_what_it_needs(store: Path, key: str) -> None:
    about = json.loads((store / "store.json").read_text())
    del about[key]
    (store / "store.json").write_text(json.dumps(about))
    assert complaint(store).startswith(f"{store}/store.json: {key} must be ")


def test_a_description_nested_without_end(store: Path) -> None:
    (store / "store.json").write_text("[" * 200_000)
    assert "store.json is damaged" in complaint(store)

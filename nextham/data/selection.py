"""Which part of a published store is wanted, and what fetching it takes."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import OPERATORS, OrbitalBasis
from nextham.core.elements import atomic_number
from nextham.data.index import FileEntry, Index, ShardEntry
from nextham.data.layout import ABOUT, MANIFEST
from nextham.data.manifest import read_manifest
from nextham.data.record import STORED
from nextham.data.remote import Location
from nextham.data.splits import Split, sha256_of_ids
from nextham.data.store import read_about
from nextham.data.transfer import Traffic, fetch
from nextham.exceptions import InputError

if TYPE_CHECKING:
    import pandas as pd

_NEEDED: Final = ("id", "elements", "n_atoms", "n_orb", "n_pairs", "rows", "shard", "row")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Conditions on structures, all of which must hold, and the operators that are wanted of them."""

    split: str = ""  # a split file of this machine, or the name of one of the dataset's own
    subset: str = ""  # of the split
    ids: tuple[str, ...] | None = None
    elements: tuple[str, ...] | None = None  # a structure has no other ones
    fields: tuple[str, ...] | None = None  # operators
    max_gb: float | None = None  # whole shards and structures in the store's order, until so much is on disk


@dataclass(frozen=True)
class Source:
    """A published store: what it lists, without a number of it."""

    root: Location
    index: Index
    content: bytes  # of files.json
    folder: Path  # of this machine: store.json and the manifest, checked
    about: Mapping[str, Any]
    manifest: pd.DataFrame

    @classmethod
    def open(cls, root: Location, folder: Path, traffic: Traffic) -> Source:
        """Fetch the description of a published store to a folder.

        Raises:
            InputError: if it is none, is of a newer version, or its lists disagree.
        """
        index, content = Index.read(root, traffic.patience)
        for name in (ABOUT, MANIFEST):
            fetch(root / name, folder / name, index.entry(name), traffic)
        about = read_about(folder)
        listed = [(shard["name"], len(shard["ids"]), shard["sha256"]) for shard in about["shards"]]
        if listed != [(shard.name, shard.structures, shard.sha256) for shard in index.shards]:
            raise InputError(f"{root}: files.json and store.json list other shards; it must be published again")
        ids = [id for shard in about["shards"] for id in shard["ids"]]
        manifest = read_manifest(folder / MANIFEST, ids)
        if absent := [column for column in _NEEDED if column not in manifest]:
            raise InputError(f"{root}: the manifest has no column {absent[0]}; it must be published again")
        return cls(root, index, content, folder, about, manifest)

    @property
    def sha256(self) -> str:
        """Checksum of files.json, and so of everything."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def basis(self) -> OrbitalBasis:
        """The orbital basis of all elements."""
        return OrbitalBasis.parse(self.about["basis"])

    def ids_of(self, entry: ShardEntry) -> list[str]:
        """Return the ids of a shard in its order."""
        found: list[str] = next(shard["ids"] for shard in self.about["shards"] if shard["name"] == entry.name)
        return found

    def split(self, name: str, traffic: Traffic) -> Split:
        """Return a split file of this machine, or one of the dataset's own."""
        if name and Path(name).is_file():
            return Split.load(name)
        own = self.index.splits
        if not name and len(own) == 1:
            name = min(own)
        if name not in own:
            there = f"it has {', '.join(own) or 'none'}"
            if not name:
                raise InputError(
                    f"a subset is one of a split: name a split of {self.root} ({there}) or a file of yours"
                )
            raise InputError(f"there is no split file {name}, and no split of that name in {self.root}: {there}")
        with tempfile.TemporaryDirectory() as folder:
            entry = own[name]
            fetch(self.root / entry.path, Path(folder) / "split.json", entry, traffic)
            return Split.load(Path(folder) / "split.json")


@dataclass(frozen=True)
class ShardPlan:
    """What is wanted of one shard."""

    entry: ShardEntry
    ids: tuple[str, ...]
    rows: tuple[int, ...] | None  # None: all of it, file by file
    stored: tuple[str, ...]  # operators
    size: int  # bytes on disk afterwards; an estimate where it is not whole
    traffic: int  # bytes to fetch; an estimate where it is not whole


@dataclass(frozen=True)
class Plan:
    """What is fetched."""

    source: Source
    shards: tuple[ShardPlan, ...]
    others: tuple[FileEntry, ...]  # files beside the shards that are taken as they are
    identity: Mapping[str, Any]  # two downloads of one identity give one store

    @property
    def whole(self) -> bool:
        """Whether it is the whole store."""
        return len(self.shards) == len(self.source.index.shards) and all(shard.rows is None for shard in self.shards)

    @property
    def ids(self) -> tuple[str, ...]:
        """The structures."""
        return tuple(id for shard in self.shards for id in shard.ids)

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Files that are taken as they are."""
        return (*self.others, *(file for shard in self.shards if shard.rows is None for file in shard.entry.files))

    @property
    def size(self) -> int:
        """Bytes on disk afterwards."""
        return sum(shard.size for shard in self.shards) + sum(file.size for file in self.others)

    @property
    def traffic(self) -> int:
        """Bytes to fetch if nothing is there yet."""
        return sum(shard.traffic for shard in self.shards) + sum(file.size for file in self.others)


def planned(source: Source, wanted: Selection, traffic: Traffic) -> Plan:
    """Return what a selection takes.

    Raises:
        InputError: if it names what is not there, or selects nothing.
    """
    stored = _stored(source, wanted.fields)
    chosen = _chosen(source, wanted, traffic)
    left = np.inf if wanted.max_gb is None else wanted.max_gb * 1e9 - sum(file.size for file in source.index.files)
    shards = []
    for entry, about in zip(source.index.shards, source.about["shards"], strict=True):
        rows = [row for row, id in enumerate(about["ids"]) if id in chosen]
        shard = _shard_plan(source, entry, about["ids"], rows, stored)
        if shard is not None and shard.size > left:
            sizes = np.cumsum(_sizes(source, entry, rows, stored))
            shard = _shard_plan(source, entry, about["ids"], rows[: int(np.searchsorted(sizes, left, "right"))], stored)
            left = 0
        if shard is not None:
            shards.append(shard)
            left -= shard.size
    if not shards:
        raise InputError(f"not even one structure of {source.root} has room in {wanted.max_gb:g} GB; allow more")
    ids = [id for shard in shards for id in shard.ids]
    whole = len(ids) == len(source.manifest) and all(shard.rows is None for shard in shards)
    others = [file for file in source.index.files if whole or file.path not in _REMADE]
    held = sorted({name for shard in shards for name in shard.stored})
    identity = {"files_sha256": source.sha256, "ids_sha256": sha256_of_ids(ids), "operators": held}
    return Plan(source, tuple(shards), tuple(others), identity)


_REMADE: Final = (ABOUT, MANIFEST, "ledger.jsonl", "croissant.json")  # these tell of the whole store


def _stored(source: Source, fields: Sequence[str] | None) -> tuple[str, ...]:
    """Return the operators on disk that give the wanted ones."""
    held = [name for name in STORED if any(f"{s.name}/{name}/zarr.json" in source.index for s in source.index.shards)]
    if fields is None:
        return tuple(held)
    known = dict.fromkeys([*STORED, *OPERATORS])
    names: set[str] = set()
    for field in fields:
        if field not in known:
            near = get_close_matches(field, known, n=1)
            raise InputError(f"there is no field {field}; {f'did you mean {near[0]}' if near else ', '.join(known)}?")
        wanted = {"hamiltonian", "h0", "correction"} if field == "hamiltonian" else {field}
        if not wanted & set(held) or (field == "hamiltonian" and not {"hamiltonian", "correction"} & set(held)):
            raise InputError(f"{source.root} holds no {field}, only {', '.join(held) or 'crystals'}")
        names |= wanted
    return tuple(name for name in held if name in names)


def _chosen(source: Source, wanted: Selection, traffic: Traffic) -> set[str]:
    table = source.manifest
    all_ids = [str(id) for id in table["id"]]
    found = set(all_ids)
    if wanted.split or wanted.subset:
        split = source.split(wanted.split, traffic).checked(all_ids, str(source.root))
        found &= set(split[wanted.subset]) if wanted.subset else {id for ids in split.ids.values() for id in ids}
    if wanted.ids is not None:
        found &= set(Split({"wanted": tuple(dict.fromkeys(wanted.ids))}).checked(all_ids, str(source.root))["wanted"])
    if wanted.elements is not None:
        for name in wanted.elements:
            atomic_number(name)
        fits = [set(str(each).split()) <= set(wanted.elements) for each in table["elements"]]
        found &= {id for id, fit in zip(all_ids, fits, strict=True) if fit}
    if not found:
        raise InputError(f"no structure of {source.root} satisfies all conditions; nothing is downloaded")
    return found


def _shard_plan(
    source: Source, entry: ShardEntry, ids: Sequence[str], rows: Sequence[int], stored: tuple[str, ...]
) -> ShardPlan | None:
    if not rows:
        return None
    own = tuple(name for name in STORED if f"{entry.name}/{name}/zarr.json" in source.index)
    held = tuple(name for name in own if name in stored)
    if len(rows) == len(ids) and held == own:
        return ShardPlan(entry, tuple(ids), None, held, entry.size, entry.size)
    sizes = int(_sizes(source, entry, rows, held).sum())
    index = sum(file.size for file in entry.index_files)
    fetched = min(entry.size, index + int(sizes - index * len(rows) / len(ids)))
    return ShardPlan(entry, tuple(ids[row] for row in rows), tuple(rows), held, sizes, fetched)


def _sizes(source: Source, entry: ShardEntry, rows: Sequence[int], stored: Sequence[str]) -> NDArray[np.float64]:
    """Estimate the bytes of structures of a shard: each operator's bytes, shared by their counts of numbers."""
    table = source.manifest[source.manifest["shard"] == entry.name].sort_values("row")
    try:
        per_row = table["n_pairs"].to_numpy(float) * (table["n_orb"] / table["n_atoms"]).to_numpy(float) ** 2
        masks = [dict(json.loads(text)) for text in table["rows"]]
    except (TypeError, ValueError) as error:
        raise InputError(f"{source.root}: the manifest is damaged ({error}); it must be published again") from None
    total = np.full(len(table), sum(file.size for file in entry.index_files) / len(table))
    for name in stored:
        numbers = per_row * np.array([mask.get(name, "").count("1") for mask in masks])
        if numbers.sum():
            total += entry.bytes_of(name) * numbers / numbers.sum()
    found: NDArray[np.float64] = total[list(rows)]
    return found

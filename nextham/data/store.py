"""Store: a folder of checked systems, read one structure at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextham.console import track
from nextham.core import BlockMatrix, LCAOSystem, OrbitalBasis, Provenance
from nextham.data.certificate import Certificate
from nextham.data.layout import ABOUT, LEDGER, MANIFEST, SHARD_NAME, check_version
from nextham.data.ledger import Ledger
from nextham.data.record import Record, available, lacks
from nextham.data.remote import Location, located
from nextham.data.settings import StoreSettings
from nextham.data.writer import StoreWriter
from nextham.exceptions import InputError
from nextham.files import check_plain

if TYPE_CHECKING:
    import pandas as pd

    from nextham.data.shard import Shard

__all__ = ["Store", "StoreWriter", "merge_stores"]


class Store:
    """A folder of systems: ``store["GaAs-1"]`` or ``store[0]`` is one structure's LCAOSystem.

    The folder may be behind an address (https, s3, hf): then a structure's numbers are fetched when it is read.
    """

    def __init__(self, path: str | Location) -> None:
        """Open a store; nothing but its description is read until a structure is asked for.

        Raises:
            InputError: if the folder is not a whole store of a version that this program reads.
        """
        self.path = located(path)
        self.about = read_about(self.path)
        self._check_shards()
        self.shards: tuple[dict[str, Any], ...] = tuple(self.about["shards"])
        self.basis = OrbitalBasis.parse(self.about["basis"])
        self.h0_definition: str = self.about["h0_definition"]
        places = [(str(id), (s, row)) for s, shard in enumerate(self.shards) for row, id in enumerate(shard["ids"])]
        self._place = dict(places)
        self.ids = tuple(self._place)
        if len(self.ids) != len(places):
            raise InputError(f"{self.path}/{ABOUT} lists an id twice; pack the store again")
        self._open: dict[int, Shard] = {}

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """One row per structure, in the order of ``ids``."""
        from nextham.data.manifest import read_manifest

        return read_manifest(self.path / MANIFEST, self.ids)

    @property
    def ledger(self) -> Ledger | None:
        """What happened to each structure on its way here, if that was recorded."""
        path = self.path / LEDGER
        if not path.is_file():
            return None
        return Ledger(path) if isinstance(path, Path) else Ledger(LEDGER, text=path.read_text())

    def read(self, id: str | int, operators: Collection[str] | None = None) -> LCAOSystem:
        """Return one structure with the named operators, or with all that it has.

        Raises:
            InputError: if the structure or an operator is not there, or the shard is damaged.
        """
        shard, row = self._find(id)
        if operators is None:
            return shard.record(row).system()
        for name in set(operators) - set(self.operators_of(id)):
            raise lacks(self.provenance(id).id, name, shard.stored_of(row))
        needed = {"hamiltonian", "h0", "correction"} if "hamiltonian" in operators else set()
        return shard.record(row, needed | set(operators)).system(operators)

    def record(self, id: str | int) -> Record:
        """Return one structure as it is stored."""
        shard, row = self._find(id)
        return shard.record(row)

    def records(self) -> Iterator[Record]:
        """Yield all structures as they are stored, in the order of ``ids``."""
        for number, about in enumerate(self.shards):
            yield from self.shard(number).records(range(len(about["ids"])))

    def correction(self, id: str | int) -> BlockMatrix:
        """Return H - H0 of one structure, without reading anything else."""
        shard, row = self._find(id)
        if "correction" not in (stored := shard.stored_of(row)):
            raise lacks(self.provenance(id).id, "correction", stored)
        return shard.record(row, {"correction"}).correction()

    def stored_of(self, id: str | int) -> tuple[str, ...]:
        """Return which operators are on disk: overlap, h0, correction, hamiltonian."""
        shard, row = self._find(id)
        return shard.stored_of(row)

    def operators_of(self, id: str | int) -> tuple[str, ...]:
        """Return which operators :meth:`read` can give."""
        return available(self.stored_of(id))

    def provenance(self, id: str | int) -> Provenance:
        """Return where one structure and its operators come from."""
        shard, row = self._find(id)
        return shard.meta(row)

    def certificate(self, id: str | int) -> Certificate | None:
        """Return what the checks of one structure measured, None where nobody checked it."""
        shard, row = self._find(id)
        return shard.certificate(row)

    def checksum(self, id: str | int) -> str:
        """Return the sha256 of one structure's record as it was written."""
        shard, row = self._find(id)
        return str(shard.about(row).get("sha256", ""))  # none: nobody sealed it

    def known(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Return ids if the store lists all of them.

        Raises:
            InputError: if it lacks one.
        """
        for id in ids:
            if id not in self._place:
                near = get_close_matches(id, self.ids, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise InputError(f"{self.path} has no structure {id}{hint}")
        return tuple(ids)

    def shard(self, number: int) -> Shard:
        """Return a shard opened for reading."""
        if number not in self._open:
            from nextham.data.shard import Shard

            about = self.shards[number]
            self._open[number] = Shard(self.path / about["name"], self.basis, about["ids"])
        return self._open[number]

    def _check_shards(self) -> None:
        for shard in self.about["shards"]:
            if isinstance(self.path, Path) and not (self.path / shard["name"] / "zarr.json").is_file():
                raise InputError(f"{self.path} lacks {shard['name']} ({len(shard['ids'])} structures); fetch it again")

    def _find(self, id: str | int) -> tuple[Shard, int]:
        if not isinstance(id, str):
            id = self.ids[id]
        number, row = self._place[self.known([id])[0]]
        return self.shard(number), row

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.ids)

    def __contains__(self, id: object) -> bool:
        return id in self._place

    def __getitem__(self, id: str | int) -> LCAOSystem:
        return self.read(id)

    def __iter__(self) -> Iterator[LCAOSystem]:
        return (self.read(id) for id in self.ids)

    def __reduce__(self) -> tuple[type[Store], tuple[Location]]:
        return Store, (self.path,)  # worker processes open the files themselves

    def __repr__(self) -> str:
        return f"Store({self.path}, {len(self)} structures, {self.basis})"


def merge_stores(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    settings: StoreSettings = StoreSettings(),  # noqa: B008  (frozen)
    overwrite: bool = False,
    reseal: bool = False,
) -> None:
    """Write the structures of several stores into one, number by number as they are stored.

    ``reseal``: their numbers were changed on purpose and get new checksums, as the author of a prediction asks for.

    Raises:
        InputError: if two stores hold one id, or differ in H0 definition or in an element's basis, or if the numbers of
            a structure are not those that were written.
    """
    stores = [Store(path) for path in paths]
    records = (record if reseal else _proven(record, store) for store in stores for record in store.records())
    with StoreWriter(out, settings=settings, overwrite=overwrite) as writer:
        for record in track(records, f"packing {out}", total=sum(map(len, stores))):
            writer.add_record(record)
        for entry in (entry for store in stores if store.ledger for entry in store.ledger.entries()):
            writer.ledger.add(entry)


def _proven(record: Record, store: Store) -> Record:
    sealed = store.checksum(record.id)
    if sealed and record.sha256 != sealed:  # else the new store would vouch for them
        raise InputError(f"{store.path}: the numbers of {record.id} are not those that were written; fetch it again")
    return record


def read_about(path: Location) -> dict[str, Any]:
    """Return what store.json says.

    Raises:
        InputError: if there is none, it is damaged, or of a version that this program does not read.
    """
    file = path / ABOUT
    if isinstance(path, Path):
        _check_files(path)
    try:
        about: dict[str, Any] = json.loads(file.read_text())
        version = about["schema_version"]
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error}); fetch or pack the store again") from None
    check_version(version, about.get("code_version", "?"), path)
    for key, kind, what in (("basis", str, "text"), ("h0_definition", str, "text"), ("shards", list, "a list")):
        if not isinstance(about.get(key), kind):
            raise InputError(f"{file}: {key} must be {what}; pack the store again, or write it as docs/dataset.md says")
    for shard in about["shards"]:
        if not (isinstance(shard, dict) and isinstance(shard.get("name"), str) and isinstance(shard.get("ids"), list)):
            raise InputError(f"{file}: each of shards needs a name and a list of ids; pack the store again")
        if not SHARD_NAME.fullmatch(shard["name"]):
            raise InputError(f"{file} names the shard {shard['name']!r}, which is not a name like shard-00000.zarr")
    shards = [{"bytes": 0, "sha256": "", **shard} for shard in about["shards"]]  # absent where nobody sealed the store
    return {"code_version": "?", **about, "shards": shards}


def _check_files(path: Path) -> None:
    if not (path / ABOUT).is_file():
        what = "is not a store: it has no store.json" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}; give the folder that a command wrote with -o")
    for own in (path / ABOUT, path / MANIFEST, path / LEDGER):
        if own.exists():
            check_plain(own)

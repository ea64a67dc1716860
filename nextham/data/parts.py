"""Shards that are taken in part: chosen structures and operators, read from where they are and packed again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from nextham.core.elements import atomic_number
from nextham.data.index import Index, ShardEntry
from nextham.data.layout import ABOUT, MANIFEST
from nextham.data.record_file import load_record, save_record
from nextham.data.remote import RemotePath
from nextham.data.settings import StoreSettings
from nextham.data.shard import Shard
from nextham.data.shard_write import write_shard
from nextham.data.store import read_about
from nextham.data.transfer import Traffic, fetch
from nextham.exceptions import InputError, WriteError
from nextham.files import whole

if TYPE_CHECKING:
    from nextham.data.crew import Crew
    from nextham.data.record import Record
    from nextham.data.selection import Plan, ShardPlan, Source
    from nextham.data.workplace import Workplace

_TRIES: Final = 3  # at a structure that was damaged on its way


def made_shard(source: Source, wanted: ShardPlan, work: Workplace, traffic: Traffic, crew: Crew) -> Path | None:
    """Make a new shard with the wanted part of one, and return the folder that it is in; None if a part failed.

    Structures that were fetched before a process was killed are not fetched again.

    Raises:
        InputError: if the shard cannot be read.
        WriteError: if it cannot be written.
    """
    assert wanted.rows is not None
    key = hashlib.sha256(f"{wanted.entry.sha256} {wanted.rows} {wanted.stored}".encode()).hexdigest()[:16]
    made = work.folder / "made" / key
    if made.is_dir():
        return made
    files = {row: work.records / f"{key}-{row}.npz" for row in wanted.rows}
    shard = _opened(source, wanted, work, traffic, crew)
    if shard is None or not crew.run([partial(_save, shard, row, wanted.stored, file) for row, file in files.items()]):
        return None
    records = [record for record, _ in map(load_record, files.values()) if record is not None]
    try:
        with whole(made) as part:
            write_shard(part / wanted.entry.name, records, _settings(source))
    except Exception as error:  # whatever Zarr makes of a full disk
        raise error if isinstance(error, WriteError) else WriteError.of(work.out, error) from error
    for file in files.values():
        file.unlink()
    return made


def _opened(source: Source, wanted: ShardPlan, work: Workplace, traffic: Traffic, crew: Crew) -> Shard | None:
    """Open a shard; behind an address, its index is fetched as files, which their checksums prove right."""
    name, ids = wanted.entry.name, source.ids_of(wanted.entry)
    path = source.root / name
    if not isinstance(path, RemotePath):
        return Shard(path, source.basis, ids)
    from nextham.data.ranged import Ranged

    kept = work.indices / f"{name}-{wanted.entry.sha256[:16]}"
    entries = {kept / wanted.entry.key(entry): entry for entry in wanted.entry.index_files}
    missing = {target: entry for target, entry in entries.items() if not entry.holds(target)}
    calls = [partial(fetch, source.root / entry.path, target, entry, traffic) for target, entry in missing.items()]
    if not crew.run(calls):
        return None
    files = Ranged(path, kept=kept, moved=traffic.count, patience=traffic.patience)
    return Shard(path, source.basis, ids, files=files)


def _save(shard: Shard, row: int, stored: Sequence[str], file: Path) -> None:
    if file.is_file():
        try:
            load_record(file)
            return
        except InputError:  # of a machine that lost power
            file.unlink()
    record = _proven(shard, row) if set(stored) >= set(shard.stored_of(row)) else shard.record(row, stored)
    save_record(file, record, {})


def _proven(shard: Shard, row: int) -> Record:
    """Return a whole record, which its own checksum proves right; chunks have one of 32 bits only."""
    for _ in range(_TRIES):
        record = shard.record(row)
        if record.sha256 == shard.about(row)["sha256"]:
            return record
        shard.forget()
    raise InputError(f"{shard.path}: the numbers of {record.id} are not those that were published; tell who did")


def _settings(source: Source) -> StoreSettings:
    try:
        return StoreSettings.model_validate(source.about["settings"])
    except (ValidationError, KeyError):  # of another version: how shards are cut is no matter of content
        return StoreSettings()


def kept_shard(out: Path, wanted: ShardPlan) -> tuple[dict[str, Any], ShardEntry] | None:
    """Return what an earlier download of the same selection says of a shard, if it is there and whole."""
    try:
        index, about = Index.read(out)[0], read_about(out)
        entry = next(each for each in index.shards if each.name == wanted.entry.name)
        said = next(each for each in about["shards"] if each["name"] == wanted.entry.name)
    except (InputError, OSError, StopIteration):
        return None
    whole = said["ids"] == list(wanted.ids) and said["sha256"] == entry.sha256
    return (said, entry) if whole and all(file.holds(out / file.path) for file in entry.files) else None


def write_description(plan: Plan, shards: Sequence[Mapping[str, Any]], where: Mapping[str, Path], folder: Path) -> None:
    """Write store.json and the manifest of a part of a store.

    Args:
        plan: what was chosen.
        shards: their entries in store.json.
        where: the folders of those that were made.
        folder: gets the files.
    """
    source = plan.source
    chosen = set(plan.ids)
    table = source.manifest[[id in chosen for id in source.manifest["id"]]].copy()
    elements = {atomic_number(name) for text in table["elements"] for name in str(text).split()}
    basis = source.basis.restricted(elements)
    about = dict(source.about) | {"basis": str(basis), "n_orb": {str(z): basis.n_orb(z) for z in basis}}
    (folder / ABOUT).write_text(json.dumps(about | {"shards": list(shards)}, indent=1, ensure_ascii=False) + "\n")
    for wanted in plan.shards:
        if wanted.rows is None:
            continue
        made = Shard(where[wanted.entry.name], basis, wanted.ids)
        own = table["shard"] == wanted.entry.name
        held = [made.stored_of(k) for k in range(len(wanted.ids))]
        table.loc[own, "row"] = range(len(wanted.ids))
        table.loc[own, "sha256"] = [made.about(k)["sha256"] for k in range(len(wanted.ids))]
        table.loc[own, "operators"] = [" ".join(names) for names in held]
        table.loc[own, "rows"] = [
            json.dumps({name: mask for name, mask in json.loads(text).items() if name in names})
            for text, names in zip(table.loc[own, "rows"], held, strict=True)
        ]
    table.to_parquet(folder / MANIFEST, index=False)

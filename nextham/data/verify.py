"""Verify a store: every file and every record still has the checksum that it was written with."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from nextham.console import track
from nextham.data.checksums import content_of
from nextham.data.index import Index
from nextham.data.layout import FILES
from nextham.data.remote import Location
from nextham.data.store import Store
from nextham.exceptions import InputError, NexthamError
from nextham.workers import Died, Workers

_ROWS_AT_ONCE: Final = 16  # records that one call checks
Problems = list[str]


def verify(store: Store, *, jobs: int = 1) -> Problems:
    """Return what is wrong with a store, one sentence each; nothing if all checksums agree.

    Behind an address the records are checked, not the files: the records hold every number.

    Args:
        store: the store.
        jobs: processes that check at the same time.
    """
    calls: list[Callable[[], Problems]] = []
    for number, shard in enumerate(store.shards):
        if isinstance(store.path, Path):
            calls.append(partial(_files, store.path, number))
        for first in range(0, len(shard["ids"]), _ROWS_AT_ONCE):
            calls.append(partial(_records, store.path, number, first))
    found: dict[int, Problems] = {}
    _opened.cache_clear()  # what was opened before may have changed since
    with Workers(calls, jobs) as workers:
        for k, problems in track(workers, f"verifying {store.path}", total=len(calls)):
            if isinstance(problems, Died):
                raise NexthamError(f"a process that verified {store.path} was ended; start again with fewer --jobs")
            found[k] = problems
    _opened.cache_clear()
    problems = [problem for k in sorted(found) for problem in found[k]]
    return [*problems, *_table(store, good=not problems), *_others(store)]


@lru_cache(maxsize=1)
def _opened(path: Location) -> Store:
    return Store(path)


def _files(path: Path, number: int) -> Problems:
    about = _opened(path).shards[number]
    if content_of(path / about["name"]) == (about["bytes"], about["sha256"]):
        return []
    return [f"{path}: the files of {about['name']} are not those that were written; fetch it again"]


def _records(path: Location, number: int, first: int) -> Problems:
    store = _opened(path)
    about = store.shards[number]
    ids = about["ids"][first : first + _ROWS_AT_ONCE]
    try:
        rows = range(first, first + len(ids))
        digests: list[str | InputError] = [record.sha256 for record in store.shard(number).records(rows)]
    except InputError:  # one of them is damaged: look at each
        digests = [_digest(store, id) for id in ids]
    problems = []
    for id, found in zip(ids, digests, strict=True):
        if isinstance(found, InputError):
            problems.append(str(found))
        elif found != store.checksum(id):
            problems.append(f"{path}: the numbers of {id} are not those that were written; fetch {about['name']} again")
    return problems


def _digest(store: Store, id: str) -> str | InputError:
    try:
        return store.record(id).sha256
    except InputError as error:
        return error


def _table(store: Store, *, good: bool) -> Problems:
    try:
        found = list(store.manifest.get("sha256", []))
    except InputError as error:
        return [str(error)]
    if good and found != [store.checksum(id) for id in store.ids]:
        return [f"{store.path}: the manifest has other checksums than the records; pack the store again"]
    return []


def _others(store: Store) -> Problems:
    """Check the files beside the shards of a store that was published or downloaded."""
    root = store.path
    if not isinstance(root, Path) or not (root / FILES).is_file():
        return []
    try:
        index, _ = Index.read(root)
    except InputError as error:
        return [str(error)]
    wrong = [file.path for file in index.files if not file.holds(root / file.path)]
    return [f"{root}: {path} is not what was published; fetch it again" for path in wrong]

"""Verify a store: every file and every record still has the checksum that it was written with."""

from __future__ import annotations

from nextham.console import track
from nextham.data.shard import content_of
from nextham.data.store import Store
from nextham.exceptions import InputError


def verify(store: Store) -> list[str]:
    """Return what is wrong with a store, one sentence each; nothing if all checksums agree."""
    problems = []
    places = [(number, row) for number, shard in enumerate(store.shards) for row in range(len(shard["ids"]))]
    for number, row in track(places, f"verifying {store.path}"):
        about = store.shards[number]
        if row == 0 and content_of(store.path / about["name"]) != (about["bytes"], about["sha256"]):
            problems.append(
                f"{store.path}: the files of {about['name']} are not those that were written; fetch it again"
            )
        id = about["ids"][row]
        try:
            digest = store.record(id).sha256
        except InputError as error:
            problems.append(str(error))
            continue
        if digest != store.checksum(id):
            problems.append(
                f"{store.path}: the numbers of {id} are not those that were written; fetch {about['name']} again"
            )
    try:
        found = list(store.manifest.get("sha256", []))
    except InputError as error:
        return [*problems, str(error)]
    if not problems and found != [store.checksum(id) for id in store.ids]:
        problems.append(f"{store.path}: the manifest has other checksums than the records; pack the store again")
    return problems

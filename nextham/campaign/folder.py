"""The folder of a campaign: where its plan, its chunks and what is known of them lie."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nextham.exceptions import InputError
from nextham.files import whole

CHUNK: Final = r"\d{5}"  # names of chunks


@dataclasses.dataclass(frozen=True)
class CampaignFolder:
    """Paths below the results folder of a campaign.

    campaign/config.json       what the jobs are run with
    campaign/recipe.json       what every number follows from; chunks of two recipes never mix
    campaign/plan.json         one row per chunk: structures, cost, cores, memory
    campaign/chunks/00000.json the structures of a chunk
    campaign/ledgers/...       what happened to them, one line an event, never rewritten
    campaign/runs/00000/ID/    where an engine works; kept or archived runs stay here
    chunks/00000/              the store of a chunk
    chunks/00000.json          its receipt: the chunk is done
    """

    results: Path

    @property
    def own(self) -> Path:
        """What the campaign knows of itself."""
        return self.results / "campaign"

    @property
    def config(self) -> Path:
        """The config of the jobs."""
        return self.own / "config.json"

    @property
    def recipe(self) -> Path:
        """The recipe of the finished structures."""
        return self.own / "recipe.json"

    @property
    def version(self) -> Path:
        """Version of the engine that computed the first chunk."""
        return self.own / "engine.json"

    @property
    def plan(self) -> Path:
        """The table of chunks."""
        return self.own / "plan.json"

    @property
    def crystals(self) -> Path:
        """Crystals that were built or fetched for this campaign."""
        return self.results / "crystals.extxyz"

    @property
    def lock(self) -> Path:
        """Lock of the workflow that runs."""
        return self.own / "lock.json"

    def chunk(self, name: str) -> Path:
        """Structures of a chunk."""
        return self.own / "chunks" / f"{name}.json"

    def chunk_lock(self, name: str) -> Path:
        """Lock of the job that computes a chunk."""
        return self.own / "chunks" / f"{name}.lock"

    def ledger(self, name: str) -> Path:
        """Everything that happened to a chunk's structures."""
        return self.own / "ledgers" / f"{name}.jsonl"

    def runs(self, name: str) -> Path:
        """Run folders of a chunk."""
        return self.own / "runs" / name

    def store(self, name: str) -> Path:
        """Checked records of a chunk."""
        return self.results / "chunks" / name

    def receipt(self, name: str) -> Path:
        """The file that says that a chunk is done."""
        return self.results / "chunks" / f"{name}.json"

    def started(self, name: str) -> bool:
        """Whether anything of a chunk was computed."""
        return any(path.exists() for path in (self.receipt(name), self.store(name), self.ledger(name)))

    def known_chunks(self) -> list[str]:
        """Return the names of all chunks that were planned, sorted."""
        found = (self.own / "chunks").glob("*.json")
        return sorted(path.stem for path in found if re.fullmatch(CHUNK, path.stem))


def write_json(path: Path, value: Mapping[str, Any], *, lines: bool = False) -> None:
    """Write a JSON object; the file appears whole or not at all.

    Args:
        path: the file.
        value: the object.
        lines: give each member a line of its own and no more.

    Raises:
        WriteError: if it cannot be written.
    """
    if lines:
        members = ",\n".join(f"{json.dumps(key)}: {json.dumps(member)}" for key, member in value.items())
        text = "{\n" + members + "\n}\n"
    else:
        text = json.dumps(value, indent=1) + "\n"
    with whole(path) as part:
        part.write_text(text)


def read_json(path: Path, *, mend: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: if it is missing or damaged; mend says what makes it anew.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"there is no {path}; {mend}") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); {mend}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged (not an object); {mend}")
    return found

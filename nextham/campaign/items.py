"""What a chunk holds: crystals to compute or finished runs to import, each with what it will cost."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nextham.campaign.folder import CampaignFolder, read_json, write_json
from nextham.core import Structure
from nextham.exceptions import InputError

REPLAN = "plan again: nextham campaign plan RESULTS"


@dataclasses.dataclass(frozen=True)
class Item:
    """One structure of a campaign: a crystal, a finished run, or the reason why it cannot be read."""

    id: str
    crystal: Structure | None = None
    run: str = ""  # folder or archive
    problem: str = ""
    origin: tuple[str, str] = ("", "")  # source and licence of the crystal
    cost_s: float = 0.0  # of one core
    memory_mb: float = 0.0
    n_orb: int = 0  # without spin
    n_k: int = 0
    stamp: tuple[str, int, int] | None = None  # file, bytes and time: the crystal need not be read again

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements in the order of their symbols; none of a run, which is not read before it is imported."""
        return tuple(sorted(set(self.crystal.symbols))) if self.crystal else ()

    def content(self) -> dict[str, Any]:
        """Return what the item is, whatever it costs and wherever it was read."""
        if self.crystal is None:
            return {"id": self.id, "run": self.run} if self.run else {"id": self.id, "problem": self.problem}
        s = self.crystal
        crystal = {"numbers": s.numbers.tolist(), "positions": s.positions.tolist(), "cell": s.cell.tolist()}
        return {"id": self.id, "crystal": crystal}

    def as_json(self) -> dict[str, Any]:
        """Return plain values; numbers come back bit by bit."""
        facts = {"cost_s": round(self.cost_s, 3), "memory_mb": round(self.memory_mb), "n_orb": self.n_orb}
        facts |= {"n_k": self.n_k}
        return {**self.content(), **facts, "origin": self.origin, "stamp": self.stamp}

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Item:
        """Return an item as it was written."""
        known = dict(values)
        crystal, stamp = known.pop("crystal", None), known.pop("stamp", None)
        if crystal is not None:
            crystal = Structure(*(np.array(crystal[name]) for name in ("numbers", "positions", "cell")))
        source, licence = known.pop("origin", ("", ""))
        return cls(crystal=crystal, origin=(source, licence), stamp=tuple(stamp) if stamp else None, **known)


def write_chunk(folder: CampaignFolder, name: str, items: Sequence[Item]) -> None:
    """Write the structures of a chunk.

    Raises:
        WriteError: if the file cannot be written.
    """
    write_json(folder.chunk(name), {item.id: item.as_json() for item in items}, lines=True)


def read_chunk(folder: CampaignFolder, name: str) -> list[Item]:
    """Return the structures of a chunk.

    Raises:
        InputError: if there is no such chunk, or its file is damaged.
    """
    path = folder.chunk(name)
    values = read_json(path, mend=REPLAN)
    try:
        return [Item.of_json(value) for value in values.values()]
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); {REPLAN}") from None


def content_sha256(items: Sequence[Item]) -> str:
    """Return a hash of what a chunk holds."""
    return hashlib.sha256(json.dumps([item.content() for item in items]).encode()).hexdigest()


def stamp_of(path: Path) -> tuple[str, int, int]:
    """Return what tells whether a file changed; times are compared for equality alone, never for order."""
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns

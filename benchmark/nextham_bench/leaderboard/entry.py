"""One entry of a board: a card with a score that belongs to it, in a file of its own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pydantic import Field, ValidationError

from nextham.console import first_problem
from nextham.exceptions import InputError
from nextham.files import partial
from nextham_bench.schema import Record, Scores
from nextham_bench.submission.card import Card

ENDING: Final = ".entry.json"
MAX_BYTES: Final = 2**28


class Group(NamedTuple):
    """What scores must have in common to be ranked together."""

    dataset_sha256: str  # of the scored reference records
    split_sha256: str  # empty: no split
    subset: str
    protocol: str
    metric_version: str

    @classmethod
    def of(cls, scores: Scores) -> Group:
        """Return the group of a score."""
        split = scores.split
        return cls(
            scores.reference.sha256,
            split.sha256 if split else "",
            split.subset if split else "",
            scores.protocol,
            scores.metric_version,
        )

    @property
    def key(self) -> str:
        """Eight hexadecimal digits that tell groups apart."""
        return hashlib.sha256("\n".join(self).encode()).hexdigest()[:8]


class Entry(Record):
    """A card and its score."""

    schema_version: Literal["1"] = "1"
    origin: Literal["submitted", "reproduced"] = Field(
        description="submitted: the card names the prediction; reproduced: the card's command made it here"
    )
    card: Card
    scores: Scores

    @property
    def group(self) -> Group:
        """What the entry is ranked within."""
        return Group.of(self.scores)

    @property
    def file_name(self) -> str:
        """The name of the entry's file: one for each name, version and group, however they are spelt."""
        parts = (slug(self.card.name), slug(self.card.version), self.group.key)
        return "--".join(parts) + ENDING


def slug(text: str) -> str:
    """Return letters, digits and dots of a text, with hyphens between words; a hash where nothing is left.

    >>> slug("My Model: L/2"), slug("../../etc"), slug("模型")
    ('my-model-l-2', 'etc', 'c98e118e')
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    found = re.sub(r"[^a-z0-9.]+", "-", plain).strip("-.")
    return found or hashlib.sha256(text.encode()).hexdigest()[:8]


def write_entry(entry: Entry, board: Path) -> Path:
    """Write an entry into a board's folder, which never replaces one; return its file.

    Raises:
        InputError: if the board has this name and version already.
    """
    path = board / entry.file_name
    with partial(path) as part:
        with part.open("w", encoding="utf-8") as file:
            file.write(entry.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)  # unlike a rename, it fails if somebody was faster
        except FileExistsError:
            raise InputError(
                f"{entry.card.title} is on {board} already, scored on the same structures; give another version, or "
                f"remove {path.name}"
            ) from None
    return path


def read_boards(boards: Sequence[Path]) -> list[Entry]:
    """Return all entries of boards, in order of their file names.

    Raises:
        InputError: if a board does not exist or is empty, a file is not an entry, or an entry stands on two boards.
    """
    found: dict[str, Path] = {}
    for board in boards:
        files = sorted(board.glob(f"*{ENDING}")) if board.is_dir() else []
        if not files:
            raise InputError(f"{board} holds no entries; add one with nextham-bench leaderboard add CARD --scores FILE")
        for path in files:
            if path.name in found:
                raise InputError(f"{path} stands on another board too, {found[path.name].parent}; leave one out")
            found[path.name] = path
    return [_read(found[name]) for name in sorted(found)]


def _read(path: Path) -> Entry:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} is no plain file of at most {MAX_BYTES} bytes; remove it")
    try:
        return Entry.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); remove it and add the entry again") from None
    except ValidationError as error:
        raise InputError(
            f"{path} is not an entry that this version reads ({first_problem(error, Entry)}); score again and add it "
            "again"
        ) from None

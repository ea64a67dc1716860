"""One download on its way: which pieces are there, fetching the others, and putting them in their place."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nextham import __version__
from nextham.data.checksums import content_of
from nextham.data.crew import Crew
from nextham.data.index import SUMS, FileEntry, Index, ShardEntry
from nextham.data.layout import ABOUT, FILES, MANIFEST, ORIGIN
from nextham.data.parts import kept_shard, made_shard, write_description
from nextham.data.selection import Plan, ShardPlan
from nextham.data.transfer import Traffic, fetch
from nextham.data.workplace import Workplace
from nextham.exceptions import NexthamError, WriteError
from nextham.files import link_or_copy


@dataclass(kw_only=True)
class Report:
    """What became of a download."""

    source: str
    out: str
    structures: int
    bytes_on_disk: int
    bytes_received: int = 0
    bytes_kept: int = 0  # were here already, and are right
    retries: int = 0
    mended: list[str] = field(default_factory=list)  # files and shards of the store that were damaged
    seconds: float = 0.0


@dataclass(frozen=True)
class _Piece:
    """A shard that is here."""

    about: dict[str, Any]  # its entry in store.json
    entry: ShardEntry
    folder: Path | None  # that its folder is in; None: in the store, or fetched file by file


@dataclass
class Fetching:
    """Where files come from and go to, and what became of it so far."""

    plan: Plan
    work: Workplace
    same: bool  # a store of the same selection is there already, perhaps damaged
    traffic: Traffic
    report: Report
    crew: Crew
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Fetch what is missing, and give the store its name or its missing files.

        Raises:
            InputError: if something cannot be had; what can is kept for the next time.
            WriteError: if it cannot be written.
        """
        self.crew.run([partial(self._file, file) for file in self.plan.files])
        pieces = [self._piece(shard) for shard in self.plan.shards if not self.crew.given_up]
        if self.crew.failures:
            raise self.crew.told()
        try:
            self._finish([piece for piece in pieces if piece is not None])
        except OSError as error:
            raise WriteError.of(self.work.out, error) from error

    def _file(self, entry: FileEntry) -> None:
        """See to a file that is taken as it is."""
        target, here = self.work.store / entry.path, self.work.out / entry.path
        if target.exists() and not entry.holds(target):  # of another selection or version
            target.unlink()
        if target.exists() or entry.holds(here):
            if not self.same and not target.exists():  # of a store that will be replaced
                link_or_copy(here, target)
            self._keep(entry.size)
            return
        own = self.plan.source.folder / entry.path
        fetch(own if own.is_file() else self.plan.source.root / entry.path, target, entry, self.traffic)
        if self.same and here.exists():
            self._mended(entry.path)

    def _piece(self, wanted: ShardPlan) -> _Piece | None:
        """See to one shard; None if it cannot be had."""
        name = wanted.entry.name
        if wanted.rows is None:
            about = next(each for each in self.plan.source.about["shards"] if each["name"] == name)
            return _Piece(about, wanted.entry, None)
        if self.same and (kept := kept_shard(self.work.out, wanted)):
            self._keep(kept[1].size)
            return _Piece(*kept, None)
        try:
            folder = made_shard(self.plan.source, wanted, self.work, self.traffic, self.crew)
        except NexthamError as error:
            self.crew.note(error)
            return None
        if folder is None:
            return None
        if self.same and (self.work.out / name).exists():
            self._mended(name)
        size, digest = content_of(folder / name)
        about = {"name": name, "bytes": size, "sha256": digest, "ids": list(wanted.ids)}
        return _Piece(about, ShardEntry.of(folder, about), folder)

    def _keep(self, size: int) -> None:
        with self._lock:
            self.report.bytes_kept += size
        self.traffic.moved(size)

    def _mended(self, name: str) -> None:
        with self._lock:
            self.report.mended.append(name)

    def _finish(self, pieces: Sequence[_Piece]) -> None:
        source, store = self.plan.source, self.work.store
        store.mkdir(exist_ok=True)
        if self.plan.whole:
            index, content = source.index, source.content
        else:
            index = self._described(pieces)
            content = index.text().encode()
        (store / FILES).write_bytes(content)
        (store / SUMS).write_text(index.sums(hashlib.sha256(content).hexdigest()))
        origin = {"source": str(source.root), "identity": self.plan.identity, "code_version": __version__}
        (store / ORIGIN).write_text(json.dumps(origin, indent=1) + "\n")
        self.report.bytes_on_disk = index.size
        if self.same:
            self.work.mend(index)
        else:
            self.work.finish(index)

    def _described(self, pieces: Sequence[_Piece]) -> Index:
        """Write the description of a part of a store, and return its index."""
        store, where = self.work.store, {}
        for piece in pieces:
            where[piece.entry.name] = (piece.folder or self.work.out) / piece.entry.name
            if piece.folder:
                for file in piece.entry.files:
                    (store / file.path).unlink(missing_ok=True)
                    link_or_copy(piece.folder / file.path, store / file.path)
        write_description(self.plan, [piece.about for piece in pieces], where, store)
        files = (*self.plan.others, *(FileEntry.of(store, path) for path in (ABOUT, MANIFEST)))
        return Index(name=self.plan.source.index.name, files=files, shards=tuple(piece.entry for piece in pieces))

"""Where a download grows: a hidden folder beside the store, kept when it is interrupted, for one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nextham.data.index import SUMS, Index
from nextham.data.layout import FILES, ORIGIN
from nextham.exceptions import InputError, WriteError
from nextham.files import put_in_place

_LOCK: Final = "lock"


@dataclass(frozen=True)
class Workplace:
    """Folders of a download on its way."""

    folder: Path
    out: Path

    @property
    def store(self) -> Path:
        """What becomes the store, or is missing in it."""
        return self.folder / "store"

    @property
    def records(self) -> Path:
        """Structures of shards that are taken in part."""
        return self.folder / "records"

    @property
    def indices(self) -> Path:
        """Index files of the same shards."""
        return self.folder / "indices"

    def finish(self, index: Index) -> None:
        """Give the finished store its name, without what another selection left behind."""
        for path in [path for path in self.store.rglob("*") if path.is_file()]:
            name = path.relative_to(self.store).as_posix()
            if name not in index and name not in (FILES, SUMS, ORIGIN):
                path.unlink()
        for path in sorted((path for path in self.store.rglob("*") if path.is_dir()), reverse=True):
            if not any(path.iterdir()):
                path.rmdir()
        put_in_place(self.store, self.out)
        shutil.rmtree(self.folder)

    def mend(self, index: Index) -> None:
        """Move what is here into the store, and remove what its shards hold beside the files of the index."""
        moved = [path.relative_to(self.store) for path in self.store.rglob("*") if path.is_file()]
        for name in sorted(moved, key=lambda name: (len(name.parts) == 1, name)):  # descriptions last
            target = self.out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(self.out.resolve()):
                raise InputError(f"{target.parent} leads out of {self.out}; remove this link")
            put_in_place(self.store / name, target)
        for shard in index.shards:
            for path in (self.out / shard.name).rglob("*"):
                if path.is_file() and path.relative_to(self.out).as_posix() not in index:
                    path.unlink()
        shutil.rmtree(self.folder)


@contextmanager
def workplace(out: Path) -> Iterator[Workplace]:
    """Make or find the folder for a download to ``out``, and keep others away from it.

    It is left behind when the block ends in an exception, unless nothing is in it.

    Raises:
        InputError: if another process works there.
        WriteError: if it cannot be made.
    """
    folder = out.parent / f".{out.name}.download"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise WriteError.of(folder, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"another nextham download writes {out}; wait until it is done") from None
        yield Workplace(folder, out)
    finally:
        os.close(handle)
        if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*") if path.name != _LOCK):
            shutil.rmtree(folder, ignore_errors=True)

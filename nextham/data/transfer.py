"""One file from an address to this disk: it goes on where it broke off, and agrees with its checksum or is absent."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Final, Self

from nextham.data.index import FileEntry
from nextham.data.patience import Patience, told
from nextham.data.remote import BLOCK, Location, stream
from nextham.exceptions import InputError, WriteError

PART: Final = ".part"
_NO_SUCH_RANGE: Final = 416


class StoppedError(InputError):
    """Somebody asked to stop."""


@dataclass
class Traffic:
    """What all transfers of one download share: patience, a way to stop them, and counts."""

    patience: Patience = field(default_factory=Patience)
    moved: Callable[[int], object] = lambda _: None  # told how many bytes came, and how many came in vain (negative)
    stop: threading.Event = field(default_factory=threading.Event)
    received: int = 0  # bytes
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, n: int) -> None:
        """Count bytes that came."""
        with self._lock:
            self.received += n
        self.moved(n)

    def failed(self) -> None:
        """Count an attempt that failed."""
        with self._lock:
            self.retries += 1


class WrongFileError(OSError):
    """What came is not the file of the index."""


class _Part:
    """A file on its way: the bytes so far, and their digest."""

    def __init__(self, path: Path, entry: FileEntry) -> None:
        self.path, self.entry = path, entry
        self._digest, self.have = hashlib.sha256(), 0
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _opened(path)
            if path.stat().st_size > entry.size:
                self.reset()
            while block := self._file.read(BLOCK):  # of an earlier run
                self._digest.update(block)
                self.have += len(block)

    def add(self, block: bytes) -> None:
        if self.have + len(block) > self.entry.size:
            raise WrongFileError(f"more than its {self.entry.size} bytes came")
        with _writing(self.path):
            self._file.write(block)
        self._digest.update(block)
        self.have += len(block)

    def reset(self) -> None:
        with _writing(self.path):
            self._file.seek(0)
            self._file.truncate()
        self._digest, self.have = hashlib.sha256(), 0

    def check(self) -> None:
        if self.have < self.entry.size:
            raise OSError(f"{self.have} of {self.entry.size} bytes came")
        if self._digest.hexdigest() != self.entry.sha256:
            raise WrongFileError("its sha256 is another one")

    def finish(self, target: Path) -> None:
        with _writing(target):
            os.fsync(self._file.fileno())  # so that after a power loss what has its name is whole
            self.path.replace(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def fetch(source: Location, target: Path, entry: FileEntry, traffic: Traffic) -> None:
    """Fetch a file; it appears under its name when all of it is there and agrees with its checksum.

    What a killed run left beside it, NAME.part, is continued. An attempt that brings more of the file than any
    before starts the count of failures again.

    Raises:
        InputError: if it cannot be had, or is not the file of the index.
        WriteError: if it cannot be written.
    """
    failures = best = 0
    with _Part(target.with_name(target.name + PART), entry) as part:
        traffic.moved(part.have)
        while True:
            try:
                _read_on(source, part, traffic)
                part.check()
                break
            except (InputError, WriteError):
                raise
            except Exception as error:
                failures = 1 if part.have > best else failures + 1
                best = max(best, part.have)
                traffic.failed()
                if isinstance(error, WrongFileError):
                    _from_the_start(part, traffic)
                if not traffic.patience.lasts(failures, error):
                    raise told(error, source, failures) from None
                if traffic.stop.wait(traffic.patience.wait_s(failures, error)):
                    raise StoppedError("stopped") from None
        part.finish(target)


def _read_on(source: Location, part: _Part, traffic: Traffic) -> None:
    if part.have == part.entry.size > 0:
        return
    try:
        with stream(source, part.have) as (start, blocks):
            if start != part.have:  # no parts of files are to be had
                _from_the_start(part, traffic)
            for block in blocks:
                part.add(block)
                traffic.count(len(block))
                if traffic.stop.is_set():
                    raise StoppedError("stopped")
    except Exception as error:
        if getattr(error, "status", 0) == _NO_SUCH_RANGE:
            raise WrongFileError("there it is shorter") from None
        raise


def _from_the_start(part: _Part, traffic: Traffic) -> None:
    traffic.moved(-part.have)
    part.reset()


def _opened(path: Path) -> FileIO:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    return FileIO(handle, "r+b")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError.of(path, error) from error

"""Locks of folders that several machines share: who holds one, whether he lives, and what a dead one leaves.

The holder writes his machine and process into a file and touches it every few seconds. On the same machine a dead
process is told at once. From another machine the file is watched: its time stands still where the holder is gone.
Times are compared with each other, never with a clock, so that clocks may differ.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nextham.exceptions import InputError, WriteError
from nextham.files import partial
from nextham.workers import began

_BEAT_S: Final = 10.0
_SILENT_S: Final = 60.0  # a holder who did not touch his file for so long is gone
_POLL_S: Final = 2.0


@dataclasses.dataclass(frozen=True)
class Holder:
    """The process that holds a lock."""

    host: str
    pid: int
    began: int  # of the process, in ticks of its machine: tells it from a later one of the same number
    since: str  # UTC
    job: str = ""  # of the batch system

    @classmethod
    def this(cls) -> Holder:
        """Return this process."""
        now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        job = os.environ.get("SLURM_JOB_ID", "")
        return cls(socket.gethostname(), os.getpid(), began(os.getpid()) or 0, now, job)

    @property
    def here(self) -> bool:
        """Whether it runs on this machine."""
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether it runs; of another machine this is not known."""
        return not self.here or began(self.pid) == self.began

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job} (since {self.since})"


@contextmanager
def held(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock for the time of a block.

    Args:
        path: the lock's file.
        what: is locked, for messages.
        wait: until it is free, where somebody else holds it.

    Raises:
        InputError: if somebody who lives holds it, with who.
        WriteError: if the file cannot be written.
    """
    lock = take(path, what, wait=wait)
    try:
        yield
    finally:
        lock.release()


def take(path: Path, what: str, *, wait: bool = False) -> Lock:
    """Take a lock, to be released by its method; arguments and errors as of :func:`held`."""
    me, told = Holder.this(), False
    while not _created(path, me):
        other = holder(path)
        if other is None:
            continue  # it was released just now
        if not other.alive or _silent(path, other):
            _say(f"{what} was left locked by {other}, which is gone: going on")
            _remove(path, other)
        elif not wait:
            raise InputError(
                f"{what} is in use by {other}: wait for it or end it, then start again (its lock is {path})"
            )
        else:
            if not told:
                _say(f"{what} is in use by {other}: waiting for it")
            told = True
            time.sleep(_POLL_S)
    return Lock(path, me)


class Lock:
    """A lock that this process holds."""

    def __init__(self, path: Path, me: Holder) -> None:
        self._path, self._me, self._end = path, me, threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def release(self) -> None:
        """Give it back; a lock that another has taken meanwhile stays his."""
        self._end.set()
        _remove(self._path, self._me)

    def _beat(self) -> None:
        while not self._end.wait(_BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self._path)


def holder(path: Path) -> Holder | None:
    """Return who holds a lock, None where nobody does."""
    try:
        return Holder(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return Holder("an unknown machine", 0, 0, "an unknown time")  # silent, so that it can be told to be gone


def _created(path: Path, me: Holder) -> bool:
    """Create the file with its content at once, or not if there is one."""
    with partial(path) as part:
        part.write_text(json.dumps(dataclasses.asdict(me)) + "\n")
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError as error:
            raise WriteError.of(path, error) from error
    return True


def _silent(path: Path, other: Holder) -> bool:
    """Whether a holder on another machine does not touch his file any more; found by watching it."""
    if other.here:
        return False
    _say(f"{path} is held by {other}: watching for {_SILENT_S:.0f} s whether it is alive")
    before = _touched(path)
    end = time.monotonic() + _SILENT_S
    while time.monotonic() < end:
        time.sleep(min(_POLL_S, _SILENT_S / 5))
        if _touched(path) != before:
            return False
    return True


def _touched(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _remove(path: Path, owner: Holder) -> None:
    """Remove a lock if it is still this one's: another may have taken it in the meantime."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if holder(aside) != owner:
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    aside.unlink()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201

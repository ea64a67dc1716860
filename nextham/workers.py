"""Calls made in several processes at once: each result is handed over when it is there, and a death costs one call."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

Result = TypeVar("Result")

_GRACE_S: Final = 5.0  # for a process that is told to end
_SET_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG of Linux
_TERMINATED: Final = 128 + signal.SIGTERM  # exit status of a process that ended itself when it was told to
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")  # "max 100000", or microseconds of a core and of the time they are for
_MEMORY: Final = Path("/sys/fs/cgroup/memory.max")  # "max", or bytes
_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Died:
    """What stands for the result of a call whose process died."""

    exitcode: int  # negative: the signal that ended it

    @property
    def killed(self) -> bool:
        """Whether somebody ended it, most often the system for want of memory; else it crashed by itself."""
        return self.exitcode in (-signal.SIGKILL, -signal.SIGTERM, _TERMINATED)


class Workers(Generic[Result]):
    """Results of calls as they come, with the calls' numbers; with one worker they are made here, in order.

    ``apart`` makes them in a process of their own even then: for calls that may take this one down with them.

    Each process has one call at a time and waits with its result until it is asked for: no more than one finished
    result per worker is in memory. A call whose process dies is not repeated; the others are not touched.
    Calls and results are pickled. A call says itself what went wrong: an exception ends its process.
    """

    def __init__(self, calls: Sequence[Callable[[], Result]], workers: int, *, apart: bool = False) -> None:
        self._calls = calls
        self._workers = min(workers, len(calls))
        self._here = self._workers <= 1 and not apart
        self._waiting = deque(range(len(calls)))
        self._busy: dict[Connection[Any, Any], tuple[SpawnProcess, int]] = {}
        self._processes: list[SpawnProcess] = []

    def __iter__(self) -> Iterator[tuple[int, Result | Died]]:
        if self._here:
            for k, call in enumerate(self._calls):
                yield k, call()
            return
        for _ in range(self._workers):
            self._start()
        while self._busy:
            for ready in wait(list(self._busy)):
                assert isinstance(ready, Connection)
                yield self._received(ready)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection, (process, _call) in self._busy.items():  # left early; those without a call end by themselves
            process.terminate()
            connection.close()
        for process in self._processes:
            _wait_for(process)

    def _start(self) -> None:
        context = get_context("spawn")  # CUDA and threads do not survive a fork
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _share_of_cores(self._workers):
            process.start()
        theirs.close()  # so that its end is seen
        self._processes.append(process)
        self._hand_over(ours, process)

    def _hand_over(self, connection: Connection[Any, Any], process: SpawnProcess) -> None:
        """Give a process the next call, or let it go."""
        if not self._waiting:
            connection.close()
            return
        k = self._waiting.popleft()
        self._busy[connection] = (process, k)
        try:
            connection.send(self._calls[k])
        except OSError:  # it died just now, which reading will tell
            return

    def _received(self, connection: Connection[Any, Any]) -> tuple[int, Result | Died]:
        process, k = self._busy.pop(connection)
        try:
            result: Result = connection.recv()
        except (EOFError, OSError):
            connection.close()
            _wait_for(process)
            if self._waiting:
                self._start()
            return k, Died(process.exitcode or 0)
        self._hand_over(connection, process)
        return k, result


def _wait_for(process: SpawnProcess) -> None:
    """Wait for the end of a process that should be ending, and end it where it is not."""
    process.join(_GRACE_S)
    if process.is_alive():
        process.kill()
        process.join()


def _serve(connection: Connection[Any, Any]) -> None:
    """Make the calls that come, until no more do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends its workers
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # so that what runs is cleaned up
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while True:
            try:
                call = connection.recv()
            except EOFError:
                return
            connection.send(call())
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # an exception would be none of a call, but of Python's own end


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def limited_memory(gb: float) -> Iterator[None]:
    """Let this process take at most so many gigabytes more inside the block; what wants more gets a MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _data_bytes() + int(gb * 1e9)
    taken = [limit, *(bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(taken), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Return what the system counts against the limit already; without /proc nothing."""
    try:
        found = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return 0
    return 1024 * int(found[1]) if found else 0


def began(pid: int) -> int | None:
    """Return when a living process of this machine began, None where there is none; with its number it is one process.

    The unit is the machine's; where it cannot be known (no Linux), every living process began at 0.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, IndexError, ValueError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0


def ends_with_parent() -> Callable[[], None] | None:
    """Return what a child of :mod:`subprocess` calls before it starts, so that it is told to end if this thread dies.

    Linux alone can; elsewhere None.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: after a fork little is allowed
    return lambda: prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)


def cores() -> int:
    """Return how many threads this process may keep busy: by its CPU set, its quota and OMP_NUM_THREADS."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    if chosen.isdecimal() and int(chosen):
        found = min(found, int(chosen))
    try:
        quota, period = _QUOTA.read_text().split()
        return found if quota == "max" else max(1, min(found, int(quota) // int(period)))
    except (OSError, ValueError):
        return found


def memory_bytes() -> float:
    """Return the memory of this machine, or what its container may use of it."""
    found = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(OSError, ValueError):  # "max" is no number
        found = min(found, float(_MEMORY.read_text()))
    return found


@contextmanager
def _share_of_cores(workers: int) -> Iterator[None]:
    """Let processes that start now take their share of the threads that this one may; libraries read it once."""
    share = max(1, cores() // workers)
    before = {name: os.environ.get(name) for name in _THREADS}
    for name, value in before.items():
        os.environ[name] = str(min(int(value), share) if value and value.isdecimal() else share)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

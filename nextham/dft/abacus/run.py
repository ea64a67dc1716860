"""Run one ABACUS job in its folder, and say why it failed if it did."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nextham.dft.abacus.failures import Outcome, diagnose
from nextham.workers import began, ends_with_parent

_PROCESS: Final = "nextham-process.json"  # which process runs in a folder
_GRACE_S: Final = 10.0  # between asking a job to end and killing it
_PRINTED_BYTES: Final = 1 << 20  # of what a run printed, from each end


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of ABACUS in a folder that holds its inputs."""

    id: str  # structure id
    what: str  # "H0 run" or "SCF run"
    folder: Path
    log: str  # the running log, in the folder
    timeout_s: float
    omp_threads: int = 1
    must_converge: bool = False


def run_job(job: Job, words: Sequence[str]) -> float:
    """Run a job to its end and return its wall time in seconds.

    The words are started without a shell, in a process group of their own: what an MPI launcher has
    started ends with it, on a timeout and when this program is interrupted. Where this program is killed the job is
    told to end too, and what is left of it is ended before another starts in the folder. Standard output and error
    go to ``abacus.out`` and ``abacus.err`` in the folder.

    Raises:
        RunError: if the run failed, with the cause and the last lines of the log.
    """
    start = time.monotonic()
    returncode = _execute(job, words)
    seconds = time.monotonic() - start
    outcome = Outcome(
        id=job.id,
        what=job.what,
        folder=job.folder,
        returncode=returncode,
        seconds=seconds,
        printed="\n".join(_ends(job.folder / name) for name in ("abacus.out", "abacus.err")),
        log=_whole(job.folder / job.log),
        free_bytes=shutil.disk_usage(job.folder).free,
        must_converge=job.must_converge,
    )
    error = diagnose(outcome)
    if error is not None:
        raise error
    return seconds


def _execute(job: Job, words: Sequence[str]) -> int | None:
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.omp_threads)}
    _end_leftover(job.folder)
    with (job.folder / "abacus.out").open("wb") as out, (job.folder / "abacus.err").open("wb") as err:
        process = subprocess.Popen(
            list(words),
            cwd=job.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=ends_with_parent(),  # noqa: PLW1509  (one system call)
        )
        try:
            _note_process(job.folder, process.pid)
            return process.wait(timeout=job.timeout_s)
        except subprocess.TimeoutExpired:
            _end_group(process)
            return None
        except BaseException:  # an interrupt must not leave the job behind
            _end_group(process)
            raise


def _note_process(folder: Path, pid: int) -> None:
    note = {"host": socket.gethostname(), "pid": pid, "began": began(pid)}
    (folder / _PROCESS).write_text(json.dumps(note) + "\n")


def _end_leftover(folder: Path) -> None:
    """End what a killed program left running in a folder of this machine: two runs would write the same files."""
    try:
        note = json.loads((folder / _PROCESS).read_text())
        group, now = int(note["pid"]), began(int(note["pid"]))
        if note["host"] != socket.gethostname() or group <= 1 or now not in (None, note["began"]):
            return  # elsewhere, or another process has the number now
    except (OSError, ValueError, KeyError, TypeError):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a running job with all that it started: ask, wait, kill."""
    for number, patience in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)  # the group has the number of its first process
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _whole(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _ends(path: Path) -> str:
    """Return the text of a file, without the middle where it is long."""
    with path.open("rb") as file:
        head = file.read(_PRINTED_BYTES)
        file.seek(max(len(head), path.stat().st_size - _PRINTED_BYTES))
        return (head + file.read()).decode(errors="replace")

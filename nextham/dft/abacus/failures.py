"""Why a run failed: from its exit status, what it printed and its log, to one cause and one sentence."""

from __future__ import annotations

import dataclasses
import re
import signal
from pathlib import Path
from typing import Final

from nextham.dft.abacus.log import converged, density_errors
from nextham.dft.engine import Cause, RunError

_TAIL_LINES: Final = 30
_FULL_BYTES: Final = 1 << 20  # less room than this and the next block of output is lost

_NO_SPACE = re.compile(r"no space left on device|disk quota exceeded|\bENOSPC\b|\bEDQUOT\b", re.IGNORECASE)
_NO_MEMORY = re.compile(
    r"out of memory|oom[-_ ]?kill|std::bad_alloc|cannot allocate memory|memory allocation failed", re.IGNORECASE
)
_TIME_LIMIT = re.compile(r"due to time limit", re.IGNORECASE)
_MPI_SIGNAL = re.compile(
    r"(?:exited on|exit(?:ing)? by|killed by|terminated by|received) signal[: ]+(\d+)", re.IGNORECASE
)
_NOTICE = re.compile(r"(?:NOTICE\s+!{10,}|!{10,}\s+ERROR!)(?P<text>.*?)(?:CHECK IN FILE|!{10,})", re.DOTALL)
_UNKNOWN_CALCULATION = re.compile(r"parameter calculation must be|check 'calculation'", re.IGNORECASE)
_NOT_FOUND = re.compile(
    r"(?:can ?not|can't|could ?n[o']t|couldn't) (?:find|open)|no such file|not found", re.IGNORECASE
)
_UNREAD_KEY = re.compile(r"THE PARAMETER NAME '\w+' IS NOT USED!")
_CRASH_SIGNALS = {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGBUS, signal.SIGTRAP}


class UnknownCalculationError(RunError):
    """The build does not know this value of ``calculation``."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run left."""

    id: str
    what: str  # "H0 run" or "SCF run"
    folder: Path
    returncode: int | None  # negative: the signal; None: it ran past its timeout
    seconds: float
    printed: str  # standard output and error
    log: str  # running_*.log, empty if there is none
    free_bytes: int
    must_converge: bool

    @property
    def tail(self) -> str:
        """Last lines of the log, or of what it printed."""
        text = self.log if self.log.strip() else self.printed
        return "\n".join(text.rstrip().splitlines()[-_TAIL_LINES:])


def diagnose(outcome: Outcome) -> RunError | None:
    """Return why a run failed, or None for a good one."""
    found = _stopped(outcome) or _refused(outcome) or _ended_badly(outcome)
    if found is None:
        return None
    cause, sentence = found
    error = UnknownCalculationError if _is_unknown_calculation(outcome) else RunError
    return error(cause, f"{outcome.id}: {sentence}", log_tail=outcome.tail)


def disk_is_full(free_bytes: int) -> bool:
    """Whether a disk with this room cannot take another block of output."""
    return free_bytes < _FULL_BYTES


def _stopped(run: Outcome) -> tuple[Cause, str] | None:
    """Return the cause if something outside ABACUS ended the run."""
    where = f"the {run.what} in {run.folder}"
    if run.returncode is None:
        return Cause.TIMEOUT, f"{where} was stopped after {run.seconds:.0f} s; raise its timeout or give it more cores"
    text = run.printed + run.tail
    finished = run.returncode == 0 and not (run.must_converge and converged(run.log) is None)
    if _NO_SPACE.search(text) or (not finished and disk_is_full(run.free_bytes)):
        return Cause.DISK_FULL, f"the disk of {run.folder} is full; free space there and run again"
    return _killed(run, where, text) if run.returncode else None


def _killed(run: Outcome, where: str, text: str) -> tuple[Cause, str] | None:
    if _TIME_LIMIT.search(text):
        return Cause.KILLED, f"{where} reached the time limit of the batch job; ask for a longer one"
    if _NO_MEMORY.search(text):
        return Cause.KILLED, f"{where} ran out of memory; give it more, or fewer processes"
    number = _signal_of(run)
    if number is None or number in _CRASH_SIGNALS:
        return None
    hint = ", most often for want of memory" if number == signal.SIGKILL else ""
    return Cause.KILLED, f"{where} was killed by {_signal_name(number)}{hint}; run it again with more memory or time"


def _refused(run: Outcome) -> tuple[Cause, str] | None:
    """Return the cause if ABACUS itself ended the run with a notice (some builds then exit with status 0)."""
    match = _NOTICE.search(run.printed) or _NOTICE.search(run.log)
    if match is None:
        return None
    unread = _UNREAD_KEY.search(run.printed)
    text = " ".join((unread.group() if unread else match["text"]).split())
    cause = Cause.MISSING_FILE if _NOT_FOUND.search(text) else Cause.BAD_INPUT
    return cause, f"ABACUS refused the {run.what} in {run.folder}: {text!r}; change what it names in the settings"


def _ended_badly(run: Outcome) -> tuple[Cause, str] | None:
    where = f"the {run.what} in {run.folder}"
    if run.must_converge and converged(run.log) is False:
        steps = density_errors(run.log)
        reached = f" (density error {steps[-1]:.3g})" if steps else ""
        return (
            Cause.UNCONVERGED,
            f"{where} did not converge in {len(steps) or 'its'} steps{reached}; raise scf_nmax or lower mixing_beta",
        )
    if run.returncode:
        number = _signal_of(run)
        how = _signal_name(number) if number is not None else f"exit status {run.returncode}"
        last = next((line.strip() for line in reversed(run.printed.splitlines()) if line.strip()), "no message")
        return Cause.CRASHED, f"{where} crashed with {how}: {last!r}; see abacus.out and abacus.err there"
    if not run.log.strip():
        return Cause.CRASHED, f"{where} wrote no log although it ended with status 0; see abacus.out there"
    if run.must_converge and converged(run.log) is None:
        return Cause.TRUNCATED, f"the log of {where} ends before the SCF does; run it again"
    return None


def _is_unknown_calculation(run: Outcome) -> bool:
    return bool(_UNKNOWN_CALCULATION.search(run.printed) or _UNKNOWN_CALCULATION.search(run.log))


def _signal_of(run: Outcome) -> int | None:
    """Return the signal that ended a run: its own, a shell's 128 + n, or the one an MPI launcher tells of."""
    match = _MPI_SIGNAL.search(run.printed)
    if match:
        return int(match[1])
    code = run.returncode or 0
    if code < 0:
        return -code
    return code - 128 if 128 < code <= 128 + signal.SIGSYS else None


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"

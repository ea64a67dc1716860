"""The contract of an engine, and how its runs fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from nextham.core import LCAOSystem, Structure
from nextham.exceptions import NexthamError
from nextham.physics.bands import Levels

Attempt = Mapping[str, Any]  # plain values: settings of one try, and how it ended


class Cause(StrEnum):
    """Why a run gave no system; the ledger counts by it."""

    BAD_INPUT = "bad-input"
    MISSING_FILE = "missing-file"
    TRUNCATED = "truncated-output"
    EMPTY = "empty-output"
    INCONSISTENT = "inconsistent-output"
    NOT_FINITE = "not-finite"
    UNCONVERGED = "unconverged"
    TIMEOUT = "timeout"
    KILLED = "killed"
    DISK_FULL = "disk-full"
    DISK_LIMIT = "disk-limit"
    OUT_OF_MEMORY = "out-of-memory"
    CRASHED = "crashed"


class RunError(NexthamError):
    """A DFT run that gave no usable system.

    Args:
        cause: the class of failure.
        message: one sentence with structure id, file and the way out.
        log_tail: last lines of the engine's log, for the ledger.
        attempts: settings tried, in order, each with how it ended; none where there was but one try.
    """

    def __init__(self, cause: Cause, message: str, *, log_tail: str = "", attempts: Sequence[Attempt] = ()) -> None:
        super().__init__(message)
        self.cause = cause
        self.log_tail = log_tail
        self.attempts = tuple(attempts)

    def __reduce__(self) -> tuple[type[RunError], tuple[Cause, str], dict[str, Any]]:
        return RunError, (self.cause, str(self)), {"log_tail": self.log_tail, "attempts": self.attempts}


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What an engine hands over: the system, and the levels it printed (for the check of our bands)."""

    system: LCAOSystem  # one structure, house conventions
    levels: Levels | None = None
    attempts: tuple[Attempt, ...] = ()  # settings tried where the first did not do, in order


class Engine(Protocol):
    """A DFT program: makes H0(R), S(R) and the self-consistent H(R) of a structure.

    The returned system follows the house conventions (eV, Å, orbital order, spin layout): an engine
    converts once, in its own parser. Atoms come back grouped by element and folded into the home cell.
    """

    name: str

    @property
    def version(self) -> str:
        """Of the program, empty where it does not say."""
        ...

    def fingerprint(self, structure: Structure, *, id: str) -> str:
        """Return a hash of all that the numbers follow from, without computing them.

        It is empty where the engine itself reads finished runs of ``folder`` again.

        Raises:
            RunError: if the structure or its species cannot be used.
        """
        ...

    def h0(self, structure: Structure, *, id: str, folder: Path) -> RunResult:
        """Make S and H0 without self-consistency; files go to ``folder``.

        Raises:
            RunError: if the run fails.
        """
        ...

    def scf(self, structure: Structure, *, id: str, folder: Path) -> RunResult:
        """Make S, H0 and the converged H; files go to ``folder``.

        Raises:
            RunError: if a run fails or does not converge.
        """
        ...

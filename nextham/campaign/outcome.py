"""What becomes of one structure: a checked record, or a reason."""

from __future__ import annotations

import dataclasses
import errno
import traceback
from collections.abc import Callable, Collection
from typing import Any, Final, TypeVar

from nextham.campaign.settings import DatasetSettings
from nextham.core import OPERATORS
from nextham.data.checks import certify
from nextham.data.ledger import Entry
from nextham.data.record import Record, encode
from nextham.dft.engine import Cause, RunError, RunResult
from nextham.exceptions import CheckError, NexthamError, WriteError, reason_of
from nextham.workers import Died

Made = TypeVar("Made")

CHECK: Final = "check"  # the stage in the ledger of a record that fails a check


@dataclasses.dataclass(frozen=True)
class Rules:
    """What is asked of every record of a campaign."""

    stage: str  # name of the work in the ledger and the progress bar
    settings: DatasetSettings
    required: Collection[str] = tuple(OPERATORS)  # operators that each must carry


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one structure: a line for the ledger, and a record where all went well."""

    entry: Entry
    record: Record | None = None

    @property
    def lasting(self) -> bool:
        """Whether the same would come out again: a record, no convergence or a failed check, but no bad file."""
        return self.entry.ok or self.entry.stage == CHECK or self.entry.cause in _LASTING

    def noted(self, **facts: Any) -> Outcome:
        """Return the same with more facts for the ledger."""
        return dataclasses.replace(self, entry=dataclasses.replace(self.entry, facts={**self.entry.facts, **facts}))


_LASTING: Final = (Cause.UNCONVERGED.value, Cause.NOT_FINITE.value)


def finish(id: str, make: Callable[[], RunResult], rules: Rules) -> Outcome:
    """Make one structure's system, check it and encode it."""
    result = attempt(id, rules.stage, make)
    if isinstance(result, Entry):
        return Outcome(result)
    record = attempt(id, rules.stage, lambda: _record(result, rules))
    if isinstance(record, Entry):
        return Outcome(record).noted(formula=result.system.structure().formula)
    entry = Entry(id=id, stage=rules.stage, ok=True, facts=_facts(record), attempts=result.attempts)
    return Outcome(entry, record)


def attempt(id: str, stage: str, call: Callable[[], Made]) -> Made | Entry:
    """Return what a call for one structure makes, or why it fails, for the ledger.

    Raises:
        WriteError: if the store cannot be written; that is no structure's fault.
    """
    try:
        return call()
    except WriteError:
        raise
    except OSError as error:
        return _failure(id, stage, _cause(error), f"{id}: {error.filename or stage}: {reason_of(error)}")
    except RunError as error:
        failure = _failure(id, stage, error.cause, str(error), error.log_tail)
        return dataclasses.replace(failure, attempts=error.attempts)
    except CheckError as error:
        return _failure(id, CHECK, error.check, str(error))
    except NexthamError as error:
        return _failure(id, stage, Cause.BAD_INPUT, str(error))
    except Exception as error:  # a fault of ours in one structure must not stop the others
        message = f"{id}: unexpected {type(error).__name__}: {error}; please report it with the log tail"
        return _failure(id, stage, "unexpected", message, traceback.format_exc())


def lost(id: str, stage: str, died: Died) -> Outcome:
    """Return the outcome of a structure whose process died."""
    if died.killed:
        text = f"{id}: its process was killed, most often because memory ran out; use fewer workers or more memory"
        return Outcome(_failure(id, stage, Cause.KILLED, text))
    text = f"{id}: its process crashed (exit status {died.exitcode}); run it alone, and report it if it crashes again"
    return Outcome(_failure(id, stage, Cause.CRASHED, text))


def _record(result: RunResult, rules: Rules) -> Record:
    system, settings = result.system, rules.settings
    certificate = certify(system, settings=settings.checks, levels=result.levels, required=rules.required)
    return encode(system, settings.store, certificate=certificate)


def _failure(id: str, stage: str, cause: str, message: str, log_tail: str = "") -> Entry:
    return Entry(id=id, stage=stage, ok=False, cause=str(cause), message=message, log_tail=log_tail)


def _cause(error: OSError) -> Cause:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Cause.DISK_FULL
    return Cause.MISSING_FILE if isinstance(error, FileNotFoundError) else Cause.BAD_INPUT


def _facts(record: Record) -> dict[str, Any]:
    meta = record.meta
    facts = {"scf_steps": meta.scf_steps, "wall_time_s": meta.wall_time_s, "engine_version": meta.engine_version}
    return {name: value for name, value in facts.items() if value not in (None, "")}

"""Where systems come from: crystals through an engine, or finished ABACUS runs."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from nextham.campaign.collect import Job, Summary, Target, collect
from nextham.campaign.outcome import Rules
from nextham.campaign.saved import Saved
from nextham.campaign.settings import DatasetSettings
from nextham.core import OPERATORS, Structure
from nextham.dft.engine import Engine, RunResult
from nextham.exceptions import InputError, NexthamError

if TYPE_CHECKING:
    from nextham.structures.files import Found


class Task(StrEnum):
    """What an engine computes of each structure."""

    H0 = "h0"
    SCF = "scf"

    @property
    def operators(self) -> tuple[str, ...]:
        """Operators that a record must then carry."""
        return _H0_OPERATORS if self is Task.H0 else tuple(OPERATORS)


_H0_OPERATORS: Final = ("overlap", "h0")


@dataclasses.dataclass(frozen=True)
class RunFolders:
    """Where an engine works: one folder per structure, removed once its record is in the store."""

    path: Path
    keep: bool = False


@dataclasses.dataclass(frozen=True)
class Computation:
    """How an engine computes the structures of a campaign."""

    task: Task
    runs: RunFolders
    workers: int = 1  # processes, each with one structure at a time and its share of the cores


def run_structures(
    files: Sequence[Path], engine: Engine, target: Target, how: Computation, *, settings: DatasetSettings
) -> Summary:
    """Compute the crystals of files with an engine, check them and write a store.

    What was finished is kept in the folders of the runs and not repeated after an interruption.

    Args:
        files: structure files; one that cannot be read goes to the ledger like a failed run.
        engine: the DFT program.
        target: the store.
        how: h0 or scf, where the engine works, and how many structures at a time.
        settings: how records are checked and written.

    Raises:
        NexthamError: if no structure gave a record and the target may not be empty.
    """
    runs = how.runs
    rules = Rules(how.task.value, settings, how.task.operators)
    crystals = [found for path in files for found in found_in(path)]
    distinct((found.id, found.where) for found in crystals)
    jobs = [_job(engine, found, runs.path / found.id, rules) for found in crystals]
    summary = collect(jobs, target, rules, workers=how.workers)
    if not runs.keep:
        for id in summary.stored:
            shutil.rmtree(runs.path / id, ignore_errors=True)
        if runs.path.is_dir() and not any(runs.path.iterdir()):
            runs.path.rmdir()
    return summary


class Readable(Protocol):
    """One structure that a program has finished, in files of its own."""

    @property
    def id(self) -> str:
        """Structure id."""
        ...

    @property
    def path(self) -> Path | None:
        """Where it lies, for people."""
        ...

    def read(self) -> RunResult:
        """Read it.

        Raises:
            NexthamError: if its files cannot be used.
        """
        ...


def import_runs(
    runs: Sequence[Readable],
    target: Target,
    *,
    settings: DatasetSettings,
    required: Collection[str] = tuple(OPERATORS),
    workers: int = 1,
) -> Summary:
    """Read what other programs have finished, check it and write a store.

    Args:
        runs: what to read; one that cannot be read goes to the ledger.
        target: the store.
        settings: how records are checked and written.
        required: operators that each must carry.
        workers: processes that read and check.

    Raises:
        NexthamError: if two runs have one id, or none gave a record and the target may not be empty.
    """
    distinct((run.id, str(run.path)) for run in runs)
    jobs = [Job(run.id, run.read) for run in runs]
    return collect(jobs, target, Rules("import", settings, required), workers=workers)


class Foreign(Readable, Protocol):
    """... whose files come from somewhere else, and may be anything."""

    def fingerprint(self) -> str:
        """Return a hash of all that the result follows from, without reading much."""
        ...


def import_foreign(
    runs: Sequence[Foreign],
    target: Target,
    *,
    settings: DatasetSettings,
    required: Collection[str] = tuple(OPERATORS),
    workers: int = 1,
) -> Summary:
    """Do the same with files from elsewhere: each is read in another process, which it may take down with it.

    What was read is kept in ``STORE.records`` until the store is written, and not read again after an interruption.

    Raises:
        NexthamError: like :func:`import_runs`.
    """
    distinct((run.id, str(run.path)) for run in runs)
    rules = Rules("import", settings, required)
    kept = target.path.with_name(f"{target.path.name}.records")
    jobs = [Job(run.id, run.read, Saved(kept / run.id, run.id, rules, run.fingerprint)) for run in runs]
    summary = collect(jobs, target, rules, workers=workers, apart=True)
    if kept.is_dir() and not any(kept.iterdir()):
        kept.rmdir()
    return summary


def load_structures(files: Iterable[Path]) -> list[tuple[str, Structure | NexthamError]]:
    """Return the crystals of files by id; in place of a file or frame that cannot be read stands the reason.

    Raises:
        InputError: if two crystals have the same id.
    """
    crystals = [found for path in files for found in found_in(path)]
    distinct((found.id, found.where) for found in crystals)
    return [(found.id, found.crystal) for found in crystals]


def found_in(path: Path) -> list[Found]:
    """Return the crystals of a file; in place of one that cannot be read stands the reason."""
    from nextham.structures.files import read_or_reason

    return read_or_reason(path, more={"stru": _read_stru})


def distinct(named: Iterable[tuple[str, str]]) -> None:
    """Refuse two structures of one id; each is given with where it comes from.

    Raises:
        InputError: with both places.
    """
    first: dict[str, str] = {}
    for id, where in named:
        if id in first:
            raise InputError(f"{where} and {first[id]} are both called {id}; rename one")
        first[id] = where


def _job(engine: Engine, found: Found, folder: Path, rules: Rules) -> Job:
    crystal, id = found.crystal, found.id
    if isinstance(crystal, NexthamError):
        return Job(id, partial(refuse, crystal))
    compute = engine.h0 if rules.stage == Task.H0 else engine.scf
    saved = Saved(folder, id, rules, partial(engine.fingerprint, crystal, id=id))
    call = partial(with_origin, partial(compute, crystal, id=id, folder=folder), found.origin)
    return Job(id, call, saved, crystal.formula)


def with_origin(compute: Callable[[], RunResult], origin: tuple[str, str]) -> RunResult:
    """Compute a crystal, and note its source and licence in the system."""
    result = compute()
    source, licence = origin
    return dataclasses.replace(result, system=result.system.with_meta(source=source, licence=licence))


def refuse(error: NexthamError) -> RunResult:
    """Stand in for a computation that cannot be made."""
    raise error


def _read_stru(path: Path) -> Structure:
    from nextham.dft.abacus.stru import read_stru

    return read_stru(path).structure

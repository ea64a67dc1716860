"""Many structures, each to a checked record in a store or to a reason in the ledger; a failed one stops nothing."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from nextham.console import track
from nextham.core import OPERATORS, Structure
from nextham.data.checks import certify
from nextham.data.ledger import Entry, Ledger
from nextham.data.settings import CheckSettings, StoreSettings
from nextham.data.writer import StoreWriter
from nextham.dft.abacus.settings import AbacusSettings
from nextham.dft.engine import Cause, Engine, RunError, RunResult
from nextham.dft.lcao.settings import LCAOSettings
from nextham.dft.settings import SpeciesSettings
from nextham.exceptions import CheckError, InputError, NexthamError, WriteError, reason_of
from nextham.readahead import ReadAhead

if TYPE_CHECKING:
    from nextham.dft.abacus.reader import FinishedRun

Job = tuple[str, Callable[[], RunResult]]  # id, and what makes its system


class DatasetSettings(BaseModel):
    """How records are checked and written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: StoreSettings = Field(default_factory=StoreSettings, description="How shards are written.")
    checks: CheckSettings = Field(default_factory=CheckSettings, description="What a record must pass.")


class EngineSettings(DatasetSettings):
    """... and how they are computed."""

    species: SpeciesSettings = Field(default_factory=SpeciesSettings, description="Pseudopotentials and orbitals.")
    lcao: LCAOSettings = Field(default_factory=LCAOSettings, description="How the embedded engine computes.")
    abacus: AbacusSettings = Field(default_factory=AbacusSettings, description="How ABACUS is run.")


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
class Target:
    """The store that a campaign writes."""

    path: Path
    overwrite: bool = False
    allow_empty: bool = False  # write a store even where every structure failed

    @property
    def ledger(self) -> Path:
        """Where the ledger is kept until it moves into the store."""
        return self.path.with_name(f"{self.path.name}.ledger.jsonl")


@dataclasses.dataclass(frozen=True)
class RunFolders:
    """Where an engine works: one folder per structure, removed once its record is in the store."""

    path: Path
    keep: bool = False


@dataclasses.dataclass(frozen=True)
class Summary:
    """What became of the structures of a campaign."""

    store: Path
    stored: tuple[str, ...]  # ids
    failed: tuple[Entry, ...]
    skipped: Mapping[str, int] = dataclasses.field(default_factory=dict)  # check: stored structures without it

    @property
    def causes(self) -> Mapping[str, int]:
        """How many failed by each cause."""
        names = [entry.cause for entry in self.failed]
        return {name: names.count(name) for name in dict.fromkeys(names)}

    def __str__(self) -> str:
        reasons = ", ".join(f"{n} {cause}" for cause, n in self.causes.items())
        total = len(self.stored) + len(self.failed)
        without = ", ".join(f"{n} without the check of {check}" for check, n in self.skipped.items())
        notes = [without] * bool(without) + [f"failed: {reasons}"] * bool(reasons)
        return f"{self.store}: {len(self.stored)} of {total} structures" + (f" ({'; '.join(notes)})" if notes else "")


def run_structures(
    files: Sequence[Path], engine: Engine, target: Target, *, task: Task, runs: RunFolders, settings: DatasetSettings
) -> Summary:
    """Compute the crystals of files with an engine, check them and write a store.

    Args:
        files: structure files; one that cannot be read goes to the ledger like a failed run.
        engine: the DFT program.
        target: the store.
        task: h0 or scf.
        runs: where the engine works. Runs that ended well are not repeated after an interruption.
        settings: how records are checked and written.

    Raises:
        NexthamError: if no structure gave a record and the target may not be empty.
    """
    compute = engine.h0 if task is Task.H0 else engine.scf
    jobs: list[Job] = [
        (id, partial(_computed, compute, found, id, runs.path / id)) for id, found in load_structures(files)
    ]
    summary = collect(jobs, target, stage=task.value, settings=settings, required=task.operators)
    if not runs.keep:
        for id in summary.stored:
            shutil.rmtree(runs.path / id, ignore_errors=True)
        if runs.path.is_dir() and not any(runs.path.iterdir()):
            runs.path.rmdir()
    return summary


def import_runs(
    runs: Sequence[FinishedRun],
    target: Target,
    *,
    settings: DatasetSettings,
    required: Collection[str] = tuple(OPERATORS),
    workers: int = 1,
) -> Summary:
    """Read finished ABACUS runs, check them and write a store.

    Args:
        runs: what to read; one that cannot be read goes to the ledger.
        target: the store.
        settings: how records are checked and written.
        required: operators that each must carry.
        workers: processes that read.

    Raises:
        NexthamError: if two runs have one id, or none gave a record and the target may not be empty.
    """
    first: dict[str, FinishedRun] = {}
    for run in runs:
        if run.id in first:
            raise InputError(f"{run.path} and {first[run.id].path} are both called {run.id}; rename one")
        first[run.id] = run
    with ReadAhead([run.read for run in runs], workers) as read:
        jobs: list[Job] = [(run.id, partial(read, k)) for k, run in enumerate(runs)]
        return collect(jobs, target, stage="import", settings=settings, required=required)


def load_structures(files: Iterable[Path]) -> list[tuple[str, Structure | NexthamError]]:
    """Return the crystals of files by id; in place of one that cannot be read stands the reason.

    Raises:
        InputError: if two crystals have the same id.
    """
    from nextham.structures.files import id_of, read_named

    found: list[tuple[str, Structure | NexthamError]] = []
    origin: dict[str, Path] = {}
    for path in files:
        try:
            here: list[tuple[str, Structure | NexthamError]] = [*read_named(path, more={"stru": _read_stru})]
        except NexthamError as error:
            here = [(id_of(path), error)]
        for id, _ in here:
            if id in origin:
                raise InputError(f"{path} and {origin[id]} are both called {id}; rename one")
            origin[id] = path
        found += here
    return found


def collect(
    jobs: Sequence[Job],
    target: Target,
    *,
    stage: str,
    settings: DatasetSettings,
    required: Collection[str] = tuple(OPERATORS),
) -> Summary:
    """Make each system, check it and write it; what fails goes to the ledger with its reason.

    Args:
        jobs: ids, and what makes their systems.
        target: the store.
        stage: name of the work in the ledger and the progress bar.
        settings: how records are checked and written.
        required: operators that each must carry.

    Raises:
        WriteError: if the store cannot be written, e.g. to a full disk; the ledger beside it is kept.
        NexthamError: if no structure gave a record and the target may not be empty.
    """
    ledger = Ledger(target.ledger)
    writer = StoreWriter(
        target.path, settings=settings.store, overwrite=target.overwrite, allow_empty=target.allow_empty
    )
    stored: list[str] = []
    skipped: Counter[str] = Counter()
    with writer:
        ledger.path.unlink(missing_ok=True)  # of a campaign that was killed: each of its structures is seen to again
        for id, make in track(jobs, stage):
            try:
                result = make()
                certificate = certify(result.system, settings=settings.checks, levels=result.levels, required=required)
                writer.add(result.system, certificate=certificate)
            except WriteError:
                raise
            except OSError as error:
                ledger.failure(id, stage, _cause(error), f"{id}: {error.filename or stage}: {reason_of(error)}")
            except NexthamError as error:
                ledger.failure(id, *_reason(error, stage), str(error), log_tail=getattr(error, "log_tail", ""))
            except Exception as error:  # a fault of ours in one structure must not stop the others
                message = f"{id}: unexpected {type(error).__name__}: {error}; please report it with the log tail"
                ledger.failure(id, stage, "unexpected", message, log_tail=traceback.format_exc())
            else:
                ledger.success(id, stage, **_facts(result))
                stored.append(id)
                if set(required) == set(OPERATORS):  # without one of them checks are skipped by intention
                    skipped.update(certificate.skipped.keys())
        failed = _failed(ledger, {id for id, _ in jobs} - set(stored))
        summary = Summary(target.path, tuple(stored), failed, skipped)
        if not stored and not target.allow_empty:
            raise NexthamError(_none_left(summary, ledger.path))
        wanted = {id for id, _ in jobs}
        for entry in (entry for id, entry in ledger.last().items() if id in wanted):
            writer.ledger.add(entry)
    ledger.path.unlink(missing_ok=True)  # the store holds it now
    return summary


def _reason(error: NexthamError, stage: str) -> tuple[str, str]:
    """Return stage and cause for the ledger."""
    if isinstance(error, RunError):
        return stage, error.cause.value
    if isinstance(error, CheckError):
        return "check", error.check
    return stage, Cause.BAD_INPUT.value


def _cause(error: OSError) -> Cause:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Cause.DISK_FULL
    return Cause.MISSING_FILE if isinstance(error, FileNotFoundError) else Cause.BAD_INPUT


def _facts(result: RunResult) -> dict[str, Any]:
    meta = result.system.meta[0]
    facts = {"scf_steps": meta.scf_steps, "wall_time_s": meta.wall_time_s, "engine_version": meta.engine_version}
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _failed(ledger: Ledger, ids: Collection[str]) -> tuple[Entry, ...]:
    last = ledger.last()
    return tuple(entry for id, entry in last.items() if id in ids)


def _none_left(summary: Summary, ledger: Path) -> str:
    n = len(summary.failed)
    if not n:
        return f"there is no structure to write to {summary.store}"
    reasons = ", ".join(f"{k} {cause}" for cause, k in summary.causes.items())
    first = summary.failed[0].message
    return f"no structure of {n} gave a record ({reasons}); all reasons are in {ledger}, the first: {first}"


def _read_stru(path: Path) -> Structure:
    from nextham.dft.abacus.stru import read_stru

    return read_stru(path).structure


def _computed(compute: Callable[..., RunResult], found: Structure | NexthamError, id: str, folder: Path) -> RunResult:
    if isinstance(found, NexthamError):
        raise found
    return compute(found, id=id, folder=folder)

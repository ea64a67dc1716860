"""Outcomes of many structures into one store and its ledger."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from nextham.campaign.outcome import Outcome, Rules, attempt, finish, lost
from nextham.campaign.saved import Saved
from nextham.console import track
from nextham.core import OPERATORS
from nextham.data.ledger import Entry, Ledger
from nextham.data.writer import StoreWriter
from nextham.dft.engine import RunResult
from nextham.exceptions import NexthamError
from nextham.workers import Died, Workers


@dataclasses.dataclass(frozen=True)
class Job:
    """One structure to see to; with several workers it is pickled."""

    id: str
    make: Callable[[], RunResult]
    saved: Saved | None = None  # where its outcome is kept until the store is written
    formula: str = ""  # of the crystal, where it is known before it is computed


@dataclasses.dataclass(frozen=True)
class Waiting:
    """Structures that are to be seen to, and by how many processes."""

    jobs: Sequence[Job]
    workers: int = 1  # one is this process
    apart: bool = False  # one is a process of its own, too: what kills it costs its structure alone


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
class Summary:
    """What became of the structures of a campaign."""

    store: Path
    stored: tuple[str, ...]  # ids
    failed: tuple[Entry, ...]
    skipped: Mapping[str, int] = dataclasses.field(default_factory=dict)  # check: stored structures without it
    read_back: int = 0  # structures that an interrupted campaign had finished

    @property
    def causes(self) -> Mapping[str, int]:
        """How many failed by each cause."""
        return Counter(entry.cause for entry in self.failed)

    def __str__(self) -> str:
        reasons = ", ".join(f"{n} {cause}" for cause, n in self.causes.items())
        total = len(self.stored) + len(self.failed)
        without = ", ".join(f"{n} without the check of {check}" for check, n in self.skipped.items())
        notes = [f"{self.read_back} finished before an interruption"] * bool(self.read_back)
        notes += [without] * bool(without) + [f"failed: {reasons}"] * bool(reasons)
        return f"{self.store}: {len(self.stored)} of {total} structures" + (f" ({'; '.join(notes)})" if notes else "")


class NothingStoredError(NexthamError):
    """No structure gave a record; the summary has each reason."""

    def __init__(self, message: str, summary: Summary) -> None:
        super().__init__(message)
        self.summary = summary


def collect(jobs: Sequence[Job], target: Target, rules: Rules, *, workers: int = 1, apart: bool = False) -> Summary:
    """Make each system, check it and write it; what fails goes to the ledger with its reason.

    Args:
        jobs: the structures; the store holds them in the order in which they were finished.
        target: the store.
        rules: what is asked of each record.
        workers: processes that make and check systems; one: this process.
        apart: ... but for one of its own, where making a system may end its process.

    Raises:
        WriteError: if the store cannot be written, e.g. to a full disk; the ledger beside it is kept.
        NothingStoredError: if no structure gave a record and the target may not be empty.
    """
    ledger = Ledger(target.ledger)
    writer = StoreWriter(
        target.path, settings=rules.settings.store, overwrite=target.overwrite, allow_empty=target.allow_empty
    )
    entries: dict[str, Entry] = {}
    skipped: Counter[str] = Counter()
    with (
        writer,
        closing(outcomes(Waiting(jobs, workers, apart), rules)) as made,
    ):  # closed: no process outlives an error
        ledger.path.unlink(missing_ok=True)  # of a campaign that was killed: each of its structures is seen to again
        for outcome in made:
            entry = written(outcome, writer, rules.stage)
            ledger.add(entry)
            entries[entry.id] = entry
            if entry.ok and outcome.record is not None and outcome.record.certificate is not None:
                skipped.update(outcome.record.certificate.skipped.keys())
        summary = _summary(target, list(entries.values()), skipped if set(rules.required) == set(OPERATORS) else {})
        if not summary.stored and not target.allow_empty:
            _forget(jobs)
            raise NothingStoredError(_none_left(summary, ledger.path), summary)
        for entry in ledger.last().values():
            writer.ledger.add(entry)
    ledger.path.unlink(missing_ok=True)  # the store holds it now
    _forget(jobs)
    return summary


def outcomes(work: Waiting, rules: Rules) -> Generator[Outcome, None, None]:
    """Yield what an interrupted campaign had finished, then the rest as it is made; each with its own progress."""
    left = {job.id: job for job in work.jobs}
    useless: dict[str, str] = {}
    kept = [(job.id, job.saved) for job in work.jobs if job.saved is not None and job.saved.path.is_file()]
    for id, saved in track(kept, f"{rules.stage}, read back"):
        found = saved.read()
        if isinstance(found, str):
            useless[id] = found
        else:
            yield _told(left.pop(id), found)
    waiting = list(left.values())
    with Workers([partial(_outcome, job, rules) for job in waiting], work.workers, apart=work.apart) as made:
        for k, result in track(made, rules.stage, total=len(waiting)):
            id = waiting[k].id
            outcome = lost(id, rules.stage, result) if isinstance(result, Died) else result
            yield _told(waiting[k], outcome.noted(computed_again=useless[id]) if id in useless else outcome)


def _told(job: Job, outcome: Outcome) -> Outcome:
    """Return an outcome that tells the formula of a failure, so that it counts in the yields of its elements."""
    return outcome if outcome.entry.ok or not job.formula else outcome.noted(formula=job.formula)


def _outcome(job: Job, rules: Rules) -> Outcome:
    if job.saved is None:
        return finish(job.id, job.make, rules)
    key = attempt(job.id, rules.stage, job.saved.key)  # first: files may change meanwhile
    if isinstance(key, Entry):
        return Outcome(key)
    return job.saved.write(finish(job.id, job.make, rules), key)


def written(outcome: Outcome, writer: StoreWriter, stage: str) -> Entry:
    """Return what the ledger says once the record, if there is one, is in the store."""
    record = outcome.record
    if record is None:
        return outcome.entry
    refused = attempt(record.id, stage, lambda: writer.add_record(record))
    return outcome.entry if refused is None else Outcome(refused).noted(formula=record.structure.formula).entry


def _forget(jobs: Sequence[Job]) -> None:
    """Remove saved outcomes: each structure was seen to, and a new campaign begins anew."""
    for job in jobs:
        if job.saved is not None:
            job.saved.remove()


def _summary(target: Target, entries: Collection[Entry], skipped: Mapping[str, int]) -> Summary:
    stored = tuple(entry.id for entry in entries if entry.ok)
    failed = tuple(entry for entry in entries if not entry.ok)
    read_back = sum("read_back" in entry.facts for entry in entries)
    return Summary(target.path, stored, failed, skipped, read_back)


def _none_left(summary: Summary, ledger: Path) -> str:
    n = len(summary.failed)
    if not n:
        return f"there is no structure to write to {summary.store}"
    reasons = ", ".join(f"{k} {cause}" for cause, k in summary.causes.items())
    first = summary.failed[0].message
    return f"no structure of {n} gave a record ({reasons}); all reasons are in {ledger}, the first: {first}"

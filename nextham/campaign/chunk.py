"""One chunk of a campaign from its structures to its store: the job that a batch system runs, kills and runs again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, Protocol

from nextham.campaign.collect import Job, Waiting, outcomes, written
from nextham.campaign.disk import DiskLimit, tidy, tree_bytes
from nextham.campaign.folder import CampaignFolder, write_json
from nextham.campaign.history import History, by_cause
from nextham.campaign.items import Item, content_sha256
from nextham.campaign.lock import held
from nextham.campaign.outcome import Outcome, Rules
from nextham.campaign.plan import Plan
from nextham.campaign.saved import Saved
from nextham.campaign.settings import CampaignSettings
from nextham.data.ledger import Entry
from nextham.data.store import Store
from nextham.data.writer import StoreWriter
from nextham.dft.engine import RunResult
from nextham.exceptions import InputError, NexthamError

_APART: Final = True  # structures are computed in processes of their own, which may die
_AGAIN: Final = "run the workflow again"


class Work(Protocol):
    """How structures of a chunk become systems."""

    @property
    def rules(self) -> Rules:
        """What is asked of every record."""
        ...

    @property
    def version(self) -> str:
        """Of the engine."""
        ...

    def key(self, item: Item) -> str:
        """Return a hash of all that the record follows from but the version."""
        ...

    def call(self, item: Item, folder: Path) -> Callable[[], RunResult]:
        """Return what makes the system, in a folder of its own; it is pickled."""
        ...


class UnfinishedError(NexthamError):
    """Some structures are to be tried again; all others are kept."""


@dataclasses.dataclass(frozen=True)
class Done:
    """What became of a chunk."""

    name: str
    stored: int
    failed: Mapping[str, int]  # cause: structures
    computed: int  # in this job; the others were finished before

    def __str__(self) -> str:
        total = self.stored + sum(self.failed.values())
        reasons = ", ".join(f"{n} {cause}" for cause, n in self.failed.items())
        notes = [f"{self.computed} computed now", *([f"quarantined: {reasons}"] if reasons else [])]
        return f"chunk {self.name}: {self.stored} of {total} structures ({'; '.join(notes)})"


def compute(plan: Plan, name: str, work: Work, settings: CampaignSettings, *, workers: int) -> Done:
    """Compute what is left of a chunk, write its store and say so in its receipt.

    It may be killed at any time and called again: each outcome is kept when it is there, a record in the run folder
    and a line in the chunk's ledger. Only what was in flight is computed again.

    Args:
        plan: of the campaign.
        name: of the chunk.
        work: makes systems.
        settings: attempts, room and what becomes of runs.
        workers: structures at a time.

    Raises:
        UnfinishedError: if structures are to be tried again.
        WriteError: if the store cannot be written, e.g. to a full disk.
        InputError: if the chunk is not in the plan.
    """
    folder = plan.folder
    with held(folder.chunk_lock(name), f"chunk {name} of {folder.results}", wait=True):
        items = plan.items_of(name)
        job = _ChunkJob(folder, name, items, work, settings)
        done = job.run(workers)
        write_json(folder.receipt(name), job.receipt(done))
    return done


@dataclasses.dataclass(frozen=True)
class _ChunkJob:
    folder: CampaignFolder
    name: str
    items: Sequence[Item]
    work: Work
    settings: CampaignSettings

    @property
    def store(self) -> Path:
        return self.folder.store(self.name)

    @property
    def runs(self) -> Path:
        return self.folder.runs(self.name)

    def run(self, workers: int) -> Done:
        """Compute, write the store and tidy up."""
        waiting = Waiting(self._jobs(), workers, apart=_APART)
        computed = sum(job.saved is None or not job.saved.path.is_file() for job in waiting.jobs)
        if waiting.jobs or self.earlier.others or not self.store.is_dir():
            entries = self._write(waiting)
        else:
            entries = [*self.earlier.entries.values(), *self.settled.values()]
        good = [entry.id for entry in entries if entry.ok]
        bad = [entry for entry in entries if not entry.ok]
        tidy(self.runs, good, [entry.id for entry in bad], self.settings.runs, workers=workers)
        return Done(self.name, len(good), by_cause(bad), computed)

    def receipt(self, done: Done) -> dict[str, Any]:
        """Return what the receipt says; the same where nothing has changed."""
        opened = Store(self.store)
        records = json.dumps(sorted((id, opened.checksum(id)) for id in opened.ids))
        return {
            "content": content_sha256(self.items),
            "stored": done.stored,
            "failed": dict(sorted(done.failed.items())),
            "records": hashlib.sha256(records.encode()).hexdigest(),
            "bytes": {"store": tree_bytes(self.store), "runs": tree_bytes(self.runs)},
        }

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """Of each structure: what its record follows from."""
        return {item.id: self.work.key(item) for item in self.items}

    @cached_property
    def history(self) -> History:
        return History.of(self.folder, self.name, self.settings.max_attempts)

    @cached_property
    def earlier(self) -> _Earlier:
        return _Earlier.of(self.store, self.keys)

    @cached_property
    def settled(self) -> Mapping[str, Entry]:
        """Structures in quarantine, and why."""
        found = {id: self.history.quarantined(id, key) for id, key in self.keys.items()}
        return {id: entry for id, entry in found.items() if entry is not None and id not in self.earlier.entries}

    def _jobs(self) -> list[Job]:
        """Return what is left to do: the longest first, so that the last ones end together.

        What was in flight when a job was killed comes last: if it is what killed it, the others are done before.
        """
        left = [item for item in self.items if item.id not in self.earlier.entries and item.id not in self.settled]
        jobs = [self._job(item) for item in sorted(left, key=lambda item: -item.cost_s)]
        return sorted(jobs, key=_in_flight)

    def _job(self, item: Item) -> Job:
        place = self.runs / item.id
        limit = DiskLimit(self.folder, self.settings.disk_gb)
        call = partial(_start, limit, item.id, place, self.work.call(item, place))
        return Job(item.id, call, self._saved(item), item.crystal.formula if item.crystal else "")

    def _saved(self, item: Item) -> Saved:
        return Saved(self.runs / item.id, item.id, self.work.rules, partial(self.work.key, item))

    def _write(self, waiting: Waiting) -> list[Entry]:
        """Write the store of what is there and what is made now.

        Raises:
            UnfinishedError: if structures are to be tried again; the store is not written then.
        """
        rules, entries = self.work.rules, dict(self.settled)
        unfinished: list[Entry] = []
        writer = StoreWriter(self.store, settings=rules.settings.store, overwrite=True, allow_empty=True)
        with writer, closing(self._outcomes(waiting)) as made:  # closed: no process outlives an error
            for outcome in made:
                entry = self._noted(written(outcome, writer, rules.stage))
                if entry.ok or self.history.quarantined(entry.id, self.keys[entry.id]):
                    entries[entry.id] = entry
                else:
                    unfinished.append(entry)
            if unfinished:
                raise UnfinishedError(self._unfinished(unfinished))
            for entry in entries.values():
                writer.ledger.add(entry)
        for item in self.items:
            self._saved(item).remove()
        return list(entries.values())

    def _outcomes(self, waiting: Waiting) -> Generator[Outcome, None, None]:
        """Yield records of the store that was there, then what is made now."""
        yield from self.earlier.outcomes()
        yield from outcomes(waiting, self.work.rules)

    def _noted(self, entry: Entry) -> Entry:
        """Return the ledger's line of an outcome: as it was first written, where that was in an earlier job."""
        last, key = self.history.last(entry.id), self.keys[entry.id]
        if entry.ok and last is not None and last.ok and last.facts.get("key") == key:
            return last
        return self.history.add(dataclasses.replace(entry, facts={**entry.facts, "key": key}))

    def _unfinished(self, entries: Sequence[Entry]) -> str:
        causes = ", ".join(f"{n} {cause}" for cause, n in by_cause(entries).items())
        tried = max(entry.facts.get("attempt", 0) for entry in entries)
        attempts = f", attempt {tried} of {self.settings.max_attempts} at most" if tried else ""
        return (
            f"chunk {self.name}: {len(entries)} of {len(self.items)} structures are not finished ({causes}{attempts}); "
            f"the others are kept, {_AGAIN}. The first: {entries[0].message}"
        )


@dataclasses.dataclass(frozen=True)
class _Earlier:
    """Records of the chunk's store that are still wanted."""

    store: Store | None
    entries: Mapping[str, Entry]  # of the records that are taken over
    others: int  # records that are not

    @classmethod
    def of(cls, path: Path, keys: Mapping[str, str]) -> _Earlier:
        try:
            store = Store(path)
            last = store.ledger.last() if store.ledger else {}
        except (InputError, OSError):  # none, or damaged: what it held is computed again
            return cls(None, {}, 1 if path.exists() else 0)
        wanted = [id for id in store.ids if id in last and last[id].facts.get("key") == keys.get(id)]
        return cls(store, {id: last[id] for id in wanted}, len(store) - len(wanted))

    def outcomes(self) -> Iterator[Outcome]:
        for id, entry in self.entries.items():
            assert self.store is not None
            yield Outcome(entry, self.store.record(id))


def _start(limit: DiskLimit, id: str, place: Path, call: Callable[[], RunResult]) -> RunResult:
    limit.check(id)
    place.mkdir(parents=True, exist_ok=True)  # a folder without an outcome: in flight, now or when a job was killed
    return call()


def _in_flight(job: Job) -> bool:
    saved = job.saved
    return saved is not None and saved.folder.is_dir() and not saved.path.is_file()

"""What happened to the structures of a chunk, over all jobs that computed it: attempts, quarantine, what is left."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection
from enum import StrEnum
from functools import cached_property
from typing import Final

from nextham.campaign.folder import CampaignFolder
from nextham.campaign.outcome import CHECK
from nextham.data.ledger import Entry, Ledger
from nextham.dft.engine import Cause

RETRY: Final = "retry"  # stage of the event that a user asked for another try
_PASSING: Final = frozenset({Cause.KILLED, Cause.CRASHED, Cause.OUT_OF_MEMORY, Cause.TRUNCATED})
_NO_FAULT: Final = frozenset({Cause.DISK_FULL, Cause.DISK_LIMIT})  # of the structure; such a try does not count


class State(StrEnum):
    """Where a structure stands."""

    STORED = "stored"  # its record is in the store of its chunk
    FINISHED = "finished"  # its record waits for the other structures of its chunk
    QUARANTINED = "quarantined"  # failed, and not tried again unless asked for
    RUNNING = "running"
    RETRYING = "retrying"  # failed for what may pass, or to be tried again because somebody asked
    PENDING = "pending"


@dataclasses.dataclass(frozen=True)
class History:
    """The events of a chunk, read once."""

    ledger: Ledger
    max_attempts: int

    @classmethod
    def of(cls, folder: CampaignFolder, name: str, max_attempts: int) -> History:
        """Return the history of a chunk, an empty one before it began."""
        return cls(Ledger(folder.ledger(name)), max_attempts)

    @cached_property
    def _events(self) -> dict[str, list[Entry]]:
        """Events of each structure since somebody last asked for another try."""
        events: dict[str, list[Entry]] = {}
        for entry in self.ledger.entries():
            if entry.stage == RETRY:
                events[entry.id] = [entry]
            else:
                events.setdefault(entry.id, []).append(entry)
        return events

    @property
    def ids(self) -> Collection[str]:
        """Structures of which anything is known."""
        return self._events.keys()

    def last(self, id: str) -> Entry | None:
        """Return the latest event of a structure."""
        events = self._events.get(id)
        return events[-1] if events else None

    def failures(self, id: str, key: str | None = None) -> int:
        """Return how often a structure has failed for what may pass; with a key, of that crystal and recipe alone."""
        return sum(_counts(entry) and key in (None, entry.facts.get("key")) for entry in self._events.get(id, ()))

    def quarantined(self, id: str, key: str | None = None) -> Entry | None:
        """Return why a structure is not tried again, None where it is; a key as in :meth:`failures`."""
        entry = self.last(id)
        if entry is None or entry.ok or entry.stage == RETRY or entry.cause in _NO_FAULT:
            return None
        if key is not None and entry.facts.get("key") != key:
            return None
        return entry if is_lasting(entry) or self.failures(id, key) >= self.max_attempts else None

    def state(self, id: str, *, stored: bool) -> State:
        """Return where a structure stands, as far as events tell; nothing of them tells that it runs."""
        entry = self.last(id)
        if stored and (entry is None or entry.ok):
            return State.STORED
        if entry is None:
            return State.PENDING
        if entry.ok:
            return State.FINISHED
        return State.QUARANTINED if self.quarantined(id) else State.RETRYING

    def add(self, entry: Entry) -> Entry:
        """Write an event and return it as it stands there, a failure with its number among those that count."""
        if _counts(entry):
            number = self.failures(entry.id, entry.facts.get("key")) + 1
            entry = dataclasses.replace(entry, facts={**entry.facts, "attempt": number})
        written = self.ledger.add(entry)
        self._events.setdefault(entry.id, []).append(written)
        return written

    def retry(self, ids: Collection[str]) -> None:
        """Note that structures are to be tried again."""
        for id in ids:
            before = self.last(id)
            said = f"{id} is to be tried again; it failed by {before.cause}" if before else f"{id} is to be tried again"
            self._events[id] = [self.ledger.add(Entry(id=id, stage=RETRY, ok=False, cause=RETRY, message=said))]


def is_lasting(entry: Entry) -> bool:
    """Whether the same failure would come again."""
    return entry.stage == CHECK or entry.cause not in _PASSING | _NO_FAULT


def by_cause(entries: Collection[Entry]) -> dict[str, int]:
    """Return how many entries there are of each cause, most frequent first."""
    return dict(Counter(entry.cause for entry in entries).most_common())


def _counts(entry: Entry) -> bool:
    return not entry.ok and entry.stage != RETRY and entry.cause in _PASSING

"""Where a campaign stands: structures by state and cause, chunks, yield of elements, speed and time left."""

from __future__ import annotations

import calendar
import dataclasses
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nextham.campaign.disk import used_bytes
from nextham.campaign.folder import CampaignFolder, read_json
from nextham.campaign.history import History, State
from nextham.campaign.items import Item
from nextham.campaign.lock import Holder, holder
from nextham.campaign.plan import Plan
from nextham.data.ledger import Entry

_DONE: Final = (State.STORED, State.FINISHED, State.QUARANTINED)
_WINDOW: Final = 400  # latest structures of which the speed is taken
_PAUSE_S: Final = 3600.0  # nothing came for so long: nobody computed
_STAMP: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclasses.dataclass(frozen=True)
class Structure:
    """Where one structure stands."""

    item: Item
    chunk: str
    state: State
    last: Entry | None


@dataclasses.dataclass(frozen=True)
class Speed:
    """How fast structures were finished lately."""

    per_hour: float  # structures
    cost_per_s: float  # estimated seconds of one core per second: cores at work, where the estimate is right


@dataclasses.dataclass(frozen=True)
class Status:
    """A campaign at one moment."""

    folder: CampaignFolder
    structures: Sequence[Structure]
    running: Mapping[str, Holder]  # chunk: who computes it
    workflow: Holder | None  # who holds the campaign, dead or alive
    speed: Speed | None
    bytes: Mapping[str, int]

    @property
    def states(self) -> dict[str, int]:
        """How many structures there are in each state."""
        count = Counter(structure.state for structure in self.structures)
        return {state.value: count[state] for state in State}

    @property
    def causes(self) -> dict[str, int]:
        """Why structures are in quarantine, most frequent first."""
        found = (s.last.cause for s in self.structures if s.state is State.QUARANTINED and s.last)
        return dict(Counter(found).most_common())

    @property
    def left_s(self) -> float | None:
        """Seconds until the last structure, at the speed of late; None where nothing tells."""
        left = [s.item for s in self.structures if s.state not in _DONE]
        if not left:
            return 0.0
        if self.speed is None:
            return None
        if cost := sum(item.cost_s for item in left):
            return cost / self.speed.cost_per_s if self.speed.cost_per_s else None
        return 3600 * len(left) / self.speed.per_hour

    def chunks(self) -> dict[str, dict[str, int]]:
        """Return for each chunk how many structures are in each state that occurs."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for structure in self.structures:
            found[structure.chunk][structure.state.value] += 1
        return {name: dict(count) for name, count in sorted(found.items())}

    def yields(self) -> dict[str, dict[str, int]]:
        """Return for each element its structures, those finished, those in quarantine, and these by cause."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for s in self.structures:
            for element in s.item.elements:
                count = found[element]
                count["structures"] += 1
                count["finished"] += s.state in (State.STORED, State.FINISHED)
                if s.state is State.QUARANTINED and s.last is not None:
                    count["quarantined"] += 1
                    count[f"by {s.last.cause}"] += 1
        return {element: dict(found[element]) for element in sorted(found)}

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        eta = self.left_s
        workflow = self.workflow
        return {
            "results": str(self.folder.results),
            "structures": len(self.structures),
            "states": self.states,
            "quarantine": self.causes,
            "structures_per_hour": self.speed and round(self.speed.per_hour, 2),
            "cores_at_work": self.speed and round(self.speed.cost_per_s, 2),
            "eta_s": eta if eta is None else round(eta),
            "workflow": None if workflow is None else {**dataclasses.asdict(workflow), "alive": workflow.alive},
            "running_chunks": {name: str(who) for name, who in self.running.items()},
            "chunks": self.chunks(),
            "elements": self.yields(),
            "bytes": dict(self.bytes),
            "failed": [
                {"id": s.item.id, "chunk": s.chunk, "state": s.state.value, "cause": s.last.cause,
                 "message": s.last.message, "attempts": s.last.facts.get("attempt", 1)}
                for s in self.structures if s.last and s.state in (State.QUARANTINED, State.RETRYING)
            ],
        }  # fmt: skip


def status_of(plan: Plan, *, max_attempts: int) -> Status:
    """Return where a campaign stands; nothing is changed.

    Raises:
        InputError: if it has no plan.
    """
    folder = plan.folder
    locks = {name: holder(folder.chunk_lock(name)) for name in plan}
    running = {name: who for name, who in locks.items() if who is not None and who.alive}
    structures: list[Structure] = []
    ends: list[tuple[float, Item]] = []
    for name in plan:
        history = History.of(folder, name, max_attempts)
        stored = _stored(folder, name)
        for item in plan.items_of(name):
            last = history.last(item.id)
            state = history.state(item.id, stored=item.id in stored)
            if name in running and state not in _DONE and (folder.runs(name) / item.id).is_dir():
                state = State.RUNNING
            structures.append(Structure(item, name, state, last))
            if last is not None and state in _DONE:
                ends.append((_time_of(last), item))
    return Status(folder, structures, running, holder(folder.lock), _speed(ends), used_bytes(folder))


def _stored(folder: CampaignFolder, name: str) -> frozenset[str]:
    path = folder.store(name) / "store.json"
    if not path.is_file():
        return frozenset()
    shards = read_json(path, mend="remove its folder")["shards"]
    return frozenset(id for shard in shards for id in shard["ids"])


def _speed(ends: Sequence[tuple[float, Item]]) -> Speed | None:
    """Return the speed over the latest structures since the last pause."""
    latest = sorted(ends, key=lambda end: end[0])[-_WINDOW:]
    for k in range(len(latest) - 1, 0, -1):
        if latest[k][0] - latest[k - 1][0] > _PAUSE_S:
            latest = latest[k:]
            break
    if len(latest) < 2:
        return None
    seconds = max(1.0, latest[-1][0] - latest[0][0])
    after = latest[1:]  # the first one began before the window
    return Speed(3600 * len(after) / seconds, sum(item.cost_s for _, item in after) / seconds)


def _time_of(entry: Entry) -> float:
    return float(calendar.timegm(time.strptime(entry.time, _STAMP)))

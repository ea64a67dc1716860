"""The plan of a campaign: which structures each job computes, and what the job asks for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nextham.campaign.folder import CampaignFolder, read_json, write_json
from nextham.campaign.items import REPLAN, Item, content_sha256, read_chunk, write_chunk
from nextham.campaign.packing import packed
from nextham.campaign.settings import CampaignSettings
from nextham.exceptions import InputError

_MPI_EFFICIENCY: Final = 0.7  # of a structure on several ranks
_JOB_MB: Final = 400  # the job itself, beside what its structures take
_SLACK: Final = 3  # estimates are off by factors
_LEAST_MINUTES: Final = 20


@dataclasses.dataclass(frozen=True)
class Chunk:
    """One job: a row of the plan."""

    name: str
    n: int  # structures
    cost_s: float  # of one core, estimated
    cores: int  # structures at a time; of a large one: cores it may use
    tasks: int  # MPI ranks of each structure
    memory_mb: int  # of the job
    minutes: float  # it should take
    sha256: str  # of the structures

    def limit_minutes(self, attempt: int) -> int:
        """Return the time limit that a batch system is asked for; a further attempt gets more."""
        return math.ceil(_LEAST_MINUTES + _SLACK * self.minutes) * attempt

    @property
    def cores_of_task(self) -> int:
        """Cores of one MPI rank, or of the one process that the job is."""
        return max(1, self.cores // self.tasks)

    @property
    def mpi(self) -> str:
        """What the Slurm plugin wants to know of a job with several ranks."""
        return "srun" if self.tasks > 1 else ""


@dataclasses.dataclass(frozen=True)
class Shape:
    """How jobs are cut."""

    settings: CampaignSettings
    most: int  # structures of a job
    ranks: int = 1  # a large structure can be spread over
    threads: int = 1  # of each structure or rank

    @property
    def at_a_time(self) -> int:
        """Structures that a job computes at once."""
        return max(1, self.settings.cores // self.threads)


class Plan(Mapping[str, Chunk]):
    """Chunks by name; read when it is first asked for and again when the file has changed."""

    def __init__(self, folder: CampaignFolder) -> None:
        self.folder = folder
        self._chunks: dict[str, Chunk] = {}
        self._state: tuple[int, int] | None = None

    def __getitem__(self, name: str) -> Chunk:
        try:
            return self._read()[name]
        except KeyError:
            raise InputError(f"{self.folder.plan} has no chunk {name}; {REPLAN}") from None

    def __iter__(self) -> Any:
        return iter(self._read())

    def __len__(self) -> int:
        """Number of chunks."""
        return len(self._read())

    def items_of(self, name: str) -> list[Item]:
        """Return the structures of a chunk.

        Raises:
            InputError: if the chunk is not there or damaged.
        """
        return read_chunk(self.folder, self[name].name)

    def _read(self) -> dict[str, Chunk]:
        path = self.folder.plan
        try:
            state = (path.stat().st_mtime_ns, path.stat().st_size)
        except FileNotFoundError:
            raise InputError(f"there is no {path}; {REPLAN}") from None
        if state != self._state:
            rows = read_json(path, mend=REPLAN)
            try:
                self._chunks = {name: Chunk(name=name, **row) for name, row in rows.items()}
            except TypeError as error:
                raise InputError(f"{path} is damaged ({error}); {REPLAN}") from None
            self._state = state
        return self._chunks


def make_plan(folder: CampaignFolder, items: Sequence[Item], shape: Shape) -> Plan:
    """Divide structures into chunks and write them; chunks of which anything was computed keep their structures.

    So new structures get new chunks, one that is gone leaves its chunk, and one that changed is computed again alone.

    Raises:
        WriteError: if a file cannot be written.
    """
    chunks = divided(folder, items, shape)
    rows: dict[str, dict[str, Any]] = {}
    for name, members in chunks.items():
        chunk = chunk_of(name, members, shape)
        receipt = folder.receipt(name)
        if receipt.is_file() and read_json(receipt, mend="remove it").get("content") != chunk.sha256:
            receipt.unlink()  # first: without it the chunk is computed, whatever else is done before a kill
        write_chunk(folder, name, members)
        rows[name] = {key: value for key, value in vars(chunk).items() if key != "name"}
    write_json(folder.plan, rows, lines=True)
    for name in set(folder.known_chunks()) - set(chunks):
        if not folder.started(name):
            folder.chunk(name).unlink()
    return Plan(folder)


def divided(folder: CampaignFolder, items: Sequence[Item], shape: Shape) -> dict[str, list[Item]]:
    """Return the structures of each chunk, by its name."""
    left = {item.id: item for item in items}
    old = [name for name in folder.known_chunks() if folder.started(name)]
    kept = {name: [left.pop(item.id) for item in read_chunk(folder, name) if item.id in left] for name in old}
    chunks = {name: members for name, members in kept.items() if members}
    number = int(old[-1]) + 1 if old else 0
    return chunks | {f"{number + k:05d}": members for k, members in enumerate(_new(list(left.values()), shape))}


def _new(items: list[Item], shape: Shape) -> list[list[Item]]:
    """Return chunks of structures that no chunk holds: large ones first, each alone."""
    limit = 60 * shape.settings.chunk_minutes
    large = sorted((item for item in items if item.cost_s > limit), key=lambda item: -item.cost_s)
    small = [item for item in items if item.cost_s <= limit]
    found = packed([item.cost_s for item in small], capacity=limit * shape.at_a_time, most=shape.most)
    return [[item] for item in large] + [[small[k] for k in numbers] for numbers in found]


def chunk_of(name: str, items: Sequence[Item], shape: Shape) -> Chunk:
    """Return the row of a chunk."""
    cost, sha256 = sum(item.cost_s for item in items), content_sha256(items)
    limit = 60 * shape.settings.chunk_minutes
    if len(items) == 1 and cost > limit:
        tasks = max(1, min(shape.ranks, math.ceil(cost / (limit * _MPI_EFFICIENCY))))
        seconds = cost / tasks / (_MPI_EFFICIENCY if tasks > 1 else 1)
        memory, cores = items[0].memory_mb, tasks * shape.threads if shape.ranks > 1 else shape.settings.cores
    else:
        at_a_time = min(shape.at_a_time, len(items))
        seconds = max(cost / at_a_time, *(item.cost_s for item in items))
        memory = sum(sorted(item.memory_mb for item in items)[-at_a_time:])
        tasks, cores = 1, at_a_time * shape.threads
    return Chunk(
        name=name,
        n=len(items),
        cost_s=round(cost, 1),
        cores=cores,
        tasks=tasks,
        memory_mb=round(memory) + _JOB_MB,
        minutes=round(seconds / 60, 2),
        sha256=sha256,
    )

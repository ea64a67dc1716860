"""From a query to structures: ids first, then documents in batches; what is on disk is not asked for again."""

from __future__ import annotations

import dataclasses
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from nextham.console import track
from nextham.core import Structure, atomic_number
from nextham.exceptions import InputError, NexthamError
from nextham.files import read_list
from nextham.structures.mp.cache import Cache
from nextham.structures.mp.client import BusyError, Client, Document, UnreachableError
from nextham.structures.settings import MaterialsProjectSettings
from nextham.structures.sourced import Gathered, LeftOut, Sourced

Answer = TypeVar("Answer")

UNKNOWN_ID: Final = "unknown id"
LICENCES: Final = {"BY-C": "CC-BY-4.0", "BY-NC": "CC-BY-NC-4.0"}
_ID: Final = re.compile(r"(mp|mvc)-([0-9]+|[a-z]+)")
_LONGEST_WAIT_S: Final = 60.0


class Patience:
    """Asks at most so many times a second, and again where the server is busy, each time after a longer pause."""

    def __init__(
        self,
        requests_per_s: float,
        attempts: int,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_s, self._attempts = 1 / requests_per_s, attempts
        self._sleep, self._clock = sleep, clock
        self._last: float | None = None
        self._heard = False

    def ask(self, call: Callable[[], Answer]) -> Answer:
        """Return an answer.

        Raises:
            BusyError: if there is none after all attempts, or the server was never reached.
        """
        for attempt in range(1, self._attempts + 1):
            self._wait_turn()
            try:
                answer = call()
            except UnreachableError:
                if not self._heard or attempt == self._attempts:
                    raise
            except BusyError as error:
                if attempt == self._attempts:
                    raise BusyError(f"{error}, {attempt} times") from None
            else:
                self._heard = True
                return answer
            self._sleep(min(2.0 ** (attempt - 1), _LONGEST_WAIT_S))
        raise AssertionError("there is at least one attempt")

    def _wait_turn(self) -> None:
        now = self._clock()
        if self._last is not None and (left := self._last + self._interval_s - now) > 0:
            self._sleep(left)
        self._last = self._clock()


@dataclasses.dataclass(frozen=True)
class Fetched:
    """Structures of a query, and where and of when the answers are."""

    gathered: Gathered
    cache: Path
    databases: tuple[str, ...]  # versions; several if the database changed while it was asked
    asked_now: int  # structures that were not in the cache


def fetch(
    query: MaterialsProjectSettings,
    connect: Callable[[], Client],
    *,
    refresh: bool = False,
    patience: Patience | None = None,
) -> Fetched:
    """Return the structures of a query; an interrupted fetch goes on with what is missing.

    Args:
        query: conditions or ids.
        connect: makes the client; not called if everything is in the cache.
        refresh: forget the cache and ask anew.
        patience: how the server is asked.

    Raises:
        InputError: if the query is empty or fits nothing, a list of ids cannot be read, or the key is refused.
        BusyError: if the server does not answer; what came before is kept.
    """
    ids = asked_ids(query)
    cache = Cache(Path(query.cache), query, ids)
    if refresh:
        cache.clear()
    server = _Server(connect, patience or Patience(query.requests_per_s, query.attempts))
    wanted = _wanted(query, ids, cache, server)
    answered = {id for id, _ in cache.documents()}
    missing = [id for id in wanted if id not in answered and _ID.fullmatch(id)]
    batches = [missing[start : start + query.batch] for start in range(0, len(missing), query.batch)]
    done = 0
    try:
        for batch in track(batches, f"fetching {len(missing)} structures"):
            cache.write_documents(batch, server.documents(batch), server.database)
            done += len(batch)
    except BusyError as error:
        kept = len(wanted) - len(missing) + done
        raise type(error)(
            f"{error}; {kept} of {len(wanted)} structures are kept in {cache.path}, run the command again to go on"
        ) from None
    found = _structures(wanted, cache)
    repeated = [LeftOut(id, "repeated id", f"{id} is listed {n} times") for id, n in Counter(ids).items() if n > 1]
    databases = sorted({each.facts["database"] for each in found.found})
    return Fetched(found.and_then(found.found, repeated), cache.path, tuple(databases), len(missing))


def asked_ids(query: MaterialsProjectSettings) -> list[str]:
    """Return the ids that a query names, as they are listed; none if it has conditions.

    Raises:
        InputError: if it has neither or both, or a list cannot be read.
    """
    ids = [*query.ids, *(id for path in query.ids_from for id in read_list(Path(path), "ids"))]
    conditions = query.model_dump(exclude_defaults=True).keys() - {
        *("ids", "ids_from", "cache", "batch", "requests_per_s", "attempts", "experimental", "gnome", "without")
    }
    if ids and (conditions or query.experimental or query.without):
        also = sorted(conditions | ({"experimental"} if query.experimental else set()))
        raise InputError(
            f"ids and conditions ({', '.join(also) or 'without'}) do not go together; fetch the ids, then filter them "
            "with prepare.filters"
        )
    if not ids and not conditions:
        raise InputError(
            "the query is empty, which would be the whole Materials Project; name elements, chemical_systems, "
            "n_elements, n_atoms, hull_ev, magnetic_ordering or ids"
        )
    return ids


class _Server:
    """A client that is connected when it is first needed, and asked with patience."""

    def __init__(self, connect: Callable[[], Client], patience: Patience) -> None:
        self._connect, self._patience = connect, patience
        self._client: Client | None = None

    @property
    def database(self) -> str:
        return self._connected().database

    def matching(self, query: MaterialsProjectSettings) -> list[str]:
        client = self._connected()
        return self._patience.ask(lambda: client.matching(query))

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        client = self._connected()
        return self._patience.ask(lambda: client.documents(ids))

    def _connected(self) -> Client:
        if self._client is None:
            self._client = self._patience.ask(self._connect)
        return self._client


def _wanted(query: MaterialsProjectSettings, ids: list[str], cache: Cache, server: _Server) -> list[str]:
    known = cache.asked()
    if ids:
        once = list(dict.fromkeys(ids))
        if not known:
            cache.write_asked(once, "")
        return once
    if known:
        return list(known["ids"])
    found = sorted(dict.fromkeys(server.matching(query)), key=_natural)
    if not found:
        raise InputError("no structure of the Materials Project fits the query; ask for less")
    cache.write_asked(found, server.database)
    return found


def _structures(wanted: Sequence[str], cache: Cache) -> Gathered:
    asked, made = set(wanted), dict[str, Sourced | LeftOut]()
    for id, document in cache.documents():
        if document is None or id not in asked:
            continue
        try:
            made[id] = structure_of(id, document)
        except NexthamError as error:
            made[id] = LeftOut(id, "unreadable", str(error))
    lost = {id: LeftOut(id, UNKNOWN_ID, f"{id}: the Materials Project has no structure of this id") for id in wanted}
    all_ = [made.get(id, lost[id]) for id in wanted]
    return Gathered(
        tuple(each for each in all_ if isinstance(each, Sourced)),
        tuple(each for each in all_ if isinstance(each, LeftOut)),
    )


def structure_of(id: str, document: Mapping[str, Any]) -> Sourced:
    """Return the structure of a document.

    Raises:
        InputError: if a site is partly occupied, or the document is not complete.
    """
    try:
        sites = document["structure"]["sites"]
        cell = np.array(document["structure"]["lattice"]["matrix"], dtype=np.float64)
        fractional = np.array([site["abc"] for site in sites], dtype=np.float64)
        numbers = [_number(id, site["species"]) for site in sites]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, NexthamError):
            raise
        raise InputError(f"{id}: its document has no complete structure ({error}); fetch it again") from None
    facts = {"database": str(document.get("database", "")), "fetched": str(document.get("date", ""))}
    own = str(document.get("material_id", id))
    for name in ("energy_above_hull", "ordering", "theoretical"):
        if document.get(name) is not None:
            facts[name] = str(document[name])
    licence = LICENCES.get((document.get("builder_meta") or {}).get("license") or "BY-C", "")
    structure = Structure(np.array(numbers), fractional @ cell, cell)
    return Sourced(id, structure, f"Materials Project {own}", licence, facts)


def _number(id: str, species: Sequence[Mapping[str, Any]]) -> int:
    if len(species) != 1 or abs(float(species[0]["occu"]) - 1) > 1e-6:
        raise InputError(f"{id}: a site is partly occupied; only ordered structures can be computed")
    return atomic_number(str(species[0]["element"]))


def _natural(id: str) -> tuple[str, int, str]:
    """Order mp-2 before mp-10."""
    prefix, _, rest = id.partition("-")
    return prefix, len(rest), rest

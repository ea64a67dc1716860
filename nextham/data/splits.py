"""Splits: named lists of structure ids, with a checksum of each."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nextham.data.settings import SplitSettings
from nextham.exceptions import InputError
from nextham.files import whole

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Split:
    """Named lists of structure ids, no id in two of them.

    >>> split = Split({"train": ("GaAs-0", "GaAs-1"), "test": ("Si-0",)})
    >>> split["test"], split.of("GaAs-1")
    (('Si-0',), 'train')
    """

    ids: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {name: tuple(ids) for name, ids in self.ids.items()})
        seen: dict[str, str] = {}
        for name, ids in self.ids.items():
            for id in ids:
                if id in seen:
                    both = name if seen[id] == name else f"{seen[id]} and {name}"
                    raise InputError(f"the split lists {id} twice, in {both}; list each id once")
                seen[id] = name

    def __getitem__(self, name: str) -> tuple[str, ...]:
        if name not in self.ids:
            raise InputError(f"there is no split {name!r}; there are {', '.join(self.ids)}")
        return self.ids[name]

    def of(self, id: str) -> str | None:
        """Return the name of the list that holds an id, None if none does."""
        return next((name for name, ids in self.ids.items() if id in ids), None)

    @property
    def sha256(self) -> dict[str, str]:
        """Checksum of each list: its sorted ids, one a line."""
        return {name: sha256_of_ids(ids) for name, ids in self.ids.items()}

    def checked(self, store_ids: Collection[str], where: str) -> Self:
        """Return the split itself if a store holds every id.

        Raises:
            InputError: if an id is not there.
        """
        known = set(store_ids)
        for name, ids in self.ids.items():
            if missing := [id for id in ids if id not in known]:
                near = get_close_matches(missing[0], list(known), n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
                raise InputError(f"split {name} lists {missing[0]}{more}, which {where} does not hold{hint}")
        return self

    def save(self, path: str | Path) -> None:
        """Write JSON with ids and checksums; the file appears whole or not at all."""
        path = Path(path)
        content = {"splits": {name: list(ids) for name, ids in self.ids.items()}, "sha256": self.sha256}
        with whole(path) as part:
            part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a split.

        Raises:
            InputError: if the file is missing or damaged, an id is listed twice, or a checksum does not agree.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"there is no split file {path}")
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            lists = {str(name): tuple(map(str, ids)) for name, ids in content["splits"].items()}
            said = dict(content["sha256"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not a split file ({error}); make one with nextham split") from None
        try:
            split = cls(lists)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        for name, digest in split.sha256.items():
            if said.get(name) != digest:
                raise InputError(f"{path}: the ids of {name} do not agree with their sha256; make the split again")
        return split


def sha256_of_ids(ids: Collection[str]) -> str:
    """Return the checksum of a set of ids, whatever their order."""
    return hashlib.sha256("".join(f"{id}\n" for id in sorted(ids)).encode()).hexdigest()


def make_split(manifest: pd.DataFrame, settings: SplitSettings = SplitSettings()) -> Split:  # noqa: B008
    """Divide the structures of a manifest.

    Structures of one reduced formula are spread over the splits in proportion to their fractions; no
    split with a fraction stays empty while there are enough structures. With ``group: crystal`` whole
    families of copies are drawn in place of structures. ``id_files`` replace the draw.

    Raises:
        InputError: if a file lists an id that the manifest does not have, or one twice.
    """
    ids = [str(id) for id in manifest["id"]]
    if settings.id_files:
        lists = {name: read_ids(path) for name, path in settings.id_files.items()}
        return Split(lists).checked(ids, "the store")
    units = _units(ids, settings)
    formulas = dict(zip(ids, map(str, manifest["reduced_formula"]), strict=True))
    lists = _drawn(list(units), [formulas[members[0]] for members in units.values()], settings)
    if settings.cover_elements:
        largest = max(sorted(settings.fractions), key=lambda name: settings.fractions[name])
        lists = _covered(lists, _elements(manifest, units), largest=largest)
    return Split({name: tuple(sorted(id for u in members for id in units[u])) for name, members in lists.items()})


def shortened(split: Split, name: str, size: int, *, manifest: pd.DataFrame, seed: int = 0) -> Split:
    """Return a split with a part of one list, the others as they are: the points of a learning curve.

    A shorter list is contained in each longer one of the same seed. All of them have every element of the
    whole list, so the structures drawn first are those that bring most new elements.

    Raises:
        InputError: if the list is shorter than the size, or so few structures cannot have every element.
    """
    members = split[name]
    if not 0 < size <= len(members):
        raise InputError(f"the list {name} holds {len(members)} structures, it cannot be shortened to {size}")
    elements = _elements(manifest, {id: (id,) for ids in split.ids.values() for id in ids})
    rng = np.random.default_rng(seed)
    waiting = [sorted(members)[k] for k in rng.permutation(len(members))]
    chosen: list[str] = []
    missing = set[str]().union(*(elements[id] for id in members))
    while missing:
        best = max(waiting, key=lambda id: len(elements[id] & missing))  # of several, the first drawn
        missing -= elements[best]
        waiting.remove(best)
        chosen.append(best)
    if size < len(chosen):
        raise InputError(
            f"{size} structures of the list {name} cannot have all of its elements, {len(chosen)} can; ask for so many"
        )
    return Split({**split.ids, name: tuple(sorted((chosen + waiting)[:size]))})


def read_ids(path: Path) -> tuple[str, ...]:
    """Return the ids of a text file, one a line; empty lines and lines that start with # do not count."""
    if not path.is_file():
        raise InputError(f"there is no list of ids {path}")
    lines = (line.strip() for line in path.read_text().splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def _units(ids: Sequence[str], settings: SplitSettings) -> dict[str, list[str]]:
    """Return what is drawn as one: the ids of each unit by its name."""
    found: dict[str, list[str]] = {}
    for id in ids:
        crystal, _, copy = id.rpartition("-")
        siblings = settings.group == "crystal" and crystal and copy.isdigit()
        found.setdefault(crystal if siblings else id, []).append(id)
    return found


def _elements(manifest: pd.DataFrame, units: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    of = {str(id): set(e.split()) for id, e in zip(manifest["id"], manifest["elements"], strict=True)}
    return {unit: set[str]().union(*(of[id] for id in members)) for unit, members in units.items()}


def _drawn(ids: Sequence[str], formulas: Sequence[str], settings: SplitSettings) -> dict[str, tuple[str, ...]]:
    rng = np.random.default_rng(settings.seed)
    shuffled = rng.permutation(sorted(range(len(ids)), key=lambda k: ids[k]))  # not of the order in the store
    place = {formula: n for n, formula in enumerate(rng.permutation(sorted(set(formulas))))}
    order = sorted(shuffled.tolist(), key=lambda k: place[formulas[k]])
    names = sorted(name for name, fraction in settings.fractions.items() if fraction > 0)
    counts = _counts(np.array([settings.fractions[name] for name in names]), len(ids))
    share, taken = counts / max(1, len(ids)), np.zeros(len(names), dtype=int)
    found: dict[str, list[str]] = {name: [] for name in settings.fractions}
    for step, k in enumerate(order, start=1):
        lag = np.where(taken < counts, share * step - taken, -np.inf)
        chosen = int(np.argmax(lag))  # the split that is furthest behind its share
        taken[chosen] += 1
        found[names[chosen]].append(ids[k])
    return {name: tuple(sorted(members)) for name, members in found.items()}


def _covered(
    lists: dict[str, tuple[str, ...]], elements: Mapping[str, set[str]], *, largest: str
) -> dict[str, tuple[str, ...]]:
    """Exchange structures until the largest list has every element; it grows where nothing can be spared."""
    others = sorted(name for name in lists if name != largest)
    held = {name: list(ids) for name, ids in lists.items()}
    wanted = sorted({e for ids in lists.values() for id in ids for e in elements[id]})
    for element in wanted:
        if any(element in elements[id] for id in held[largest]):
            continue
        name, id = next((n, i) for n in others for i in held[n] if element in elements[i])
        count = Counter(e for i in held[largest] for e in elements[i])
        spare = next((i for i in held[largest] if all(count[e] > 1 for e in elements[i])), None)
        held[name].remove(id)
        held[largest].append(id)
        if spare is not None:
            held[largest].remove(spare)
            held[name].append(spare)
    return {name: tuple(sorted(ids)) for name, ids in held.items()}


def _counts(fractions: np.ndarray[Any, np.dtype[np.float64]], n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return how many structures each split gets: largest remainders, then at least one each if there are enough."""
    exact = fractions * n
    counts = np.floor(exact + 1e-9).astype(np.int64)
    for k in np.argsort(counts - exact, kind="stable")[: n - counts.sum()]:
        counts[k] += 1
    while n >= len(counts) and counts.min() == 0:
        counts[np.argmax(counts)] -= 1
        counts[np.argmin(counts)] += 1
    return counts

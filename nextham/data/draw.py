"""Random splits: drawn in proportion, covering elements, and shorter ones."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nextham.data.heldout import HeldOut
from nextham.data.settings import SplitSettings
from nextham.data.splits import Split, read_ids
from nextham.exceptions import InputError

if TYPE_CHECKING:
    import pandas as pd


def make_split(
    manifest: pd.DataFrame,
    settings: SplitSettings = SplitSettings(),  # noqa: B008  (frozen)
    *,
    apart: HeldOut | None = None,
    crystals: Mapping[str, str] | None = None,
) -> Split:
    """Divide the structures of a manifest.

    Structures of one reduced formula are spread over the splits in proportion to their fractions; no
    split with a fraction stays empty while there are enough structures. With ``group: crystal`` whole
    families of copies are drawn in place of structures. ``id_files`` replace the draw.

    Args:
        manifest: ids, reduced formulas and elements.
        settings: how.
        apart: lists that are taken out first, and stand beside the others.
        crystals: the crystal of each id, for ``group: geometry``.

    Raises:
        InputError: if files list no structure of the manifest, or one in two lists; or nothing is left to train on.
    """
    ids = [str(id) for id in manifest["id"]]
    if settings.id_files:
        return _listed(ids, settings)
    apart = apart or HeldOut({}, {})
    outside = set().union(*apart.lists.values())
    inside = manifest[[id not in outside for id in ids]]
    left = [str(id) for id in inside["id"]]
    names = [name for name, fraction in settings.fractions.items() if fraction > 0]
    if apart.lists and len(left) < len(names):
        raise InputError(
            f"{', '.join(apart.lists)}: {len(left)} of {len(ids)} structures are left, which is too few for "
            f"{', '.join(names)}; hold out less"
        )
    units = _units(left, settings, crystals)
    formulas = dict(zip(left, map(str, inside["reduced_formula"]), strict=True))
    lists = _drawn(list(units), [formulas[members[0]] for members in units.values()], settings)
    if settings.cover_elements:
        largest = max(sorted(settings.fractions), key=lambda name: settings.fractions[name])
        lists = _covered(lists, _elements(inside, units), largest=largest)
    drawn = {name: tuple(sorted(id for u in members for id in units[u])) for name, members in lists.items()}
    about = {"seed": settings.seed, "group": settings.group}
    return Split(drawn | dict(apart.lists), about=about | ({"held_out": dict(apart.about)} if apart.about else {}))


def _listed(ids: Sequence[str], settings: SplitSettings) -> Split:
    """Return the split of lists in files, without what the manifest does not have and what is repeated."""
    listed = {name: read_ids(path) for name, path in settings.id_files.items()}
    if settings.missing == "refuse":
        once = {name: tuple(dict.fromkeys(members)) for name, members in listed.items()}
        return Split(once).checked(ids, "the store")
    known = set(ids)
    held = {name: tuple(dict.fromkeys(id for id in members if id in known)) for name, members in listed.items()}
    for name, members in held.items():
        if not members:
            raise InputError(
                f"the store holds none of the {len(listed[name])} ids of {settings.id_files[name]} ({name}); "
                "is it a list of another dataset?"
            )
    missing = {name: [id for id in dict.fromkeys(members) if id not in known] for name, members in listed.items()}
    repeated = {name: [id for id, n in Counter(members).items() if n > 1] for name, members in listed.items()}
    about = {
        "missing": {name: members for name, members in missing.items() if members},
        "repeated": {name: members for name, members in repeated.items() if members},
    }
    return Split(held, about={name: value for name, value in about.items() if value})


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
    lists = {**split.ids, name: tuple(sorted((chosen + waiting)[:size]))}
    audit = split.audit and split.audit.within(lists)
    return dataclasses.replace(split, ids=lists, audit=audit, about={**split.about, "shortened": {name: size}})


def _units(ids: Sequence[str], settings: SplitSettings, crystals: Mapping[str, str] | None) -> dict[str, list[str]]:
    """Return what is drawn as one: the ids of each unit by its name."""
    found: dict[str, list[str]] = {}
    if settings.group == "geometry":
        if crystals is None:
            raise InputError("group: geometry needs the structures, not the manifest alone")
        for id in ids:
            found.setdefault(crystals[id], []).append(id)
        return found
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

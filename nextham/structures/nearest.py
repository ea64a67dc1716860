"""The nearest structure of another list, and which structures are one crystal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from nextham.console import track
from nextham.core import Structure
from nextham.structures.matching import COPY, DUPLICATE, Matcher, Near, Pool

Lists = Mapping[str, Mapping[str, Structure]]  # list, id, structure
Pair = tuple[str, str, str, str, Near]  # list, id, the other list, id there, how near

_REFERENCES: Final = ("train", "val")  # what a model is fitted to, and chosen by


def nearest_pairs(lists: Lists, matcher: Matcher) -> list[Pair]:
    """Return, of each structure of a list, one of each reference list that is the same crystal, if there is any.

    References are the lists train and val, or without them every list before. A duplicate goes before a copy, and the
    one whose lattice and neighbours are nearest before others; all are tried until one is found.
    """
    keyed = {(name, id): each for name, members in lists.items() for id, each in members.items()}
    pool: Pool[tuple[str, str]] = Pool(keyed, matcher)
    several = [keys for keys in pool.of_composition.values() if len({name for name, _ in keys}) > 1]
    found: list[Pair] = []
    for keys in track(several, "leakage"):
        for key in keys:
            for reference in _references(key[0], list(lists)):
                others = [other for other in keys if other[0] == reference and other[1] != key[1]]
                near = _nearest(pool, key, others)
                if near is not None:
                    found.append((*key, *near[0], near[1]))
    order = {name: k for k, name in enumerate(lists)}
    return sorted(found, key=lambda pair: (order[pair[0]], pair[1], order[pair[2]]))


def crystals_of(structures: Mapping[str, Structure], symmetry: Mapping[str, int], matcher: Matcher) -> dict[str, str]:
    """Return the name of the crystal of each structure: the id of its most symmetric copy.

    Args:
        structures: by id.
        symmetry: space group number of each.
        matcher: says which are copies of each other.
    """
    pool: Pool[str] = Pool(structures, matcher)
    found: dict[str, str] = {}
    for ids in track(list(pool.of_composition.values()), "crystals"):
        if len(ids) == 1:
            found[ids[0]] = ids[0]
            continue
        first: list[str] = []
        for id in sorted(ids, key=lambda id: (-symmetry[id], len(structures[id]), id)):
            same = next((one for one in first if matcher.is_copy(pool.reduced(one), pool.reduced(id))), id)
            if same == id:
                first.append(id)
            found[id] = same
    return {id: found[id] for id in structures}


def _references(name: str, names: Sequence[str]) -> Iterator[str]:
    known = [each for each in _REFERENCES if each in names]
    if not known:
        yield from names[: names.index(name)]
    elif name in known:
        yield from known[: known.index(name)]
    else:
        yield from known


def _nearest(
    pool: Pool[tuple[str, str]], key: tuple[str, str], others: list[tuple[str, str]]
) -> tuple[tuple[str, str], Near] | None:
    if not others:
        return None
    one = pool.reduced(key)
    away = np.array([np.abs(pool.reduced(other).features - one.features) / pool.matcher.scale for other in others])
    order = np.argsort(away.mean(axis=1), kind="stable").tolist()
    likely = [k for k in order if away[k].max() <= 1 and pool.reduced(others[k]).n_atoms == one.n_atoms]
    for k in likely:
        if pool.matcher.is_duplicate(pool.reduced(others[k]), one):
            return others[k], pool.matcher.measured(DUPLICATE, pool.reduced(others[k]), one)
    for k in order:
        if pool.matcher.is_copy(pool.reduced(others[k]), one):
            return others[k], pool.matcher.measured(COPY, pool.reduced(others[k]), one)
    return None

"""Lists outside the distribution of the training set: other elements, prototypes, sizes, heavier atoms, more strain."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nextham.core import atomic_number
from nextham.data.settings import HeldOutSettings
from nextham.exceptions import InputError

if TYPE_CHECKING:
    import pandas as pd

HEAVY_ABOVE: Final = 54  # xenon: beyond it spin-orbit coupling is strong
SHARE: Final = 0.1  # of families that are asked for without more


@dataclasses.dataclass(frozen=True)
class Facts:
    """What decides which lists a structure belongs to."""

    elements: frozenset[str]
    n_atoms: int
    volume_ang3: float  # per atom
    crystal: str = ""  # name of the crystal that it is a copy of, or itself
    prototype: str = ""  # label, of the crystal
    strain: float | None = None  # ln of the volume per atom to that of the unstrained crystal; None: nothing to compare

    @property
    def heaviest(self) -> int:
        """Largest atomic number."""
        return max(map(atomic_number, self.elements))


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Lists of structures that are not drawn, and by what they were chosen."""

    lists: Mapping[str, tuple[str, ...]]
    about: Mapping[str, Any]


Chosen = tuple[set[str], Any]  # ids, and what chose them


def facts_of(manifest: pd.DataFrame) -> dict[str, Facts]:
    """Return what a manifest says of each structure."""
    columns = (manifest["id"], manifest["elements"], manifest["n_atoms"], manifest["volume_ang3"])
    return {
        str(id): Facts(frozenset(elements.split()), int(n), float(volume) / int(n))
        for id, elements, n, volume in zip(*columns, strict=True)
    }


def with_strains(facts: Mapping[str, Facts], symmetry: Mapping[str, int]) -> dict[str, Facts]:
    """Return the facts with the strain of each structure.

    The unstrained volume of a crystal is the median of its most symmetric copies: straining lowers the symmetry.

    Args:
        facts: with the crystal of each.
        symmetry: space group number of each.
    """
    members: dict[str, list[str]] = {}
    for id, each in facts.items():
        members.setdefault(each.crystal, []).append(id)
    found = {}
    for ids in members.values():
        if len(ids) == 1:
            found[ids[0]] = facts[ids[0]]
            continue
        most = max(symmetry[id] for id in ids)
        ideal = float(np.median([facts[id].volume_ang3 for id in ids if symmetry[id] == most]))
        for id in ids:
            strain = float(np.log(facts[id].volume_ang3 / ideal))
            found[id] = dataclasses.replace(facts[id], strain=strain)
    return {id: found[id] for id in facts}


def held_out(facts: Mapping[str, Facts], settings: HeldOutSettings, *, seed: int = 0) -> HeldOut:
    """Return the lists that settings ask for; a structure may be in several.

    Raises:
        InputError: if a list would be empty, or nothing would be left to train on.
    """
    ways: dict[str, Callable[[Mapping[str, Facts], HeldOutSettings, int], Chosen | None]] = {
        "element": _elements,
        "prototype": _prototypes,
        "size": _size,
        "heavy": _heavy,
        "strain": _strain,
    }
    lists: dict[str, tuple[str, ...]] = {}
    about: dict[str, Any] = {}
    for name, way in ways.items():
        chosen = way(facts, settings, seed)
        if chosen is None:
            continue
        ids, by = chosen
        list_ = f"ood-{name}"
        if not ids:
            raise InputError(f"{list_} would be empty: no structure has {_words(name, by)}")
        if len(ids) == len(facts):
            raise InputError(f"{list_} leaves nothing to train on: every structure has {_words(name, by)}")
        lists[list_], about[list_] = tuple(sorted(ids)), by
    if lists and len(set().union(*lists.values())) == len(facts):
        raise InputError(f"{', '.join(lists)} together leave nothing to train on; hold out less")
    return HeldOut(lists, about)


def _elements(facts: Mapping[str, Facts], settings: HeldOutSettings, _seed: int) -> Chosen | None:
    if not settings.elements:
        return None
    wanted = set(settings.elements)
    return {id for id, each in facts.items() if each.elements & wanted}, {"elements": sorted(wanted)}


def _prototypes(facts: Mapping[str, Facts], settings: HeldOutSettings, seed: int) -> Chosen | None:
    if not settings.prototypes and settings.prototype_share is None:
        return None
    count = Counter(each.prototype for each in facts.values())
    if settings.prototype_share is None:
        wanted = set(settings.prototypes)
    else:
        names, room = sorted(count), settings.prototype_share * len(facts)
        drawn = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
        wanted = set[str]()
        for name in drawn:
            if count[name] <= room:
                wanted.add(name)
                room -= count[name]
        wanted = wanted or {min(drawn, key=lambda name: count[name])}
    chosen = {id for id, each in facts.items() if each.prototype in wanted}
    return chosen, {"prototypes": sorted(wanted)}


def _size(facts: Mapping[str, Facts], settings: HeldOutSettings, _seed: int) -> Chosen | None:
    if settings.atoms_above is None and settings.size_share is None:
        return None
    sizes = [each.n_atoms for each in facts.values()]
    limit = settings.atoms_above or int(_limit(sizes, settings.size_share or SHARE))
    return {id for id, each in facts.items() if each.n_atoms > limit}, {"atoms_above": limit}


def _heavy(facts: Mapping[str, Facts], settings: HeldOutSettings, _seed: int) -> Chosen | None:
    limit = settings.heavy_above
    if limit is None:
        return None
    return {id for id, each in facts.items() if each.heaviest > limit}, {"heavy_above": limit}


def _strain(facts: Mapping[str, Facts], settings: HeldOutSettings, _seed: int) -> Chosen | None:
    if settings.strain_above is None and settings.strain_share is None:
        return None
    strain = {id: abs(each.strain) for id, each in facts.items() if each.strain is not None}
    if not strain:
        raise InputError("ood-strain needs strained copies beside their crystals, and no crystal has two structures")
    if settings.strain_above is not None:
        limit = float(np.log1p(settings.strain_above))
    else:
        limit = _limit(strain.values(), settings.strain_share or SHARE)
    return {id for id, value in strain.items() if value > limit}, {"strain_above": float(np.expm1(limit))}


def _limit(values: Iterable[float], share: float) -> float:
    """Return a limit above which about a share of the values lie: at most it, but at least the largest value."""
    distinct, count = np.unique(np.array(list(values), dtype=np.float64), return_counts=True)
    above = np.cumsum(count[::-1])[::-1] - count  # how many lie above each value
    inside = np.flatnonzero(above <= share * count.sum())
    k = int(inside[0]) if above[inside[0]] else max(0, len(distinct) - 2)
    return float(distinct[k]) if len(distinct) > 1 else float(distinct[0]) - 1.0


def _words(name: str, by: Mapping[str, Any]) -> str:
    if name == "element":
        return ("one of " if len(by["elements"]) > 1 else "") + " ".join(by["elements"])
    if name == "prototype":
        return f"one of the prototypes {' '.join(by['prototypes'])}"
    if name == "size":
        return f"more than {by['atoms_above']} atoms"
    if name == "heavy":
        return f"an element of atomic number above {by['heavy_above']}"
    return f"a volume that differs by more than {100 * by['strain_above']:.1f} %"

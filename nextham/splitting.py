"""Splits of a dataset with all that needs its crystals: who is a copy of whom, prototypes, strain, leakage."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from nextham.console import track
from nextham.core import Structure
from nextham.data.audit import Audit, Leak
from nextham.data.draw import make_split
from nextham.data.heldout import HEAVY_ABOVE, SHARE, Facts, HeldOut, facts_of, held_out, with_strains
from nextham.data.settings import HeldOutSettings, SplitSettings
from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.exceptions import InputError

if TYPE_CHECKING:
    from nextham.structures.settings import MatchSettings

RANDOM: Final = "random"
ELEMENT: Final = "ood-element"
OTHER_STORES: Final = {"ood-basis": "orbital basis", "ood-engine": "engine"}  # list: in what the stores must differ
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {  # family: keys of held_out, and what they are where none is set
    RANDOM: {},
    ELEMENT: {"elements": None},
    "ood-prototype": {"prototypes": None, "prototype_share": SHARE},
    "ood-size": {"atoms_above": None, "size_share": SHARE},
    "ood-heavy": {"heavy_above": HEAVY_ABOVE},
    "ood-strain": {"strain_above": None, "strain_share": SHARE},
}
FAMILIES: Final = tuple(_DEFAULTS)


def with_families(settings: SplitSettings, families: tuple[str, ...]) -> SplitSettings:
    """Return settings that hold out these families too, by their defaults where the settings say nothing.

    Raises:
        InputError: if a family is not known, or it is ood-element and no element is named.
    """
    given = settings.held_out.model_dump(exclude_defaults=True)
    for family in families:
        if family not in _DEFAULTS:
            raise InputError(f"there is no family {family}; there are {', '.join([*FAMILIES, *OTHER_STORES])}")
        keys = _DEFAULTS[family]
        if keys and not given.keys() & keys.keys():
            given |= {key: value for key, value in keys.items() if value is not None}
    return settings.model_copy(update={"held_out": HeldOutSettings.model_validate(given)})


class Dataset:
    """The structures of a store as splits see them; each thing is found when it is first asked for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._structures: dict[str, Structure] = {}
        self._crystals: dict[str, str] = {}

    @property
    def structures(self) -> dict[str, Structure]:
        """The crystal of every record, without its operators."""
        if not self._structures:
            self._structures = structures_of(self.store)
        return self._structures

    @property
    def symmetry(self) -> dict[str, int]:
        """Space group number of each structure, 1 where none was found."""
        table = self.store.manifest
        numbers = [re.search(r"\((\d+)\)", str(text)) for text in table["space_group"]]
        return {str(id): int(n[1]) if n else 1 for id, n in zip(table["id"], numbers, strict=True)}

    @property
    def crystals(self) -> dict[str, str]:
        """Name of the crystal that each structure is a copy of."""
        if not self._crystals:
            from nextham.structures.matching import Matcher
            from nextham.structures.nearest import crystals_of

            self._crystals = crystals_of(self.structures, self.symmetry, Matcher())
        return self._crystals

    def facts(self, settings: HeldOutSettings) -> tuple[dict[str, Facts], HeldOutSettings]:
        """Return what decides which lists each structure belongs to, and the settings with labels of prototypes."""
        facts = facts_of(self.store.manifest)
        prototypes = bool(settings.prototypes) or settings.prototype_share is not None
        if not prototypes and settings.strain_above is None and settings.strain_share is None:
            return facts, settings
        facts = {id: dataclasses.replace(each, crystal=self.crystals[id]) for id, each in facts.items()}
        facts = with_strains(facts, self.symmetry)
        if prototypes:
            from nextham.structures.labels import labels_of, labels_of_names

            labels = labels_of(self.crystals, self.structures)
            facts = {id: dataclasses.replace(each, prototype=labels[id]) for id, each in facts.items()}
            wanted = labels_of_names(settings.prototypes, labels.values())
            settings = settings.model_copy(update={"prototypes": wanted})
        return facts, settings


def split_of(dataset: Dataset, settings: SplitSettings, *, others: Mapping[str, Store] | None = None) -> Split:
    """Return a split of a dataset, audited if the settings ask for it.

    Args:
        dataset: what is divided.
        settings: how.
        others: further stores, by the name of the list that takes their structures.

    Raises:
        InputError: if nothing is left to train on, or the settings are strict and the split leaks.
    """
    apart = HeldOut({}, {})
    if settings.held_out != HeldOutSettings():
        if settings.id_files:
            raise InputError("id_files and held_out do not go together; name the lists of ids, ood-... among them")
        facts, by = dataset.facts(settings.held_out)
        apart = held_out(facts, by, seed=settings.seed)
    crystals = dataset.crystals if settings.group == "geometry" and not settings.id_files else None
    split = make_split(dataset.store.manifest, settings, apart=apart, crystals=crystals)
    for name, store in (others or {}).items():
        split = with_other_store(split, name, dataset.store, store)
    if settings.audit or settings.strict:
        split = audited(split, dataset, others or {})
        if settings.strict and split.audit is not None:
            split.audit.refuse()
    return split


def leave_one_element_out(dataset: Dataset, settings: SplitSettings) -> tuple[dict[str, Split], dict[str, str]]:
    """Return a split for each element, whose test set is every structure with it; and why others have none.

    The elements are those that the settings name, or all.

    Raises:
        InputError: if no element, or one that is named, can be left out.
    """
    facts = facts_of(dataset.store.manifest)
    elements = sorted(set().union(*(each.elements for each in facts.values())))
    wanted = settings.held_out.elements or tuple(elements)
    if unknown := [name for name in wanted if name not in elements]:
        raise InputError(f"no structure of {dataset.store.path} has {unknown[0]}; there are {' '.join(elements)}")
    found: dict[str, Split] = {}
    problems: dict[str, str] = {}
    for name in track(wanted, "elements"):
        try:
            found[name] = without_element(dataset, settings, name)
        except InputError as error:
            if settings.held_out.elements:  # it was asked for by name
                raise
            problems[name] = str(error)
    if not found:
        raise InputError(f"no element can be left out; the first reason: {next(iter(problems.values()))}")
    return found, problems


def without_element(dataset: Dataset, settings: SplitSettings, element: str) -> Split:
    """Return a split whose test set is every structure with an element, which no other structure has.

    Raises:
        InputError: if no structure has it, or too few lack it to train and validate on.
    """
    fractions = {name: share for name, share in settings.fractions.items() if name != "test" and share > 0}
    total = sum(fractions.values())
    shares = {name: share / total for name, share in fractions.items()}
    alone = {"fractions": shares, "held_out": HeldOutSettings(elements=(element,))}
    split = split_of(dataset, settings.model_copy(update={**alone, "audit": False, "strict": False}))
    lists = {("test" if name == ELEMENT else name): ids for name, ids in split.ids.items()}
    return dataclasses.replace(split, ids=lists)


def with_other_store(split: Split, name: str, own: Store, other: Store) -> Split:
    """Return a split with a list of another store's structures, without those whose ids stand in train or val.

    Raises:
        InputError: if the stores do not differ in what the list is about, or no structure is left.
    """
    what = OTHER_STORES[name]
    here, there = (_bases if name == "ood-basis" else _engines)(own, other)
    if here == there:
        raise InputError(f"{name}: {other.path} has the {what} of {own.path} ({here}); name a store with another")
    trained = {id for list_ in ("train", "val") for id in split.ids.get(list_, ())}
    ids = tuple(sorted(id for id in other.ids if id not in trained))
    if not ids:
        raise InputError(f"{name}: every structure of {other.path} stands in train or val of {own.path}")
    stores = {**split.stores, name: {"path": str(other.path), what: there}}
    about = {**split.about, name: {"left_out": len(other.ids) - len(ids)}}
    return dataclasses.replace(split, ids={**split.ids, name: ids}, stores=stores, about=about)


def audited(split: Split, dataset: Dataset, others: Mapping[str, Store], match: MatchSettings | None = None) -> Split:
    """Return a split with what it leaks."""
    from nextham.structures.matching import Matcher
    from nextham.structures.nearest import nearest_pairs
    from nextham.structures.settings import MatchSettings

    settings = match or MatchSettings()
    elsewhere = {name: structures_of(store) for name, store in others.items()}
    lists = {name: {id: elsewhere.get(name, dataset.structures)[id] for id in ids} for name, ids in split.ids.items()}
    leaks = [
        Leak(name, id, reference, other, near.kind, near.rms_ang, near.volume_ratio)
        for name, id, reference, other, near in nearest_pairs(lists, Matcher(settings))
    ]
    compared = {name: len(ids) for name, ids in split.ids.items()}
    return split.audited(Audit(compared, settings.model_dump(mode="json"), tuple(leaks)))


def structures_of(store: Store) -> dict[str, Structure]:
    """Return the crystals of a store, a shard at a time: nothing but one shard's index is in memory."""
    found: dict[str, Structure] = {}
    for number, about in enumerate(store.shards):
        shard = Store(store.path).shard(number)
        found |= {str(id): shard.record(row, ()).structure for row, id in enumerate(about["ids"])}
    return found


def _bases(own: Store, other: Store) -> tuple[str, str]:
    """Return the orbital bases of two stores, of the elements that both have."""
    common = sorted(set(own.basis) & set(other.basis))
    if not common:
        raise InputError(f"ood-basis: {own.path} and {other.path} have no element in common")
    return str(own.basis.restricted(common)), str(other.basis.restricted(common))


def _engines(own: Store, other: Store) -> tuple[str, str]:
    found = [", ".join(sorted(set(map(str, store.manifest["engine"])))) for store in (own, other)]
    return found[0], found[1]

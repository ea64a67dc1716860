"""Labels of structure prototypes, as AFLOW writes them: stoichiometry, Pearson symbol, space group, occupied sites."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import chain, groupby, permutations, product
from typing import Any, Final

from nextham.console import track
from nextham.core import Structure
from nextham.exceptions import InputError

_TOLERANCE_ANG: Final = 0.01
_ALPHABET: Final = ("Ac", "Ag", "Al", "Am", "Ar", "As", "At", "Au", "B", "Ba")  # in alphabetical order, as labels are
_MOST_ORDERS: Final = 24


def prototype_label(structure: Structure) -> str:
    """Return the label of a structure's prototype, by spglib; which element is on which site does not count.

    >>> from nextham.testing import zincblende
    >>> prototype_label(zincblende())
    'AB_cF8_216_a_c'
    """
    from pymatgen.core.structure import Structure as Crystal

    return _label(Crystal(structure.cell, structure.numbers.tolist(), structure.fractional))


def labels_of(crystals: Mapping[str, str], structures: Mapping[str, Structure]) -> dict[str, str]:
    """Return the label of each structure: that of its crystal, which straining does not change."""
    ideal = {name: prototype_label(structures[name]) for name in track(sorted(set(crystals.values())), "prototypes")}
    return {id: ideal[name] for id, name in crystals.items()}


def labels_of_names(names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return labels for names: labels that are known stay, Strukturbericht symbols become labels.

    Raises:
        InputError: if a name is neither.
    """
    held = set(known)
    return tuple(name if name in held else _of_symbol(name) for name in names)


@cache
def _of_symbol(name: str) -> str:
    from nextham.structures.prototypes import prototype

    try:
        return _label(prototype(name).crystal)
    except InputError as error:
        raise InputError(f"held_out.prototypes: {error}") from None


def _label(crystal: Any) -> str:
    """Return the first, in alphabetical order, of the labels that naming the elements in other ways gives.

    AFLOW's letters follow the alphabet, so that CaF2 and PbF2 have other labels; here the rarer element goes first.
    """
    composition = crystal.composition.reduced_composition
    by_count = [list(same) for _, same in groupby(sorted(composition, key=composition.get), key=composition.get)]
    orders = [list(chain(*order)) for order in product(*(permutations(same) for same in by_count))]
    return min(_named(crystal, order) for order in orders[:_MOST_ORDERS])


def _named(crystal: Any, order: list[Any]) -> str:
    from pymatgen.analysis.prototypes import get_protostructure_label_from_spglib

    renamed = crystal.copy()
    renamed.replace_species(dict(zip(order, _ALPHABET, strict=False)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_protostructure_label_from_spglib(renamed, init_symprec=_TOLERANCE_ANG)
    return str(found or "").partition(":")[0] or "unknown"

"""The crystals that settings ask for: prototypes with formulas or decorations, ideal and perturbed."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from itertools import product
from typing import Any

from nextham.console import track
from nextham.exceptions import InputError
from nextham.structures.perturb import copies
from nextham.structures.prototypes import prototype, scaled, sites_of
from nextham.structures.settings import CrystalSettings, family_of
from nextham.structures.sourced import Gathered, LeftOut, Sourced
from nextham.structures.volumes import neutral_charges


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One crystal to build."""

    prototype: str
    formula: str  # as it stands in ids
    elements: Mapping[str, str]  # site to element
    a_ang: float | None  # None: the volume is predicted


def plan(settings: CrystalSettings) -> tuple[list[Wanted], list[LeftOut]]:
    """Return the crystals that settings ask for, and which combinations of `decorate` are not neutral.

    A combination that puts one element on two sites, or that `prototypes` lists already, is not another crystal.

    Raises:
        InputError: if a prototype is not known, or formulas or sites do not fit it.
    """
    found: dict[str, Wanted] = {}
    for name, formulas in settings.prototypes.items():
        for formula, a in formulas.items():
            wanted = Wanted(name, formula, sites_of(prototype(name), formula, name), a)
            found[family_of(formula, name)] = wanted
    listed = [(each.prototype, each.elements) for each in found.values()]
    left_out = []
    for name, sites in settings.decorate.items():
        for elements in _combinations(name, sites):
            formula = prototype(name).formula(elements)
            family = family_of(formula, name)
            if (name, elements) in listed or family in found:
                continue
            if settings.charge_neutral and not _is_neutral(formula):
                text = f"{family}: no common oxidation states make {formula} neutral"
                left_out.append(LeftOut(family, "not neutral", text))
                continue
            found[family] = Wanted(name, formula, elements, None)
    if not found:
        raise InputError(
            "prototypes is empty; name crystals, e.g. {B3: {GaAs: 5.653}}"
            if not left_out
            else f"none of {len(left_out)} combinations is neutral; choose other elements or charge_neutral: false"
        )
    return list(found.values()), left_out


def build(settings: CrystalSettings, *, only: Collection[str] | None = None) -> Gathered:
    """Return the crystals of the settings with their copies; those whose volume cannot be predicted are left out.

    Args:
        settings: prototypes, formulas, decorations, perturbations.
        only: ids to build; all without it.

    Raises:
        InputError: if a prototype or an id is not known, or a formula does not fit its prototype.
    """
    wanted, left_out = plan(settings)
    known = {id: each for each in wanted for id in settings.ids_of(each.formula, each.prototype)}
    asked = set(known if only is None else only)
    if unknown := sorted(asked - set(known)):
        some = ", ".join([*known][:20]) + (", ..." if len(known) > 20 else "")
        raise InputError(f"no crystal of the settings is called {unknown[0]}; they are {some}")
    found: list[Sourced] = []
    for each in track(wanted, "crystals"):
        family = family_of(each.formula, each.prototype)
        if asked.isdisjoint(settings.ids_of(each.formula, each.prototype)):
            continue
        try:
            structure, facts = scaled(prototype(each.prototype), each.elements, a_ang=each.a_ang, name=each.prototype)
        except InputError as error:
            if only is None and len(wanted) == 1:
                raise
            left_out.append(LeftOut(family, "no volume", str(error)))
            continue
        ideal = Sourced(f"{family}-0", structure, f"prototype {each.prototype}", facts=facts)
        found += [made for made in (ideal, *copies(ideal, settings, family=family)) if made.id in asked]
    return Gathered(tuple(found), tuple(left_out))


def _combinations(name: str, sites: Mapping[str, Collection[str]]) -> list[dict[str, str]]:
    own = prototype(name).sites
    if set(sites) != set(own):
        raise InputError(
            f"decorate: the sites of {name} are {', '.join(own)}, not {', '.join(sites) or 'none'}; "
            f"give elements for each, e.g. {{{', '.join(f'{letter}: [{e}]' for letter, e in own.items())}}}"
        )
    for letter, elements in sites.items():
        if not elements:
            raise InputError(f"decorate: {name}: site {letter} has no elements; name some, e.g. [{own[letter]}]")
    rows = (dict(zip(own, chosen, strict=True)) for chosen in product(*(dict.fromkeys(sites[l]) for l in own)))
    return [row for row in rows if len(set(row.values())) == len(row)]


def _is_neutral(formula: str) -> bool:
    from pymatgen.core.composition import Composition

    composition = Composition(formula)
    if len(composition) == 1:
        return True
    common: dict[str, Any] = {e.symbol: e.common_oxidation_states for e in composition}
    return bool(neutral_charges(composition, common))

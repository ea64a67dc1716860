"""From structures as they were found to structures to compute: primitive cells, filters, no duplicates, copies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

import numpy as np

from nextham.console import track
from nextham.core import Structure
from nextham.exceptions import InputError, NexthamError
from nextham.structures.files import Found
from nextham.structures.matching import DUPLICATE, duplicates
from nextham.structures.perturb import copies
from nextham.structures.settings import FilterSettings, PrepareSettings
from nextham.structures.sourced import Gathered, LeftOut, Sourced

Orbitals = Mapping[str, int]  # element: orbitals of an atom; an element that has no species is not there

UNREADABLE: Final = "unreadable"
SAME_ID: Final = "same id"


def gathered(found: Iterable[Found]) -> Gathered:
    """Return what files hold; of several structures with one id the first stays."""
    kept: dict[str, Found] = {}
    left_out = []
    for each in found:
        if isinstance(each.crystal, NexthamError):
            left_out.append(LeftOut(each.id, UNREADABLE, str(each.crystal)))
        elif each.id in kept:
            text = f"{each.where}: {each.id} is the id of {kept[each.id].where} already; rename one"
            left_out.append(LeftOut(each.id, SAME_ID, text))
        else:
            kept[each.id] = each
    return Gathered(tuple(each.sourced() for each in kept.values()), tuple(left_out))


def prepared(source: Gathered, settings: PrepareSettings, *, orbitals: Orbitals | None = None) -> Gathered:
    """Return the structures to compute: reduced, filtered, each once, with copies; and what was left out, and why.

    Args:
        source: the structures.
        settings: what is done.
        orbitals: of the species that will compute them; needed by the filters that count them.

    Raises:
        InputError: if the filters need species and none are given.
    """
    if orbitals is None and (settings.filters.max_orbitals or settings.filters.known_species):
        raise InputError("filters.max_orbitals and filters.known_species need a species source; name one")
    found = source
    if settings.primitive:
        tolerance = settings.primitive_tolerance_ang
        made = [primitive(each, tolerance_ang=tolerance) for each in track(found.found, "primitive cells")]
        found = found.and_then(made, ())
    found = _filtered(found, settings.filters, orbitals or {})
    if settings.unique:
        found = _unique(found, settings)
    if settings.copies.cells:
        found = _with_copies(found, settings, orbitals or {})
    return found


def primitive(each: Sourced, *, tolerance_ang: float) -> Sourced:
    """Return a structure in its primitive cell, by spglib; one that is primitive keeps its cell.

    Positions are not idealised, the crystal is not turned, and the tolerance is noted.
    """
    import spglib

    structure = each.structure
    cell = (structure.cell.tolist(), structure.fractional.tolist(), structure.numbers.tolist())
    found = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=tolerance_ang)
    if found is None or len(found[2]) == len(structure):
        return each.noted(primitive_tolerance_ang=f"{tolerance_ang:g}")
    rows, fractional, numbers = (np.asarray(values) for values in found)
    small = Structure(numbers, fractional @ rows, rows).grouped()
    facts = {"primitive_tolerance_ang": f"{tolerance_ang:g}", "reduced_from": f"{len(structure)} atoms"}
    return Sourced(each.id, small, each.source, each.licence, {**each.facts, **facts})


def refused(structure: Structure, settings: FilterSettings, orbitals: Orbitals) -> tuple[str, str] | None:
    """Return why a structure does not pass the filters, a reason and the numbers; None if it does."""
    reasons = chain(
        _by_size(structure, settings), _by_elements(structure, settings, orbitals), _by_geometry(structure, settings)
    )
    return next(reasons, None)


def _by_size(structure: Structure, settings: FilterSettings) -> Iterator[tuple[str, str]]:
    n = len(structure)
    if settings.min_atoms and n < settings.min_atoms:
        yield "too few atoms", f"{n} atoms, fewer than {settings.min_atoms}"
    if settings.max_atoms and n > settings.max_atoms:
        yield "too many atoms", f"{n} atoms, more than {settings.max_atoms}"


def _by_elements(structure: Structure, settings: FilterSettings, orbitals: Orbitals) -> Iterator[tuple[str, str]]:
    symbols = structure.symbols
    elements = set(symbols)
    if settings.elements and (others := sorted(elements - set(settings.elements))):
        yield "other element", f"{', '.join(others)} is not one of {' '.join(settings.elements)}"
    if unwanted := sorted(elements & set(settings.without)):
        yield "excluded element", f"it has {', '.join(unwanted)}"
    if settings.known_species or settings.max_orbitals:
        if lacking := sorted(elements - orbitals.keys()):
            yield "no species", f"the species source has no {', '.join(lacking)}"
        elif settings.max_orbitals and (n := sum(orbitals[name] for name in symbols)) > settings.max_orbitals:
            yield "too many orbitals", f"{n} orbitals, more than {settings.max_orbitals}"


def _by_geometry(structure: Structure, settings: FilterSettings) -> Iterator[tuple[str, str]]:
    volume, most, least = structure.volume / len(structure), settings.max_volume_ang3, settings.min_distance_ang
    if most and volume > most:
        yield "too much volume", f"{volume:.1f} Å³ per atom, more than {most:g}"
    if least and (distance := _closest_ang(structure, least)) is not None:
        yield "atoms too close", f"two atoms are {distance:.3f} Å apart, less than {least:g}"


def _filtered(found: Gathered, settings: FilterSettings, orbitals: Orbitals) -> Gathered:
    if settings == FilterSettings():
        return found
    kept, left_out = [], []
    for each in found.found:
        reason = refused(each.structure, settings, orbitals)
        if reason is None:
            kept.append(each)
        else:
            left_out.append(LeftOut(each.id, reason[0], f"{each.id}: {reason[1]}"))
    return found.and_then(kept, left_out)


def _unique(found: Gathered, settings: PrepareSettings) -> Gathered:
    same = duplicates({each.id: each.structure for each in found.found}, settings.match)
    left_out = [LeftOut(id, DUPLICATE, f"{id} is a duplicate of {first}") for id, first in same.items()]
    return found.and_then((each for each in found.found if each.id not in same), left_out)


def _with_copies(found: Gathered, settings: PrepareSettings, orbitals: Orbitals) -> Gathered:
    """Return each structure and its copies, which are ID-1, ID-2, ...; those of supercells pass the filters too."""
    taken = {each.id for each in found.found}
    kept: list[Sourced] = []
    left_out = []
    for each in found.found:
        kept.append(each)
        for copy in copies(each, settings.copies, family=each.id):
            if copy.id in taken:
                raise InputError(f"the copy {copy.id} of {each.id} has the id of another structure; rename that")
            reason = refused(copy.structure, settings.filters, orbitals)
            if reason is None:
                kept.append(copy)
            else:
                left_out.append(LeftOut(copy.id, reason[0], f"{copy.id}: {reason[1]}"))
    return found.and_then(kept, left_out)


def _closest_ang(structure: Structure, below_ang: float) -> float | None:
    from vesin import NeighborList

    (distance,) = NeighborList(cutoff=below_ang, full_list=False).compute(
        points=structure.positions, box=structure.cell, periodic=True, quantities="d"
    )
    return float(distance.min()) if len(distance) else None

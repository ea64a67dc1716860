"""Crystals of known prototypes: entries of the AFLOW library, decorated with elements and scaled."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

import numpy as np

from nextham.core import Structure
from nextham.exceptions import InputError
from nextham.structures.volumes import predicted_volume

Crystal = Any  # pymatgen's Structure, which is imported where it is needed

LATTICE_CONSTANT: Final = "lattice constant"
_LETTERS: Final = "ABCDEFGHIJ"


@dataclasses.dataclass(frozen=True)
class Prototype:
    """An entry of the library. Its sites are called A, B, ... by number per cell, then by electronegativity.

    >>> str(prototype("E2_1"))
    'E2_1 AB3C_cP5_221_a_c_b: CaTiO3, A1 = Ca, B1 = Ti, C3 = O, 5 atoms'
    """

    names: tuple[str, ...]  # Strukturbericht symbol, if it has one, and AFLOW label
    crystal: Crystal

    @property
    def sites(self) -> dict[str, Any]:
        """Its own element on each site."""
        return dict(zip(_LETTERS, _ranked(self.crystal.composition.reduced_composition), strict=False))

    def formula(self, elements: Mapping[str, str]) -> str:
        """Return the formula with these elements on its sites, in the order of the sites."""
        own = self.crystal.composition.reduced_composition
        counts = {letter: round(own[element]) for letter, element in self.sites.items()}
        return "".join(f"{elements[letter]}{n if n > 1 else ''}" for letter, n in counts.items())

    def decorated(self, elements: Mapping[str, str]) -> Crystal:
        """Return the crystal with these elements on its sites, at the volume of the library."""
        found = self.crystal.copy()
        found.replace_species({own: elements[letter] for letter, own in self.sites.items()})
        return found

    def __str__(self) -> str:
        own = self.crystal.composition.reduced_composition
        sites = ", ".join(f"{letter}{round(own[e])} = {e}" for letter, e in self.sites.items())
        return f"{' '.join(self.names)}: {own.reduced_formula}, {sites}, {len(self.crystal)} atoms"


def prototype(name: str) -> Prototype:
    """Return an entry of the library by Strukturbericht symbol or AFLOW label.

    Raises:
        InputError: if there is none of this name.
    """
    known = _library()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(
            f"no prototype is called {name}{hint} (Strukturbericht symbols or AFLOW labels, e.g. B1, C33; "
            "nextham generate --list shows all)"
        )
    return known[name]


def library() -> list[Prototype]:
    """Return all entries that can be built, by their names."""
    return [known for name, known in sorted(_library().items()) if name == known.names[0]]


def crystal(name: str, formula: str, *, a_ang: float | None = None) -> Structure:
    """Return the primitive cell of a formula in a prototype.

    Elements take the sites of the prototype's elements of the same number per cell, of several with the same number in
    the order of electronegativity.

    Args:
        name: Strukturbericht symbol or AFLOW label.
        formula: of the same stoichiometry as the prototype.
        a_ang: lattice constant a of the conventional standard cell; all lengths are scaled alike. Without it the
            volume is predicted.

    Raises:
        InputError: if the prototype is not known, the formula does not fit it, or no volume can be predicted.
    """
    entry = prototype(name)
    return scaled(entry, sites_of(entry, formula, name), a_ang=a_ang, name=name)[0]


def scaled(
    entry: Prototype, elements: Mapping[str, str], *, a_ang: float | None, name: str
) -> tuple[Structure, dict[str, str]]:
    """Return the primitive cell of a decorated prototype, and what set its volume, as facts.

    Raises:
        InputError: if the lattice constant is not positive, or no volume can be predicted.
    """
    found = entry.decorated(elements)
    formula = entry.formula(elements)
    if a_ang is None:
        volume, rule = predicted_volume(found, f"{formula} in {name}")
    elif a_ang > 0:
        volume, rule = found.volume * (a_ang / _conventional_a(found)) ** 3, LATTICE_CONSTANT
    else:
        raise InputError(f"{name}: {formula}: the lattice constant must be positive, not {a_ang:g}")
    found.scale_lattice(volume)
    structure = Structure(np.array(found.atomic_numbers), found.cart_coords, found.lattice.matrix).grouped()
    return structure, {"prototype": entry.names[-1], "volume": rule}


def sites_of(entry: Prototype, formula: str, name: str) -> dict[str, str]:
    """Return which element of a formula takes which site of a prototype.

    Raises:
        InputError: if the formula is none, or of another stoichiometry.
    """
    from pymatgen.core.composition import Composition
    from pymatgen.core.periodic_table import Element

    try:
        composition = Composition(formula, strict=True).reduced_composition
    except ValueError:
        composition = Composition()
    if not composition or not all(isinstance(e, Element) for e in composition):
        raise InputError(f"{name}: {formula!r} is not a formula of elements, e.g. GaAs")
    own = entry.crystal.composition.reduced_composition
    if composition.anonymized_formula != own.anonymized_formula:
        raise InputError(
            f"{name}: {formula} is not of the stoichiometry of this prototype, {own.reduced_formula} "
            f"({own.anonymized_formula}); choose another formula or prototype"
        )
    return {letter: e.symbol for letter, e in zip(entry.sites, _ranked(composition), strict=True)}


@cache
def _library() -> dict[str, Prototype]:
    """Return the prototypes by Strukturbericht symbol and by AFLOW label."""
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY  # type: ignore[attr-defined]

    found: dict[str, Prototype] = {}
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        tags = entry["tags"]
        symbol = str(tags["strukturbericht"] or "").replace("\\", "").strip('"')
        names = [name for name in (symbol, tags["aflow"]) if name and name != "None"]
        own = [name for name in names if name not in found]
        if not own:
            continue  # another entry has its names already
        one = Prototype((*own[:1], *names[-1:]) if own[0] != names[-1] else (names[-1],), entry["snl"].structure)
        found |= dict.fromkeys(own, one)
    return found


def _ranked(composition: Any) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have no electronegativity
        return sorted(composition, key=lambda e: (composition[e], e.X, e.Z))


def _conventional_a(found: Crystal) -> float:
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(SpacegroupAnalyzer(found, symprec=0.01).get_conventional_standard_structure().lattice.a)

"""Crystals built on the spot: prototypes of the AFLOW library, decorated, scaled, strained and rattled."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection
from difflib import get_close_matches
from functools import cache
from typing import Any

import numpy as np

from nextham.core import Structure
from nextham.exceptions import InputError
from nextham.structures.settings import CrystalSettings, id_of

Crystal = Any  # pymatgen's Structure, which is imported where it is needed


def build(settings: CrystalSettings, *, only: Collection[str] | None = None) -> dict[str, Structure]:
    """Return the crystals of the settings by id.

    Args:
        settings: prototypes, formulas, perturbations.
        only: ids to build; all without it.

    Raises:
        InputError: if a prototype or an id is not known, or a formula does not fit its prototype.
    """
    if not settings.prototypes:
        raise InputError("prototypes is empty; name crystals, e.g. {B3: {GaAs: 5.653}}")
    wanted = set(settings.ids() if only is None else only)
    if unknown := sorted(wanted - set(settings.ids())):
        raise InputError(f"no crystal of the settings is called {unknown[0]}; they are {', '.join(settings.ids())}")
    found: dict[str, Structure] = {}
    for name, formulas in settings.prototypes.items():
        for formula, a in formulas.items():
            ids = {id_of(formula, name, n): n for n in settings.copies}
            if wanted.isdisjoint(ids):
                continue
            ideal = crystal(name, formula, a_ang=a)
            for id, copy in ids.items():
                if id in wanted:
                    found[id] = perturbed(ideal, settings, id=id) if copy else ideal
    return found


def crystal(prototype: str, formula: str, *, a_ang: float | None = None) -> Structure:
    """Return the primitive cell of a formula in a prototype.

    Elements take the sites of the prototype's elements of the same number per cell, of several with the same number in
    the order of electronegativity.

    Args:
        prototype: Strukturbericht symbol or AFLOW label.
        formula: of the same stoichiometry as the prototype.
        a_ang: lattice constant a of the conventional standard cell; all lengths are scaled alike. Without it the
            volume is predicted from tabulated bond lengths (DLS, Chu and others 2018), which may be off by a third.

    Raises:
        InputError: if the prototype is not known, the formula does not fit it, or no volume can be predicted.
    """
    found = _decorated(_library_entry(prototype), formula, prototype)
    if a_ang is None:
        volume = _predicted_volume(found, f"{formula} in {prototype}")
    elif a_ang > 0:
        volume = found.volume * (a_ang / _conventional_a(found)) ** 3
    else:
        raise InputError(f"{prototype}: {formula}: the lattice constant must be positive, not {a_ang:g}")
    found = found.copy()
    found.scale_lattice(volume)
    return Structure(np.array(found.atomic_numbers), found.cart_coords, found.lattice.matrix).grouped()


def perturbed(structure: Structure, settings: CrystalSettings, *, id: str) -> Structure:
    """Return a strained and rattled copy; the same for the same id, seed and amplitudes."""
    digest = hashlib.sha256(f"{settings.seed} {id}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
    strain = rng.normal(scale=settings.strain, size=(3, 3))
    deformation = np.eye(3) + (strain + strain.T) / 2
    shifts = rng.normal(scale=settings.rattle_ang, size=structure.positions.shape)
    shifts -= shifts.mean(axis=0)  # the whole crystal stays where it is
    return Structure(structure.numbers, structure.positions @ deformation + shifts, structure.cell @ deformation)


@cache
def _library() -> dict[str, Crystal]:
    """Return the prototypes by Strukturbericht symbol and by AFLOW label."""
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY  # type: ignore[attr-defined]

    found: dict[str, Crystal] = {}
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        tags = entry["tags"]
        symbol = str(tags["strukturbericht"] or "").replace("\\", "").strip('"')
        for name in (tags["aflow"], symbol):
            if name and name != "None":
                found.setdefault(name, entry["snl"].structure)
    return found


def _library_entry(name: str) -> Crystal:
    known = _library()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"no prototype is called {name}{hint} (Strukturbericht symbols or AFLOW labels, e.g. B1, C33)")
    return known[name]


def _decorated(prototype: Crystal, formula: str, name: str) -> Crystal:
    from pymatgen.core.composition import Composition
    from pymatgen.core.periodic_table import Element

    try:
        composition = Composition(formula, strict=True).reduced_composition
    except ValueError:
        composition = Composition()
    if not composition or not all(isinstance(e, Element) for e in composition):
        raise InputError(f"{name}: {formula!r} is not a formula of elements, e.g. GaAs")
    own = prototype.composition.reduced_composition
    if composition.anonymized_formula != own.anonymized_formula:
        raise InputError(
            f"{name}: {formula} is not of the stoichiometry of this prototype, {own.reduced_formula} "
            f"({own.anonymized_formula}); choose another formula or prototype"
        )
    found = prototype.copy()
    found.replace_species(dict(zip(_ranked(own), _ranked(composition), strict=True)))
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


def _predicted_volume(found: Crystal, what: str) -> float:
    from pymatgen.analysis.structure_prediction.volume_predictor import DLSVolumePredictor

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predictor: Any = DLSVolumePredictor
            return float(predictor().predict(found))
    except Exception as error:  # pymatgen raises whatever its tables lack
        raise InputError(f"{what}: no volume can be predicted ({error}); give the lattice constant") from None

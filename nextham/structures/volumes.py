"""Volumes of crystals that nobody has measured, from tabulated bond lengths."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.exceptions import InputError

Crystal = Any  # pymatgen's Structure, which is imported where it is needed
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]  # i, j, distance (Å)

BOND_VALENCE: Final = "bond valence"
BOND_LENGTHS: Final = "shortest bond"
_SOFTNESS_ANG: Final = 0.37  # of bonds of all kinds: Brown and Altermatt, Acta Cryst. B41 (1985) 244
_LARGEST_FORMULA: Final = 24  # atoms; the assignments of larger ones are too many
_REACH: Final = 3.2  # in units of the edge of an atom's share of the volume: three shells and more


def predicted_volume(crystal: Crystal, what: str) -> tuple[float, str]:
    """Return the volume (Å³) that a cell should have, its shape and fractional coordinates kept, and by which rule.

    A compound that common oxidation states make neutral is scaled until the bond valences of all bonds between ions
    of opposite charge, sum of exp((R0 - d) / 0.37 Å), add up to the charges (R0: O'Keeffe and Brese, J. Am. Chem. Soc.
    113 (1991) 3226). Elements and alloys are scaled until the shortest bond has its tabulated length (DLS: Chu and
    others, Comput. Mater. Sci. 146 (2018) 184).

    Args:
        crystal: the cell at any volume.
        what: its name in errors.

    Raises:
        InputError: if the tables lack an element.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            charges = _charges(crystal.composition)
            if charges:
                return _by_bond_valence(crystal, charges), BOND_VALENCE
            return _by_shortest_bond(crystal), BOND_LENGTHS
        except Exception as error:  # pymatgen raises whatever its tables lack
            raise InputError(f"{what}: no volume can be predicted ({error}); give the lattice constant") from None


def neutral_charges(composition: Any, states: Mapping[str, Sequence[int]] | None = None) -> dict[Any, float]:
    """Return the mean charge of each element in the likeliest neutral assignment of oxidation states, none of them 0.

    Args:
        composition: pymatgen's.
        states: that each element may have; by default all that pymatgen has seen in crystals.

    Returns:
        Nothing if there is no such assignment, or the reduced formula has so many atoms that looking would take long.
    """
    formula = composition.reduced_composition
    if len(formula) < 2 or formula.num_atoms > _LARGEST_FORMULA or not all(e.oxidation_states for e in formula):
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        guesses = formula.oxi_state_guesses(oxi_states_override=states)
    if not guesses or not all(guesses[0].values()):
        return {}
    return {e: guesses[0][e.symbol] for e in formula}


def _charges(composition: Any) -> dict[Any, float]:
    from pymatgen.analysis.bond_valence import BV_PARAMS

    return neutral_charges(composition) if all(e in BV_PARAMS for e in composition) else {}


def _by_bond_valence(crystal: Crystal, charges: dict[Any, float]) -> float:
    from scipy.optimize import brentq

    elements = [site.specie for site in crystal]
    charge = np.array([charges[e] for e in elements])
    i, j, distance = _pairs(crystal)
    bonds = charge[i] * charge[j] < 0
    i, j, distance = i[bonds], j[bonds], distance[bonds]
    table = {(a, b): _bond_parameter_ang(a, b) for a in charges for b in charges}
    r0 = np.array([table[elements[a], elements[b]] for a, b in zip(i, j, strict=True)])

    def excess(scale: float) -> float:
        exponent = (r0 - scale * distance) / _SOFTNESS_ANG
        largest = exponent.max()
        return float(largest + np.log(np.exp(exponent - largest).sum() / np.abs(charge).sum()))

    return float(crystal.volume * brentq(excess, 0.05, 20.0) ** 3)


def _bond_parameter_ang(a: Any, b: Any) -> float:
    from pymatgen.analysis.bond_valence import BV_PARAMS

    r_a, r_b, c_a, c_b = (BV_PARAMS[e][key] for key in ("r", "c") for e in (a, b))
    return float(r_a + r_b - r_a * r_b * (np.sqrt(c_a) - np.sqrt(c_b)) ** 2 / (c_a * r_a + c_b * r_b))


def _by_shortest_bond(crystal: Crystal) -> float:
    """Return the volume of DLS: bond lengths are sums of radii that depend on the spread of electronegativities.

    pymatgen's own predictor goes at most from half to 1.5 times the volume that it is given, and leaves out atoms
    without a radius.
    """
    from pymatgen.analysis.structure_prediction.volume_predictor import bond_params

    elements = [site.specie for site in crystal]
    if unknown := [e.symbol for e in crystal.composition if not e.atomic_radius]:
        raise ValueError(f"no bond lengths of {unknown[0]}")
    spread = np.std([e.X for e in elements])
    known = np.array([e.symbol in bond_params for e in elements])
    mined = [bond_params.get(e.symbol, {"r": np.nan, "k": np.nan}) for e in elements]
    radius = np.array([float(each["r"]) + float(each["k"]) * spread for each in mined])
    atomic = np.array([float(e.atomic_radius) for e in elements])
    i, j, distance = _pairs(crystal)
    length = np.where(known[i] & known[j], radius[i] + radius[j], atomic[i] + atomic[j])
    return float(crystal.volume * (length / distance).max() ** 3)


def _pairs(crystal: Crystal) -> Pairs:
    i, j, _, distance = crystal.get_neighbor_list(_REACH * (crystal.volume / len(crystal)) ** (1 / 3))
    return i, j, distance

"""What a prediction must be before any average is taken: whole, of the same structures, basis and units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from nextham.core import BlockMatrix, LCAOSystem
from nextham.exceptions import InputError
from nextham.physics.align import aligned
from nextham.units import HARTREE_EV, RYDBERG_EV
from nextham_bench.schema import Coverage

_NAMED = 10
_POSITION_TOLERANCE_ANG = 1e-4
_LIKENESS = 0.98  # least cosine between a prediction and the reference before a factor means a unit
_FACTOR_TOLERANCE = 0.02
_UNITS = {
    1 / RYDBERG_EV: "in Rydberg (1/13.6 of the reference)",
    1 / HARTREE_EV: "in Hartree (1/27.2 of the reference)",
    RYDBERG_EV: "13.6 times the reference, converted from Rydberg twice",
    HARTREE_EV: "27.2 times the reference, converted from Hartree twice",
}


def covered(
    wanted: Sequence[str], reference: Sequence[str], predicted: Sequence[str], *, allow_partial: bool = False
) -> Coverage:
    """Compare the ids of a prediction with those to be scored.

    Args:
        wanted: ids to be scored.
        reference: all ids of the reference; a prediction may hold more of these than are wanted.
        predicted: ids of the prediction.
        allow_partial: accept missing, extra and duplicate structures.

    Raises:
        InputError: with the list, unless ``allow_partial``; always if nothing is left to score.
    """
    own, known = set(predicted), set(reference)
    missing = tuple(sorted(set(wanted) - own))
    extra = tuple(sorted(own - known))
    duplicate = tuple(sorted(id for id, n in Counter(predicted).items() if n > 1))
    found = Coverage(
        n_wanted=len(set(wanted)),
        n_scored=len(set(wanted) & own),
        missing=missing,
        extra=extra,
        duplicate=duplicate,
    )
    if found.n_scored == 0:
        raise InputError(f"the prediction has none of the {len(set(wanted))} structures to be scored{_listed(missing)}")
    if not found.complete and not allow_partial:
        kinds = {"missing": missing, "extra": extra, "duplicate": duplicate}
        parts = [f"{len(ids)} {kind}{_listed(ids)}" for kind, ids in kinds.items() if ids]
        raise InputError(
            f"the prediction does not cover the {found.n_wanted} structures to be scored: {'; '.join(parts)}; "
            "complete it, or score what there is with --allow-partial (not ranked)"
        )
    return found


def _listed(ids: Sequence[str]) -> str:
    if not ids:
        return ""
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f" ({', '.join(ids[:_NAMED])}{more})"


def check_reference(reference: LCAOSystem) -> None:
    """Refuse a reference record that cannot be scored against."""
    if absent := {"overlap", "h0", "hamiltonian"} - set(reference.operators):
        raise InputError(
            f"the reference record {reference.ids[0]} has no {' and no '.join(sorted(absent))}; "
            "a score needs overlap, h0 and hamiltonian"
        )


def matched(reference: LCAOSystem, prediction: LCAOSystem, operator: BlockMatrix) -> BlockMatrix:
    """Return a predicted operator on the reference's pairs once it is seen to belong there.

    Pairs that the prediction does not list are zero, which is allowed only where the reference is zero; pairs
    that the reference does not list must be zero.

    Args:
        reference: one structure with its operators.
        prediction: the prediction's record of it, for its atoms, basis and H0 definition.
        operator: the predicted operator (Hamiltonian or correction), on the prediction's own pairs.

    Raises:
        InputError: if structure, basis, H0 definition or pairs differ, or a number is not finite.
    """
    check_same_crystal(reference, prediction)
    id = reference.ids[0]
    if not np.isfinite(operator.values).all():
        bad = int((~np.isfinite(operator.values)).any(axis=0).sum())
        raise InputError(f"the prediction of {id} has {bad} values that are not finite numbers (NaN or infinite)")
    outside = reference.pairs.index_of(operator.pairs) < 0
    if (outside & operator.support).any():
        raise InputError(
            f"the prediction of {id} has blocks at {_pair(operator, outside & operator.support)} that the reference "
            "does not have; predict on the reference's own pair list"
        )
    absent = operator.pairs.index_of(reference.pairs) < 0
    needed = reference.operator("hamiltonian" if "hamiltonian" in reference.operators else "h0")
    lacking = absent & needed.support
    if lacking.any():
        raise InputError(
            f"the prediction of {id} lacks {int(lacking.sum())} of {reference.pairs.n_pairs} pairs, such as "
            f"{_pair(needed, lacking)}; predict every pair of the reference, zeros included"
        )
    return operator.on(reference.pairs)


def check_same_crystal(reference: LCAOSystem, prediction: LCAOSystem) -> None:
    """Refuse a prediction of other atoms, another geometry, basis or H0 definition; operators do not matter.

    Raises:
        InputError: if any of these differs.
    """
    id = reference.ids[0]
    if not np.array_equal(reference.numbers, prediction.numbers):
        mine, theirs = (" ".join(system.structure().symbols) for system in (reference, prediction))
        raise InputError(
            f"the prediction of {id} has other atoms or another order of atoms ({theirs} instead of {mine})"
        )
    basis, other = (system.basis.restricted(system.numbers) for system in (reference, prediction))
    if basis != other:
        raise InputError(f"the prediction of {id} is in the orbital basis {other}, the reference in {basis}")
    moved = np.abs(reference.positions - prediction.positions).max()
    strained = np.abs(reference.cells - prediction.cells).max()
    if max(moved, strained) > _POSITION_TOLERANCE_ANG:
        raise InputError(
            f"the prediction of {id} is of another structure: positions differ by up to {moved:.2g} Å and lattice "
            f"vectors by up to {strained:.2g} Å"
        )
    h0, found = reference.meta[0].h0_definition, prediction.meta[0].h0_definition
    if h0 and found and h0 != found:
        raise InputError(f"the prediction of {id} is built on the H0 definition {found!r}, the reference has {h0!r}")


def _pair(matrix: BlockMatrix, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str:
    first = int(np.flatnonzero(mask)[0])
    i, j = matrix.pairs.ij[first].tolist()
    return f"(i, j, R) = ({i}, {j}, {matrix.pairs.R[first].tolist()})"


def unit_factor(reference: LCAOSystem, prediction: BlockMatrix) -> float | None:
    """Return the factor by which a prediction looks like the reference in another unit, or None.

    Both the Hamiltonian and the correction are tried, so that a wrong correction on a right H0 is seen too. A
    factor counts only where prediction and reference are otherwise nearly parallel.
    """
    overlap, h0, h = (reference.operator(name) for name in ("overlap", "h0", "hamiltonian"))
    for predicted, true in ((prediction, h), (prediction - h0, h - h0)):
        p, t = (aligned(matrix, overlap)[0].values for matrix in _same_layout(predicted, true))
        norm_p, norm_t = float(np.linalg.norm(p)), float(np.linalg.norm(t))
        if norm_p == 0 or norm_t == 0:
            continue
        product = float(np.vdot(t, p).real)
        if product < _LIKENESS * norm_p * norm_t:
            continue
        scale = product / norm_t**2
        for factor in _UNITS:
            if abs(scale / factor - 1) < _FACTOR_TOLERANCE:
                return factor
    return None


def check_units(factors: Sequence[float | None]) -> None:
    """Refuse predictions of which most look like the reference in one other unit.

    Args:
        factors: :func:`unit_factor` of each structure.

    Raises:
        InputError: naming the unit.
    """
    (factor, n), *_ = Counter(factors).most_common(1)
    if factor is not None and 2 * n > len(factors):
        raise InputError(
            f"the prediction is {_UNITS[factor]} in {n} of {len(factors)} structures; predictions are stored in eV"
        )


def _same_layout(a: BlockMatrix, b: BlockMatrix) -> tuple[BlockMatrix, BlockMatrix]:
    zero = 0.0 * (a - b)
    return a + zero, b + zero

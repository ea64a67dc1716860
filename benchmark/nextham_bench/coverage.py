"""What a prediction must be before any average is taken: whole, of the same structures, basis and units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from nextham.core import BlockMatrix, LCAOSystem
from nextham.exceptions import InputError
from nextham_bench.recognise import ADVICE, convention_of, factor_of
from nextham_bench.schema import Coverage

_NAMED = 10
_POSITION_TOLERANCE_ANG = 1e-4
_ECHO_TOLERANCE = {"overlap": 1e-6, "h0": 1e-5}  # eV for h0: rounding of float32


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
    for name, values in reference.operators.items():
        if not values.any():
            raise InputError(
                f"the {name} of the reference record {reference.ids[0]} is zero everywhere; nothing can be scored "
                "against it"
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
    if operator.pairs == reference.pairs:
        return operator
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


def check_echo(reference: LCAOSystem, echo: LCAOSystem) -> None:
    """Refuse a prediction whose own overlap or H0 is not the reference's, and say why that may be.

    Args:
        reference: one structure with its operators.
        echo: the prediction's record of it, with the overlap and H0 that it carries.

    Raises:
        InputError: naming the convention or unit that explains the difference, if one does.
    """
    for name in ("overlap", "h0"):
        if name not in echo.operators:
            continue
        true, found = reference.operator(name), echo.operator(name).on(reference.pairs)
        off = np.abs((found - true).values)
        if off.max(initial=0.0) <= _ECHO_TOLERANCE[name]:
            continue
        pair = true.pair_of_value[int(off.max(axis=0).argmax())]
        why = convention_of(true, found) or factor_of(true, found)
        raise InputError(
            f"the prediction of {reference.ids[0]} carries another {name} than the reference: it differs by up to "
            f"{off.max():.2g}{' eV' if name == 'h0' else ''} at {_pair_at(true, int(pair))}; "
            + (f"it is {why}, and {ADVICE}" if why else f"predict with the reference's own {name}, or leave it out")
        )


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
    return _pair_at(matrix, int(np.flatnonzero(mask)[0]))


def _pair_at(matrix: BlockMatrix, pair: int) -> str:
    i, j = matrix.pairs.ij[pair].tolist()
    return f"(i, j, R) = ({i}, {j}, {matrix.pairs.R[pair].tolist()})"

"""Checks of a record before it enters a store; each has a name, by which the ledger counts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import OPERATORS, BlockMatrix, LCAOSystem, SpinLayout
from nextham.data._spectra import spectral_facts
from nextham.data.certificate import Certificate
from nextham.data.settings import CheckSettings
from nextham.exceptions import CheckError
from nextham.physics.align import aligned
from nextham.physics.bands import Levels
from nextham.physics.errors import moduli
from nextham.physics.spin import narrowed
from nextham.physics.symmetry import onsite_antihermitian

CHECKS: Final = {
    "converged": "the engine says that its self-consistency converged",
    "complete": "every required operator is there",
    "not-empty": "no operator is zero everywhere",
    "finite": "every number is finite",
    "orthonormal": "the on-site overlap of each orbital with itself is 1",
    "hermitian": "on-site blocks are Hermitian (the others are by construction)",
    "support": "every pair with S has H and H0",
    "labels": "positions are folded, and R counts cells from them: no overlap is missing closer than one that is there",
    "time-reversal": "H and H0 of a nonmagnetic structure are even under time reversal",
    "overlap-positive": "S(k) is positive definite on a mesh",
    "electron-count": "the levels below E_F hold the engine's number of electrons",
    "bands": "H(R) and S(R) give the levels that the engine printed",
}


def certify(
    system: LCAOSystem,
    *,
    settings: CheckSettings = CheckSettings(),  # noqa: B008  (frozen)
    levels: Levels | None = None,
    required: Collection[str] = tuple(OPERATORS),
) -> Certificate:
    """Check one structure's operators and return what was measured.

    Args:
        system: one structure, house conventions.
        settings: tolerances.
        levels: energies that the engine printed, for the check of bands.
        required: operators that must be there; checks of the others are skipped.

    Raises:
        CheckError: at the first check that fails, with its name.
    """
    if len(system) != 1:
        raise ValueError("a certificate is of one structure; index the system first")
    facts: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    _present(system, required, skipped)
    facts |= _overlap_facts(system, settings, skipped)
    facts |= _symmetry_facts(system, settings, skipped)
    symmetric = facts.get("time_reversal_ev", 0.0) <= settings.time_reversal_tolerance_ev
    facts |= spectral_facts(system, settings, levels=levels, time_reversal=symmetric, skipped=skipped)
    facts |= _correction_facts(system)
    passed = tuple(name for name in CHECKS if name not in skipped)
    return Certificate(passed=passed, skipped=skipped, **facts)


def _present(system: LCAOSystem, required: Collection[str], skipped: dict[str, str]) -> None:
    meta = system.meta[0]
    if meta.converged is False:
        steps = f" in {meta.scf_steps} steps" if meta.scf_steps else ""
        raise CheckError("converged", f"{meta.id}: the SCF did not converge{steps}; run it longer or with other mixing")
    if meta.converged is None:
        skipped["converged"] = "the engine does not say"
    for name in required:
        if name not in system.operators:
            raise CheckError("complete", f"{meta.id} lacks the {name}; the run did not write it or its file is lost")
    for name in system.operators:
        matrix = system.operator(name)
        bad = ~np.isfinite(matrix.values).all(axis=0)
        if bad.any():
            raise CheckError(
                "finite",
                f"{meta.id}: the {name} of pair {_pair(system, int(matrix.pair_of_value[np.argmax(bad)]))} "
                "is not a finite number; the engine's file is damaged, run it again",
            )
        if not matrix.values.any():
            raise CheckError("not-empty", f"{meta.id}: the {name} is empty or zero everywhere; run the engine again")


def _overlap_facts(system: LCAOSystem, settings: CheckSettings, skipped: dict[str, str]) -> dict[str, Any]:
    if "overlap" not in system.operators:
        skipped |= dict.fromkeys(("orthonormal", "support", "labels", "overlap-positive"), "there is no overlap")
        return {}
    overlap = system.operator("overlap")
    facts = {"norm_error": _norm_error(system, overlap, settings)}
    others = [name for name in ("hamiltonian", "h0") if name in system.operators]
    for name in others:
        lacking = overlap.support & ~system.operator(name).support
        if lacking.any():
            raise CheckError(
                "support",
                f"{system.ids[0]}: pair {_pair(system, int(np.argmax(lacking)))} has an overlap but no {name}; "
                f"the {name}'s file is cut short or of another run",
            )
    if not others:
        skipped["support"] = "there is no H or H0"
    beyond = np.any([system.operator(name).support for name in others], axis=0) & ~overlap.support if others else []
    _check_labels(system, overlap, settings)
    return facts | {"n_honly_pairs": int(np.sum(beyond)) if others else None}


def _norm_error(system: LCAOSystem, overlap: BlockMatrix, settings: CheckSettings) -> float:
    worst, where = 0.0, -1
    for pair in np.flatnonzero(system.pairs.onsite):
        error = float(np.abs(np.diagonal(overlap.block(int(pair))[0]) - 1).max())
        if error >= worst:
            worst, where = error, int(pair)
    if np.sum(system.pairs.onsite) < len(system.numbers):
        missing = set(range(len(system.numbers))) - set(system.pairs.ij[system.pairs.onsite, 0].tolist())
        raise CheckError(
            "orthonormal", f"{system.ids[0]}: atom {min(missing)} has no on-site block; run the engine again"
        )
    if worst > settings.norm_tolerance:
        raise CheckError(
            "orthonormal",
            f"{system.ids[0]}: an on-site overlap of pair {_pair(system, where)} differs from 1 by {worst:.2e} "
            f"(tolerance {settings.norm_tolerance:g}); orbital order or basis are not those of the file",
        )
    return worst


def _check_labels(system: LCAOSystem, overlap: BlockMatrix, settings: CheckSettings) -> None:
    """Positions are folded, and pairs of two elements have overlap up to a distance without a hole.

    |S_ij| (Frobenius) depends on the distance and the two elements alone, so a pair without overlap
    that is nearer than one with a sizeable overlap shows that R does not belong to these positions.
    """
    name = system.ids[0]
    fractional = system.structure().fractional
    outside = ((fractional < -1e-8) | (fractional >= 1 + 1e-8)).any(axis=1)
    if outside.any():
        atom = int(np.argmax(outside))
        raise CheckError(
            "labels",
            f"{name}: atom {atom} is outside the home cell at {np.round(fractional[atom], 6).tolist()}; "
            "fold the positions before the run, R counts from folded ones",
        )
    norm = np.zeros(system.pairs.n_pairs)
    np.add.at(norm, overlap.pair_of_value, np.abs(overlap.values[0]) ** 2)
    norm = np.sqrt(norm)
    ij, R, distance = geometric_pairs(system, float(system.distances[norm > settings.label_overlap].max(initial=0.0)))
    listed = {
        (*pair, *cell): value
        for pair, cell, value in zip(system.pairs.ij.tolist(), system.pairs.R.tolist(), norm, strict=True)
    }
    held = np.array([listed.get((*pair, *cell), 0.0) for pair, cell in zip(ij.tolist(), R.tolist(), strict=True)])
    elements = np.sort(system.numbers[ij], axis=1)
    for kind in np.unique(elements, axis=0):
        own = (elements == kind).all(axis=1)
        near_hole = np.where(own & (held == 0), distance, np.inf)
        far = np.where(own & (held > settings.label_overlap), distance, -np.inf)
        if near_hole.min(initial=np.inf) < far.max(initial=-np.inf) - 1e-3:
            a, b = int(np.argmin(near_hole)), int(np.argmax(far))
            raise CheckError(
                "labels",
                f"{name}: pair {_label(ij[a], R[a])} is {distance[a]:.3f} Å apart without overlap, but pair "
                f"{_label(ij[b], R[b])} has {held[b]:.1e} at {distance[b]:.3f} Å; "
                "the positions are not those (folded) that R counts from",
            )


def geometric_pairs(
    system: LCAOSystem, cutoff_ang: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return all pairs of one structure at most so far apart, by plain enumeration: ij, R, distance (Å)."""
    cell, positions = system.cells[0], system.positions
    height = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    reach = np.ceil(cutoff_ang / height + 1).astype(int)
    axes = [np.arange(-n, n + 1) for n in reach]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    shifts = cells @ cell
    found = []
    for i in range(len(positions)):
        vectors = positions[None, i:] + shifts[:, None] - positions[i]
        distance = np.linalg.norm(vectors, axis=-1)
        c, j = np.nonzero(distance <= cutoff_ang)
        keep = (j > 0) | ((cells[c] @ [10**8, 10**4, 1]) >= 0)
        c, j = c[keep], j[keep]
        found.append((np.stack([np.full_like(j, i), j + i], axis=1), cells[c], distance[c, j]))
    ij, R, d = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return ij, R, d


def _symmetry_facts(system: LCAOSystem, settings: CheckSettings, skipped: dict[str, str]) -> dict[str, Any]:
    name, meta = system.ids[0], system.meta[0]
    facts: dict[str, Any] = {}
    energies = [operator for operator in ("hamiltonian", "h0") if operator in system.operators]
    if not energies:
        skipped |= dict.fromkeys(("hermitian", "time-reversal"), "there is no H or H0")
    for operator in energies:
        matrix = system.operator(operator)
        odd = onsite_antihermitian(matrix)
        if odd > settings.hermitian_tolerance_ev:
            raise CheckError(
                "hermitian",
                f"{name}: an on-site block of the {operator} differs from its conjugate by {odd:.2e} eV "
                f"(tolerance {settings.hermitian_tolerance_ev:g}); the engine's file is damaged or misread",
            )
        facts["hermitian_ev"] = max(odd, facts.get("hermitian_ev", 0.0))
        _, odd = narrowed(matrix.values, SpinLayout.TIME_REVERSAL)
        facts["time_reversal_ev" if operator == "hamiltonian" else "time_reversal_h0_ev"] = odd
        if meta.magnetism == "nonmagnetic" and odd > settings.time_reversal_tolerance_ev:
            raise CheckError(
                "time-reversal",
                f"{name}: the {operator} breaks time reversal by {odd:.2e} eV (tolerance "
                f"{settings.time_reversal_tolerance_ev:g}) though its magnetism is 'nonmagnetic'; "
                "start it without moments, or say magnetism 'autoset' or 'moments'",
            )
    if energies and meta.magnetism != "nonmagnetic":
        skipped["time-reversal"] = f"the magnetism is {meta.magnetism or 'unknown'!r}"
    return facts


def _correction_facts(system: LCAOSystem) -> dict[str, Any]:
    if "hamiltonian" not in system.operators:
        return {}
    found: dict[str, Any] = {"max_hamiltonian_ev": float(np.abs(system.operators["hamiltonian"]).max())}
    if {"h0", "overlap"} <= set(system.operators):
        error, found["shift_ev"] = aligned(system.correction, system.operator("overlap"))
        weight = error.pairs.multiplicity[error.pair_of_value]
        found["mean_correction_mev"] = float((moduli(error)[2] * weight).sum() / (4 * weight.sum()) * 1e3)
    return found


def _pair(system: LCAOSystem, pair: int) -> str:
    return _label(system.pairs.ij[pair], system.pairs.R[pair])


def _label(ij: NDArray[np.int64], R: NDArray[np.int64]) -> str:
    return f"({ij[0]}, {ij[1]}, {tuple(R.tolist())})"

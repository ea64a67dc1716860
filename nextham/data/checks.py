"""Checks of a record before it enters a store; each has a name, by which the ledger counts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np

from nextham.core import OPERATORS, BlockMatrix, LCAOSystem, SpinLayout
from nextham.data._labels import check_labels, pair_name
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
    "labels": "positions are folded and those of S: its blocks are as large as the distances say, and none is missing",
    "h0-differs": "H0 and H are not the same numbers",
    "time-reversal": "H and H0, each of a nonmagnetic run, are even under time reversal",
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
    _check_h0_differs(system, skipped)
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
                f"{meta.id}: the {name} of pair {pair_name(system, int(matrix.pair_of_value[np.argmax(bad)]))} "
                "is not a finite number; the engine's file is damaged, run it again",
            )
        if not matrix.values.any():
            raise CheckError("not-empty", f"{meta.id}: the {name} is empty or zero everywhere; run the engine again")


def _check_h0_differs(system: LCAOSystem, skipped: dict[str, str]) -> None:
    if not {"h0", "hamiltonian"} <= set(system.operators):
        skipped["h0-differs"] = "there are not both H and H0"
    elif np.array_equal(system.operators["h0"], system.operators["hamiltonian"]):
        raise CheckError(
            "h0-differs",
            f"{system.ids[0]}: H0 and H are equal in every number, which no self-consistency gives; "
            "one file is a copy of the other: put each run's own matrix in its place",
        )


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
                f"{system.ids[0]}: pair {pair_name(system, int(np.argmax(lacking)))} has an overlap but no {name}; "
                f"the {name}'s file is cut short or of another run",
            )
    if not others:
        skipped["support"] = "there is no H or H0"
    beyond = np.any([system.operator(name).support for name in others], axis=0) & ~overlap.support if others else []
    check_labels(system, overlap, settings)
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
            f"{system.ids[0]}: an on-site overlap of pair {pair_name(system, where)} differs from 1 by {worst:.2e} "
            f"(tolerance {settings.norm_tolerance:g}); orbital order or basis are not those of the file",
        )
    return worst


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
        magnetism = (operator == "h0" and meta.h0_magnetism) or meta.magnetism
        if magnetism != "nonmagnetic":
            skipped["time-reversal"] = f"the magnetism of the {operator} is {magnetism or 'unknown'!r}"
        elif odd > settings.time_reversal_tolerance_ev:
            raise CheckError(
                "time-reversal",
                f"{name}: the {operator} breaks time reversal by {odd:.2e} eV (tolerance "
                f"{settings.time_reversal_tolerance_ev:g}) though its run is nonmagnetic; its file is damaged or of "
                "another run: run it again, or raise checks.time_reversal_tolerance_ev in --settings",
            )
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

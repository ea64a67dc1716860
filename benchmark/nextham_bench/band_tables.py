"""Tables of levels and spectra: rows of single structures, and their means."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham_bench.metrics.bands import BandErrors, ReferenceFacts
from nextham_bench.metrics.optics import POSITION_MATRIX
from nextham_bench.metrics.subspaces import SubspaceErrors
from nextham_bench.pyatb_process import program
from nextham_bench.schema import (
    BandColumn,
    BandRow,
    Bands,
    Interval,
    Optics,
    ReferenceRow,
    StructureRow,
    Subspace,
)
from nextham_bench.statistics import interval_of_mean, interval_of_skill
from nextham_bench.tasks import tasks

_MEV = 1000.0
# What each number of a band column is the mean of, over the structures that have it.
_MEANS: Final[dict[str, Callable[[BandRow], float | None]]] = {
    "mean": lambda row: row.mean_mev,
    "rms": lambda row: row.rms_mev,
    "occupied": lambda row: row.occupied_mev,
    "path": lambda row: row.path_mev,
    "gap": lambda row: row.gap_mev,
    "vbm": lambda row: row.vbm_mev,
    "cbm": lambda row: row.cbm_mev,
    "fermi": lambda row: row.fermi_mev,
    "soc_splitting": lambda row: row.soc_splitting_mev,
    "soc_levels": lambda row: row.soc_levels_mev,
    "dos": lambda row: row.dos_mev,
    "p": lambda row: row.subspace.p_mev,
    "pq": lambda row: row.subspace.pq_mev,
    "q": lambda row: row.subspace.q_mev,
}


def bands_of(rows: Sequence[StructureRow]) -> Bands | None:
    """Average the band errors of structures; None where none was measured."""
    held = [row.bands for row in rows if row.bands is not None]
    facts = [row.reference for row in rows if row.reference is not None]
    if not held:
        return None
    task = tasks().bands
    columns = {name: [bands[name] for bands in held] for name in ("h0", "model")}
    model = columns["model"]
    conditions = [fact.overlap_condition for fact in facts]
    worst = None if None in conditions else max(c for c in conditions if c is not None)
    intervals: dict[str, Interval | None] = {name: interval_of_mean(_values(model, of)) for name, of in _MEANS.items()}
    intervals |= {f"below_{limit:g}": interval_of_mean(_below(model, limit)) for limit in task.shares_mev}
    intervals["ghosts_per_k"] = interval_of_mean([row.ghosts_per_k for row in model])
    intervals["ghost_share"] = interval_of_mean([float(row.ghost_k_share > 0) for row in model])
    intervals["skill"] = interval_of_skill(*([row.mean_mev for row in columns[name]] for name in ("model", "h0")))
    return Bands(
        n_structures=len(held),
        n_path=sum(fact.n_path_k > 0 for fact in facts),
        n_gapped=sum(fact.gap_ev > 0 for fact in facts),
        mesh=task.mesh,
        path=_path(),
        window_ev=task.window_ev,
        overlap_filter=task.overlap_filter,
        max_overlap_condition=worst,
        h0=_column(columns["h0"]),
        model=_column(model),
        intervals=intervals,
    )


def _path() -> str:
    from importlib.metadata import version

    return (
        f"seekpath {version('seekpath')}, get_explicit_k_path_orig_cell of the given cell with time reversal, "
        f"reference_distance {tasks().bands.path_spacing_inv_ang:g} 1/Å"
    )


def _values(rows: Sequence[BandRow], of: Callable[[BandRow], float | None]) -> NDArray[np.float64]:
    return np.array([abs(value) for value in map(of, rows) if value is not None])


def _below(rows: Sequence[BandRow], limit_mev: float) -> list[float]:
    return [float(row.mean_mev < limit_mev) for row in rows]


def _column(rows: Sequence[BandRow]) -> BandColumn:
    found = {name: _values(rows, of) for name, of in _MEANS.items()}
    means = {name: float(values.mean()) if values.size else None for name, values in found.items()}
    subspace = Subspace(**{f"{name}_mev": means.pop(name) for name in ("p", "pq", "q")})
    return BandColumn(
        **{f"{name}_mev": value for name, value in means.items()},  # type: ignore[arg-type]  # those that are never None are not
        max_mev=max(row.max_mev for row in rows),
        subspace=subspace,
        shares_below={f"{limit:g}": float(np.mean(_below(rows, limit))) for limit in tasks().bands.shares_mev},
        ghosts_per_k=float(np.mean([row.ghosts_per_k for row in rows])),
        ghost_share=float(np.mean([row.ghost_k_share > 0 for row in rows])),
    )


def band_row(errors: BandErrors, subspaces: SubspaceErrors) -> BandRow:
    """Return the errors of one prediction's levels of one structure."""
    energies = [field.name for field in dataclasses.fields(errors) if not field.name.startswith("ghost")]
    return BandRow(
        **{f"{name}_mev": _mev(getattr(errors, name)) for name in energies},  # type: ignore[arg-type]  # as above
        subspace=Subspace(p_mev=_mev(subspaces.p), pq_mev=_mev(subspaces.pq), q_mev=_mev(subspaces.q)),
        ghosts_per_k=errors.ghosts_per_k,
        ghost_k_share=errors.ghost_k_share,
    )


def reference_row(facts: ReferenceFacts) -> ReferenceRow:
    """Return what the levels of one reference are."""
    return ReferenceRow(
        fermi_ev=facts.fermi,
        n_electrons=facts.n_electrons,
        gap_ev=facts.gap,
        soc_splitting_mev=_mev(facts.soc_splitting),
        n_levels=facts.n_levels,
        n_path_k=facts.n_path_k,
        overlap_min=facts.overlap_min,
        overlap_condition=facts.overlap_condition,
    )


def _mev(energy_ev: float | None) -> float | None:
    return None if energy_ev is None else _MEV * energy_ev


def optics_of(rows: Sequence[StructureRow]) -> Optics | None:
    """Average the distances of optical conductivities; None where none was asked for."""
    asked = [row.optics for row in rows if row.optics is not None]
    if not asked:
        return None
    task = tasks().optics
    held = [row for row in asked if row.skipped is None]

    def mean(values: list[float | None]) -> float | None:
        found = [value for value in values if value is not None]
        return float(np.mean(found)) if found else None

    return Optics(
        n_structures=len(held),
        n_skipped=len(asked) - len(held),
        program=program(),
        position_matrix=POSITION_MATRIX,
        omega_ev=task.omega_ev,
        step_ev=task.step_ev,
        broadening_ev=task.broadening_ev,
        mesh=task.mesh,
        h0=mean([row.h0 for row in held]),
        model=mean([row.model for row in held]),
        bands_max_mev=max((row.bands_max_mev for row in held if row.bands_max_mev is not None), default=None),
    )

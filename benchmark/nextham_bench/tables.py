"""From measurements of single structures to the tables of a score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nextham.physics.spin import SPIN_BLOCKS
from nextham_bench.measure import Measured
from nextham_bench.metrics.bands import BandErrors
from nextham_bench.metrics.gauge_mae import BREAKDOWNS, COLUMNS, PROTOCOLS, TOTAL, Protocol, Tally
from nextham_bench.schema import (
    BandColumn,
    BandRow,
    Bands,
    BreakdownRow,
    Columns,
    GaugeMae,
    Interval,
    Mean,
    SpinBlock,
    StructureRow,
    Subspace,
)
from nextham_bench.statistics import interval_of_mean, interval_of_skill
from nextham_bench.tasks import tasks

_MEV = 1000.0
_REAL, _IMAG, _MODULUS = range(3)
_UU = SPIN_BLOCKS.index("uu")
_NOTHING_MEV = 1e-6  # a baseline error below this leaves no skill to speak of


def gauge_table(measured: Sequence[Measured], protocol: Protocol) -> GaugeMae:
    """Average the Gauge MAE of one protocol over structures."""
    totals = [m.gauge.tallies[protocol][TOTAL][TOTAL] for m in measured]
    totals = [t for t in totals if t.count]
    counts, sums = _stacked(totals)
    h0, model = (_per_structure(counts, _overall(sums)[:, COLUMNS.index(c)]) for c in ("h0", "model"))
    uu = _per_structure(counts, sums[:, COLUMNS.index("model"), _REAL, _UU])
    blocks = {
        name: SpinBlock(real=_columns(counts, sums[:, :, _REAL, b]), imag=_columns(counts, sums[:, :, _IMAG, b]))
        for b, name in enumerate(SPIN_BLOCKS)
    }
    return GaugeMae(
        n_structures=len(totals),
        n_elements=int(counts.sum()),
        overall=_columns(counts, _overall(sums)),
        spin_blocks=blocks,  # type: ignore[arg-type]  # the names are those of SPIN_BLOCKS
        breakdowns={name: _breakdown(measured, protocol, name) for name in BREAKDOWNS},
        intervals={
            "overall": interval_of_mean(model),
            "uu_real": interval_of_mean(uu),
            "h0_overall": interval_of_mean(h0),
            "skill": interval_of_skill(model, h0),
        },
    )


def _breakdown(measured: Sequence[Measured], protocol: Protocol, name: str) -> dict[str, BreakdownRow]:
    gathered: dict[str, list[Tally]] = {}
    for one in measured:
        for label, tally in one.gauge.tallies[protocol][name].items():
            gathered.setdefault(label, []).append(tally)
    rows = {}
    for label in sorted(gathered):
        counts, sums = _stacked(gathered[label])
        rows[label] = BreakdownRow(
            n_structures=len(counts),
            n_elements=int(counts.sum()),
            overall=_columns(counts, _overall(sums)),
            uu_real=_columns(counts, sums[:, :, _REAL, _UU]),
        )
    return rows


def _stacked(tallies: Sequence[Tally]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    counts = np.array([t.count for t in tallies], dtype=np.int64)
    sums = np.array([t.sums for t in tallies]).reshape(len(tallies), len(COLUMNS), 3, len(SPIN_BLOCKS))
    return counts, sums


def _overall(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    overall: NDArray[np.float64] = sums[:, :, _MODULUS].mean(axis=-1)
    return overall


def _per_structure(counts: NDArray[np.int64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = _MEV * sums / counts
    return mean


def _columns(counts: NDArray[np.int64], sums: NDArray[np.float64]) -> Columns:
    """Average sums (n_structures, n_columns) of eV."""
    means = {}
    for c, column in enumerate(COLUMNS):
        macro = float(_per_structure(counts, sums[:, c]).mean()) if len(counts) else 0.0
        means[column] = Mean(macro_mev=macro, micro_mev=_MEV * float(sums[:, c].sum()) / max(1, int(counts.sum())))
    h0, model = means["h0"], means["model"]
    return Columns(
        **means,
        skill=skill(model.macro_mev, h0.macro_mev),
        skill_micro=skill(model.micro_mev, h0.micro_mev),
    )


def skill(model_mev: float, h0_mev: float) -> float | None:
    """Return 1 - MAE(model)/MAE(h0): 0 is no better than the free prior; None where that has no error.

    >>> skill(1.0, 4.0)
    0.75
    """
    return None if h0_mev < _NOTHING_MEV else 1.0 - model_mev / h0_mev


def band_table(measured: Sequence[Measured]) -> Bands | None:
    """Average band errors over structures; None where they were not measured."""
    h0 = [m.bands["h0"] for m in measured if m.bands is not None]
    model = [m.bands["model"] for m in measured if m.bands is not None]
    if not model:
        return None
    task = tasks().bands
    worst = max(m.overlap_condition for m in measured if m.overlap_condition is not None)
    means = [_MEV * b.mean for b in model]
    intervals: dict[str, Interval | None] = {
        "mean": interval_of_mean(means),
        "skill": interval_of_skill(means, [_MEV * b.mean for b in h0]),
    }
    return Bands(
        n_structures=len(model),
        n_gapped=sum(m.gap_ev > 0 for m in measured if m.gap_ev is not None),
        mesh=task.mesh,
        path="",
        window_ev=task.window_ev,
        overlap_filter=task.overlap_filter,
        max_overlap_condition=worst if math.isfinite(worst) else None,
        h0=_band_column(h0),
        model=_band_column(model),
        intervals=intervals,
    )


def _band_column(errors: Sequence[BandErrors]) -> BandColumn:
    def mean(name: str) -> float:
        return _MEV * float(np.mean([abs(getattr(e, name)) for e in errors]))

    return BandColumn(
        mean_mev=mean("mean"),
        rms_mev=mean("rms"),
        max_mev=_MEV * max(e.max for e in errors),
        occupied_mev=mean("occupied"),
        path_mev=None,
        gap_mev=mean("gap"),
        vbm_mev=None,
        cbm_mev=None,
        fermi_mev=mean("fermi"),
        soc_splitting_mev=None,
        soc_levels_mev=None,
        dos_mev=mean("dos"),
        subspace=Subspace(p_mev=None, pq_mev=None, q_mev=None),
        shares_below={
            f"{limit:g}": float(np.mean([_MEV * e.mean < limit for e in errors])) for limit in tasks().bands.shares_mev
        },
        ghosts_per_k=float(np.mean([e.ghosts_per_k for e in errors])),
        ghost_share=float(np.mean([e.has_ghost for e in errors])),
    )


def structure_row(measured: Measured) -> StructureRow:
    """Return the line of one structure."""
    overall: dict[str, dict[str, float | None]] = {}
    uu_real: dict[str, dict[str, float | None]] = {}
    totals = {protocol: measured.gauge.tallies[protocol][TOTAL][TOTAL] for protocol in PROTOCOLS}
    for protocol, total in totals.items():
        parts = ((overall, total.sums[:, _MODULUS].mean(axis=-1)), (uu_real, total.sums[:, _REAL, _UU]))
        for table, values in parts:
            table[protocol] = {
                c: _MEV * float(v) / total.count if total.count else None for c, v in zip(COLUMNS, values, strict=True)
            }
    return StructureRow(
        id=measured.id,
        formula=measured.formula,
        n_atoms=measured.n_atoms,
        shift_mev={column: _MEV * mu for column, mu in measured.gauge.shifts.items()},
        n_elements={protocol: total.count for protocol, total in totals.items()},
        overall_mev=overall,
        uu_real_mev=uu_real,
        reference=None,
        bands=None if measured.bands is None else {name: _band_row(errors) for name, errors in measured.bands.items()},
    )


def _band_row(errors: BandErrors) -> BandRow:
    energies = ("mean", "rms", "max", "occupied", "gap", "fermi", "shift", "dos")
    absent = ("path", "path_max", "vbm", "cbm", "soc_splitting", "soc_levels")
    return BandRow(
        **{f"{name}_mev": _MEV * getattr(errors, name) for name in energies},
        **{f"{name}_mev": None for name in absent},
        subspace=Subspace(p_mev=None, pq_mev=None, q_mev=None),
        ghosts_per_k=errors.ghosts_per_k,
        ghost_k_share=errors.ghost_k_share,
    )


def worst_ids(rows: Sequence[StructureRow], protocol: Protocol) -> tuple[str, ...]:
    """Return the ids with the largest overall Gauge MAE, largest first."""
    ranked = sorted(rows, key=lambda row: (-(row.overall_mev[protocol]["model"] or 0.0), row.id))
    return tuple(row.id for row in ranked[: tasks().gauge_mae.worst])

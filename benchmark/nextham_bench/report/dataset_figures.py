"""Figures of a dataset's page, each one function from its facts to inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nextham_bench.dataset_facts import StructureFacts
from nextham_bench.report import svg
from nextham_bench.report.figures import figure_with_axes, legend
from nextham_bench.terminal import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BINS = 24
_FEW = 15  # a span up to here gives each whole number a bar of its own


@svg.styled
def sizes(rows: Sequence[StructureFacts], key: str) -> str:
    """Return how many structures have how many atoms in the cell."""
    return _counts(np.array([row.n_atoms for row in rows]), "atoms in the cell", f"sizes-{key}")


@svg.styled
def orbitals(rows: Sequence[StructureFacts], key: str) -> str:
    """Return how many structures have how many orbitals."""
    return _counts(np.array([row.n_orb for row in rows]), "orbitals in the cell, without spin", f"orbitals-{key}")


@svg.styled
def crystals(systems: Mapping[str, int], key: str) -> str:
    """Return how many structures each crystal system has."""
    figure, axes = figure_with_axes(5.6, 0.42 * len(systems) + 1.0)
    names, values = list(systems)[::-1], list(systems.values())[::-1]
    bars = axes.barh(names, values, color=svg.MODEL, height=0.7)
    axes.bar_label(bars, padding=3, fontsize=9)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.set_xlabel("structures")
    told = ", ".join(f"{name} {n}" for name, n in systems.items())
    return svg.inline(figure, f"crystals-{key}", f"Crystal systems: {told}")


@svg.styled
def gaps(rows: Sequence[StructureFacts], key: str) -> str | None:
    """Return gaps; None if no structure tells one."""
    values = np.array([row.gap_ev for row in rows if row.gap_ev is not None])
    if not len(values):
        return None
    figure, axes = figure_with_axes(5.6, 3.2)
    gapped = values[values > 0]
    if len(gapped):
        axes.hist(gapped, bins=_n_bins(gapped), color=svg.MODEL)
    axes.set_xlabel("gap on the mesh of the checks (eV)")
    _whole(axes)
    n_metals = int((values <= 0).sum())
    axes.set_title(f"{n_metals} without a gap are not drawn", fontsize=9, loc="right")
    alt = f"Gaps of {len(gapped)} structures; {n_metals} more have none"
    return svg.inline(figure, f"gaps-{key}", alt)


@svg.styled
def conditions(rows: Sequence[StructureFacts], key: str) -> str | None:
    """Return condition numbers of S(k), logarithmic; None if no structure tells one."""
    values = np.array([row.overlap_condition for row in rows if row.overlap_condition is not None])
    return _logarithmic(values, "largest cond(S(k)) of a structure", f"conditions-{key}") if len(values) else None


@svg.styled
def corrections(rows: Sequence[StructureFacts], key: str) -> str | None:
    """Return the mean |H - H0| of structures, logarithmic; None if no structure tells one."""
    values = np.array([row.mean_correction_mev for row in rows if row.mean_correction_mev])
    label = "mean |H - H0 - μS| of a structure (meV)"
    return _logarithmic(values, label, f"corrections-{key}") if len(values) else None


@svg.styled
def costs(rows: Sequence[StructureFacts], key: str) -> str | None:
    """Return the time of H0 against that of self-consistency, both logarithmic; None if no structure tells both."""
    told = [row for row in rows if row.h0_wall_s and row.scf_wall_s]
    if not told:
        return None
    h0 = np.array([row.h0_wall_s for row in told], dtype=float)
    scf = np.array([row.scf_wall_s for row in told], dtype=float)
    figure, axes = figure_with_axes(5.6, 4.2)
    axes.scatter(scf, h0, s=18, color=svg.MODEL, alpha=0.7, linewidths=0)
    low, high = min(h0.min(), scf.min()) / 1.5, max(h0.max(), scf.max()) * 1.5
    for share, style in ((1.0, "-"), (0.1, "--"), (0.01, ":")):
        axes.plot([low, high], [share * low, share * high], style, color=svg.ZERO, linewidth=1)
        axes.annotate(f"{100 * share:g} %", (high, min(share * high, high)), fontsize=8, ha="right", va="bottom")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(scf.min() / 1.5, high)
    axes.set_ylim(h0.min() / 1.5, max(h0.max() * 3, low))
    _plain(axes, "x")
    _plain(axes, "y")
    axes.set_xlabel("self-consistency (s)")
    axes.set_ylabel("H0 (s)")
    alt = f"Wall time of H0 against self-consistency of {len(told)} structures; lines are 1, 10 and 100 %"
    return svg.inline(figure, f"costs-{key}", alt)


def _counts(values: NDArray[np.int64], label: str, name: str) -> str:
    """Draw how often whole numbers occur."""
    figure, axes = figure_with_axes(5.6, 3.0)
    if int(values.max() - values.min()) <= _FEW:
        found, counts = np.unique(values, return_counts=True)
        axes.bar(found, counts, color=svg.MODEL, width=0.8)
        axes.set_xticks(np.arange(found.min(), found.max() + 1, 1 if len(found) <= 8 else 2))
    else:
        axes.hist(values, bins=_n_bins(values), color=svg.MODEL)
    axes.set_xlabel(label)
    _whole(axes)
    low, middle, high = np.percentile(values, [0, 50, 100])
    alt = f"{label}: {low:.0f} to {high:.0f}, median {middle:.0f}, of {counted(len(values), 'structure')}"
    return svg.inline(figure, name, alt)


def _logarithmic(values: NDArray[np.float64], label: str, name: str) -> str:
    figure, axes = figure_with_axes(5.6, 3.2)
    low, high = float(values.min()), float(values.max())
    axes.hist(values, bins=list(np.geomspace(low / 1.05, high * 1.05, _n_bins(values) + 1)), color=svg.MODEL)
    axes.axvline(float(np.median(values)), color=svg.H0, linewidth=1.4, linestyle="--", label="median")
    axes.set_xscale("log")
    axes.set_xlabel(label)
    _plain(axes, "x")
    _whole(axes)
    legend(axes)
    alt = f"{label}: {low:.3g} to {high:.3g}, median {np.median(values):.3g}, {len(values)} structures"
    return svg.inline(figure, name, alt)


def _n_bins(values: NDArray[Any]) -> int:
    return int(np.clip(2 * np.sqrt(len(values)), 6, _MOST_BINS))


def _whole(axes: Axes) -> None:
    """Structures are counted in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("structures")


def _plain(axes: Axes, which: Literal["x", "y"]) -> None:
    """Ticks of a logarithmic axis: 1, 2 and 5 of each decade in plain numbers, or whole decades if there are many."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = getattr(axes, f"get_{which}lim")()
    axis = getattr(axes, f"{which}axis")
    subs = (1.0, 2.0, 5.0) if high / low < 150 else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}" if x < 1e5 else f"{x:.0e}".replace("e+0", "e")))
    axis.set_minor_locator(NullLocator())

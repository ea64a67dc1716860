"""Bands along the standard path: overlays, and the gallery of ghost states."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem
from nextham.exceptions import InputError
from nextham.physics.bands import BandPath, band_path, shared_levels
from nextham_bench.metrics.ghosts import ghost_levels, outlying
from nextham_bench.report import svg
from nextham_bench.report.figures import figure_with_axes, legend
from nextham_bench.schema import StructureRow
from nextham_bench.tasks import tasks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPACING_INV_ANG: Final = 0.06
_MEV: Final = 1000.0
_SUBSCRIPT: Final = re.compile(r"_(\d)")
_STYLES: Final = {
    "reference": (svg.INK, "-", 1.6, 0.55),
    "H0": (svg.H0, ":", 1.1, 1.0),
    "model": (svg.MODEL, "--", 1.1, 1.0),
}


@dataclasses.dataclass(frozen=True)
class PathLevels:
    """Levels of reference, H0 and model on the path, each shifted onto the reference; eV above its Fermi level."""

    path: BandPath
    energies: dict[str, NDArray[np.float64]]  # name: (n_k, n_bands)
    condition: NDArray[np.float64]  # (n_k,) cond(S(k)), infinite where S(k) is singular
    has_fermi: bool  # without a Fermi level zero is the median of the reference's levels

    @classmethod
    def of(cls, reference: LCAOSystem, prediction: BlockMatrix, row: StructureRow) -> PathLevels | None:
        """Solve one structure; None where its crystal has no standard path.

        Energies are shifted as the score of the structure was, or, where it has no levels, by their median error.
        """
        task = tasks().bands
        try:
            path = band_path(reference.structure(), spacing_inv_ang=_SPACING_INV_ANG)
        except InputError:
            return None
        operators = {
            "H0": reference.operator("h0"),
            "reference": reference.operator("hamiltonian"),
            "model": prediction,
        }
        found = shared_levels(reference, list(operators.values()), path.k, overlap_filter=task.overlap_filter)
        raw = dict(zip(operators, found.energies, strict=True))
        fermi = row.reference.fermi_ev if row.reference else reference.meta[0].fermi_energy_ev
        zero = float(np.nanmedian(raw["reference"])) if fermi is None else fermi
        shifts = {name: _shift(energies, raw["reference"], zero, row, name) for name, energies in raw.items()}
        smallest, largest = found.overlap_range.T
        condition = np.full(len(path.k), np.inf)
        np.divide(largest, smallest, out=condition, where=smallest > 0)
        energies = {name: levels - zero - shifts[name] for name, levels in raw.items()}
        return cls(path, energies, condition, fermi is not None)

    def ghosts(self) -> NDArray[np.bool_]:
        """Return which of the model's levels (n_k, n_bands) have no reference level of their own."""
        task = tasks()
        return ghost_levels(
            self.energies["model"],
            self.energies["reference"],
            window_ev=task.bands.window_ev,
            distance_ev=task.ghosts.level_distance_ev,
        )

    def outlying(self) -> NDArray[np.bool_]:
        """Return which k points have a band error far above their median."""
        task = tasks()
        return outlying(
            self.energies["model"], self.energies["reference"], window_ev=task.bands.window_ev, task=task.ghosts
        )


def _shift(
    energies: NDArray[np.float64], true: NDArray[np.float64], zero: float, row: StructureRow, name: str
) -> float:
    """Return the energy (eV) by which levels were shifted onto the reference's."""
    if name == "reference":
        return 0.0
    if row.bands:
        return row.bands["h0" if name == "H0" else name].shift_mev / _MEV
    low, high = tasks().bands.window_ev
    return float(np.median((energies - true)[(true >= zero + low) & (true <= zero + high)]))


@svg.styled
def band_overlay(levels: PathLevels, *, id: str, formula: str, key: str) -> str:
    """Return bands of reference, H0 and model; ``key`` tells figures of one page apart."""
    figure, axes = figure_with_axes(4.6, 3.9)
    _draw(axes, levels, tuple(_STYLES))
    legend(axes, columns=3, above=True)
    low, high = tasks().bands.window_ev
    alt = f"Band structure of {id} ({formula}): reference, H0 and model between {low:g} and {high:g} eV"
    return svg.inline(figure, f"bands-{key}-{id}", alt)


@svg.styled
def ghost_plate(levels: PathLevels, *, id: str, formula: str, key: str) -> str:
    """Return bands of reference and model with the ghosts marked, and cond(S(k)) below on the same path."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(4.6, 5.0))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    figure.subplots_adjust(hspace=0.08)
    _draw(top, levels, ("reference", "model"))
    x, ghosts, odd = levels.path.x, levels.ghosts(), levels.outlying()
    for q in np.flatnonzero(odd):
        for axes in (top, bottom):
            axes.axvspan(*_around(x, int(q)), color=svg.GHOST, alpha=0.12, linewidth=0)
    if ghosts.any():
        k, energies = np.nonzero(ghosts)[0], levels.energies["model"][ghosts]
        style = {"markerfacecolor": "none", "markeredgecolor": svg.GHOST, "markeredgewidth": 1.3, "markersize": 5}
        top.plot(x[k], energies, linestyle="none", marker="o", label="ghost", **style)
    legend(top, columns=3, above=True)
    finite = np.where(np.isfinite(levels.condition), levels.condition, np.nan)
    bottom.plot(x, finite, color=svg.INK, linewidth=1.2)
    bottom.set_yscale("log")
    bottom.yaxis.set_minor_locator(NullLocator())
    ends = sorted({float(np.nanmin(finite)), float(np.nanmax(finite))}) if np.isfinite(finite).any() else []
    bottom.set_yticks(ends, [f"{end:,.0f}" if end < 1e6 else f"{end:.1e}" for end in ends])
    bottom.set_ylabel("cond S(k)")
    _ticks(bottom, levels)
    worst = levels.condition.max()
    alt = (
        f"Bands of {id} ({formula}) along the standard path: {int(ghosts.sum())} ghost levels on {len(x)} k points, "
        f"{int(odd.sum())} k points with an outlying band error; below, cond(S(k)) up to "
        f"{'infinity' if not np.isfinite(worst) else f'{worst:.3g}'}"
    )
    return svg.inline(figure, f"ghosts-{key}-{id}", alt)


def _draw(axes: Axes, levels: PathLevels, names: tuple[str, ...]) -> None:
    low, high = tasks().bands.window_ev
    jumps = np.flatnonzero(np.diff(levels.path.x) < 1e-9) + 1  # the path goes on elsewhere: no line between
    x = np.insert(levels.path.x, jumps, levels.path.x[jumps])
    for name in names:
        colour, line, width, alpha = _STYLES[name]
        energies = levels.energies[name]
        visible = ((energies > low - 1) & (energies < high + 1)).any(axis=0)
        drawn = np.insert(energies[:, visible], jumps, np.nan, axis=0)
        lines = axes.plot(x, drawn, line, color=colour, linewidth=width, alpha=alpha)
        lines[0].set_label(name)
    axes.axhline(0, color=svg.INK, linewidth=0.6)
    axes.set_ylim(low, high)
    axes.set_ylabel("E - E_F (eV)" if levels.has_fermi else "E (eV)")
    _ticks(axes, levels)


def _ticks(axes: Axes, levels: PathLevels) -> None:
    axes.set_xlim(levels.path.x[0], levels.path.x[-1])
    axes.set_xticks(
        [x for x, _ in levels.path.ticks], [_SUBSCRIPT.sub(_lowered, label) for _, label in levels.path.ticks]
    )


def _lowered(found: re.Match[str]) -> str:
    return "₀₁₂₃₄₅₆₇₈₉"[int(found[1])]


def _around(x: NDArray[np.float64], q: int) -> tuple[float, float]:
    """Return the stretch of the path that is nearer to one k point than to its neighbours."""
    before, after = x[max(0, q - 1)], x[min(len(x) - 1, q + 1)]
    return float((before + x[q]) / 2), float((x[q] + after) / 2)

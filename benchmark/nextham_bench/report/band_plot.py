"""Bands along the standard path: overlays, and the gallery of ghost states."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem
from nextham.physics.bands import BandPath, band_path, eigenproblem
from nextham_bench.metrics.bands import ReferenceLevels, ghost_states, unmatched
from nextham_bench.report import svg
from nextham_bench.report.figures import figure_with_axes, legend
from nextham_bench.tasks import tasks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPACING_INV_ANG: Final = 0.06
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
    def of(cls, reference: LCAOSystem, prediction: BlockMatrix) -> PathLevels:
        """Solve one structure."""
        task = tasks().bands
        path = band_path(reference.structure(), spacing_inv_ang=_SPACING_INV_ANG)
        operators = {
            "reference": reference.operator("hamiltonian"),
            "H0": reference.operator("h0"),
            "model": prediction,
        }
        solved = {
            name: eigenproblem(
                reference.with_operator("hamiltonian", matrix.values), path.k, overlap_filter=task.overlap_filter
            )
            for name, matrix in operators.items()
        }
        fermi = reference.meta[0].fermi_energy_ev
        raw = {name: one.energies for name, one in solved.items()}
        zero = float(np.nanmedian(raw["reference"])) if fermi is None else fermi
        true = raw["reference"] - zero
        low, high = task.window_ev
        window = (true >= low) & (true <= high)
        shifted = {name: levels - zero - np.median((levels - zero - true)[window]) for name, levels in raw.items()}
        smallest, largest = solved["reference"].overlap_range.T
        with np.errstate(divide="ignore"):
            condition = np.where(smallest > 0, largest / smallest, np.inf)
        return cls(path, shifted, condition, fermi is not None)

    def ghosts(self) -> list[tuple[int, float]]:
        """Return the model's levels of the window that have no reference level of their own: k point, energy."""
        low, high = tasks().bands.window_ev
        distance = tasks().ghosts.level_distance_ev
        found = []
        for q, (true, predicted) in enumerate(zip(self.energies["reference"], self.energies["model"], strict=True)):
            finite = np.isfinite(true)
            lonely = predicted[finite][unmatched(predicted[finite], true[finite], distance)]
            found += [(q, float(e)) for e in lonely if low <= e <= high]
        return found

    def outlying(self) -> NDArray[np.bool_]:
        """Return which k points have a band error far above their median, as the metric counts them."""
        task, true = tasks(), self.energies["reference"]
        here = ReferenceLevels(self.path.k, np.arange(len(true)), true, 0.0, 1.0, float(self.condition.max()))
        return ghost_states(self.energies["model"], here, task.ghosts, window_ev=task.bands.window_ev)[1]


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

    figure = Figure(figsize=(4.6, 5.0))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    figure.subplots_adjust(hspace=0.08)
    _draw(top, levels, ("reference", "model"))
    x, ghosts, outlying = levels.path.x, levels.ghosts(), levels.outlying()
    for q in np.flatnonzero(outlying):
        for axes in (top, bottom):
            axes.axvspan(*_around(x, int(q)), color=svg.GHOST, alpha=0.12, linewidth=0)
    if ghosts:
        k, energies = zip(*ghosts, strict=True)
        style = {"markerfacecolor": "none", "markeredgecolor": svg.GHOST, "markeredgewidth": 1.3, "markersize": 5}
        top.plot(x[list(k)], energies, linestyle="none", marker="o", label="ghost", **style)
    legend(top, columns=3, above=True)
    finite = np.where(np.isfinite(levels.condition), levels.condition, np.nan)
    bottom.plot(x, finite, color=svg.INK, linewidth=1.2)
    bottom.set_yscale("log")
    bottom.set_ylabel("cond S(k)")
    _ticks(bottom, levels)
    worst = levels.condition.max()
    alt = (
        f"Bands of {id} ({formula}) along the standard path: {len(ghosts)} ghost levels on {len(x)} k points, "
        f"{int(outlying.sum())} k points with an outlying band error; below, cond(S(k)) up to "
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
    axes.set_xticks([x for x, _ in levels.path.ticks], [label for _, label in levels.path.ticks])


def _around(x: NDArray[np.float64], q: int) -> tuple[float, float]:
    """Return the stretch of the path that is nearer to one k point than to its neighbours."""
    before, after = x[max(0, q - 1)], x[min(len(x) - 1, q + 1)]
    return float((before + x[q]) / 2), float((x[q] + after) / 2)

"""The figures of the report, each one function from scores or stores to inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem
from nextham.physics.align import aligned
from nextham.physics.bands import band_path, eigenproblem
from nextham_bench.metrics.gauge_mae import counted_pairs, distance_labels
from nextham_bench.report import svg
from nextham_bench.schema import Scores
from nextham_bench.tasks import tasks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MEV = 1000.0
_EQUAL_CONTRAST = 0.18  # relative luminance at which black and white text read equally well
_LINEAR_MEV = 10.0  # the parity axes are linear up to here and logarithmic beyond
_NAMES = {"zero": ("zero", svg.ZERO, "^"), "h0": ("H0", svg.H0, "s"), "model": ("model", svg.MODEL, "o")}


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


@svg.styled
def error_by_distance(scores: Scores) -> str:
    """Return the Gauge MAE of ↑↑ real in each distance bin."""
    rows = scores.headline.breakdowns["distance"]
    labels = [label for label in distance_labels(tasks().gauge_mae.distance_edges_ang) if label in rows]
    figure, axes = _figure(5.6, 3.4)
    for column, (name, colour, marker) in _NAMES.items():
        values = [getattr(rows[label].uu_real, column).macro_mev for label in labels]
        shown = [v if v > 0 else np.nan for v in values]
        axes.plot(labels, shown, marker=marker, color=colour, label=name, linewidth=1.6, markersize=5)
    axes.set_yscale("log")
    axes.set_ylabel("Gauge MAE ↑↑ real (meV)")
    axes.set_xlabel("distance of the two atoms")
    _legend(axes)
    last = rows[labels[0]].uu_real
    alt = (
        f"Error by distance, logarithmic: on-site {last.model.macro_mev:.2f} meV for the model and "
        f"{last.h0.macro_mev:.2f} meV for H0; the numbers of every bin stand in the scores file"
    )
    return svg.inline(figure, f"distance-{scores.name}", alt)


class Parity:
    """Counts of predicted against reference corrections, filled one structure at a time."""

    def __init__(self, largest_mev: float = 2e4, n_bins: int = 160) -> None:
        """Args: largest_mev: where the axes end at most; n_bins: bins on an axis."""
        reach = np.arcsinh(largest_mev / _LINEAR_MEV)
        self.edges_mev: NDArray[np.float64] = _LINEAR_MEV * np.sinh(np.linspace(-reach, reach, n_bins + 1))
        self.counts = np.zeros((n_bins, n_bins))
        self.n_structures = 0

    def add(self, reference: LCAOSystem, prediction: BlockMatrix) -> None:
        """Count h_0 of H - H0 and P - H0 of one structure, each after its own best shift."""
        overlap, h0 = reference.operator("overlap"), reference.operator("h0")
        pairs = counted_pairs(reference, "full")[h0.pair_of_value]
        true, predicted = (
            _MEV * aligned(matrix - h0, overlap)[0].values[0].real[pairs]
            for matrix in (reference.operator("hamiltonian"), prediction)
        )
        self.counts += np.histogram2d(true, predicted, bins=(self.edges_mev, self.edges_mev))[0]
        self.n_structures += 1

    @svg.styled
    def draw(self, name: str) -> str:
        """Return the plot."""
        from matplotlib.colors import LogNorm

        used = np.flatnonzero(self.counts.sum(axis=0) + self.counts.sum(axis=1))
        reach = max(abs(self.edges_mev[used[0]]), abs(self.edges_mev[used[-1] + 1])) if len(used) else 1.0
        figure, axes = _figure(4.4, 3.8)
        masked = np.ma.masked_equal(self.counts.T, 0)
        mesh = axes.pcolormesh(
            self.edges_mev, self.edges_mev, masked, norm=LogNorm(vmin=1), cmap="cividis", rasterized=True
        )
        axes.axline((0, 0), slope=1, color=svg.INK, linewidth=0.8)
        axes.axhline(0, color=svg.H0, linewidth=1.2, linestyle="--", label="H0: no correction")
        for which in ("x", "y"):
            getattr(axes, f"set_{which}scale")("asinh", linear_width=_LINEAR_MEV)
            getattr(axes, f"set_{which}lim")(-reach, reach)
            ticks = [t for t in (-1e4, -1e3, -100, -10, 0, 10, 100, 1e3, 1e4) if abs(t) <= reach]
            getattr(axes, f"set_{which}ticks")(ticks, [f"{t:g}" for t in ticks])
            getattr(axes, f"{which}axis").set_minor_locator(_no_ticks())
        axes.set_xlabel("reference correction H - H0 (meV)")
        axes.set_ylabel("predicted correction (meV)")
        bar = figure.colorbar(mesh, ax=axes, label="matrix elements", pad=0.02)
        bar.outline.set_visible(False)
        _legend(axes)
        alt = (
            f"Predicted against reference correction of {self.n_structures} structures; a perfect model lies on the "
            "diagonal, H0 alone on the horizontal line at zero"
        )
        return svg.inline(figure, f"parity-{name}", alt)


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


@svg.styled
def band_overlay(reference: LCAOSystem, prediction: BlockMatrix) -> str:
    """Return bands of reference, H0 and prediction along the standard path, each shifted onto the reference."""
    task = tasks().bands
    path = band_path(reference.structure(), spacing_inv_ang=0.06)
    operators = {"reference": reference.operator("hamiltonian"), "H0": reference.operator("h0"), "model": prediction}
    levels = {
        name: eigenproblem(
            reference.with_operator("hamiltonian", matrix.values), path.k, overlap_filter=task.overlap_filter
        ).energies
        for name, matrix in operators.items()
    }
    fermi = reference.meta[0].fermi_energy_ev
    zero = float(np.nanmedian(levels["reference"])) if fermi is None else fermi
    low, high = task.window_ev
    true = levels["reference"] - zero
    window = (true >= low) & (true <= high)
    styles = {
        "reference": (svg.INK, "-", 1.6, 0.55),
        "H0": (svg.H0, ":", 1.1, 1.0),
        "model": (svg.MODEL, "--", 1.1, 1.0),
    }
    jumps = np.flatnonzero(np.diff(path.x) < 1e-9) + 1  # the path goes on elsewhere: no line between
    x = np.insert(path.x, jumps, path.x[jumps])
    figure, axes = _figure(4.6, 3.9)
    for name, (colour, line, width, alpha) in styles.items():
        shifted = levels[name] - zero
        shifted = shifted - np.median((shifted - true)[window])
        visible = ((shifted > low - 1) & (shifted < high + 1)).any(axis=0)
        lines = axes.plot(
            x, np.insert(shifted[:, visible], jumps, np.nan, axis=0), line, color=colour, linewidth=width, alpha=alpha
        )
        lines[0].set_label(name)
    axes.axhline(0, color=svg.INK, linewidth=0.6)
    axes.set_ylim(low, high)
    axes.set_xlim(path.x[0], path.x[-1])
    axes.set_xticks([x for x, _ in path.ticks], [label for _, label in path.ticks])
    axes.set_ylabel("E - E_F (eV)" if fermi is not None else "E (eV)")
    _legend(axes, columns=3, above=True)
    id = reference.ids[0]
    alt = (
        f"Band structure of {id} ({reference.structure().formula}): reference, H0 and model between {low} and {high} eV"
    )
    return svg.inline(figure, f"bands-{id}", alt)


def _legend(axes: Axes, *, columns: int = 1, above: bool = False) -> None:
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)} if above else {"loc": "best"}
    axes.legend(ncols=columns, frameon=False, fontsize=9, **place)


def colours(values: Sequence[float], name: str = "cividis") -> list[tuple[str, str]]:
    """Return background and text colour of each value on a logarithmic scale from the least to the largest."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    logs = np.log(np.maximum(values, 1e-12))
    span = logs.max() - logs.min()
    places = (logs - logs.min()) / span if span > 1e-9 else np.full(len(logs), 0.5)
    found = []
    for place in places:
        rgb = np.array(colormaps[name](float(place))[:3])
        found.append((to_hex((rgb[0], rgb[1], rgb[2])), "#ffffff" if _luminance(rgb) < _EQUAL_CONTRAST else "#111111"))
    return found


def _luminance(rgb: NDArray[np.float64]) -> float:
    """Return the relative luminance of an sRGB colour (WCAG 2.2)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))

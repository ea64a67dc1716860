"""Figures that need scores alone, each one function to inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from nextham_bench.metrics.gauge_mae import distance_labels
from nextham_bench.report import svg
from nextham_bench.schema import BreakdownRow, Scores
from nextham_bench.tasks import tasks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS: Final = "oDvP*X"


class _Curve(NamedTuple):
    """One line of a plot."""

    name: str
    colour: str
    marker: str
    values: list[float]


def figure_with_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a new figure, inches, and its one axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def legend(axes: Axes, *, columns: int = 1, above: bool = False) -> None:
    """Draw the legend where there is room, or above the axes."""
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)} if above else {"loc": "best"}
    axes.legend(ncols=columns, frameon=False, fontsize=9, **place)


def label_text(name: str) -> str:
    r"""Return a name as a label: short, and never read as a formula or as a hidden label.

    >>> print(label_text("_cost $5"))
     _cost \$5
    """
    short = name if len(name) <= 28 else f"{name[:27]}…"
    return (" " if short.startswith("_") else "") + short.replace("$", "\\$")


def error_by_distance(scores: Scores, key: str) -> str:
    """Return the Gauge MAE of ↑↑ real in each distance bin: zero, H0 and the model; ``key`` is unique on a page."""
    rows = scores.headline.breakdowns["distance"]
    labels = _bins(rows)
    curves = [
        _Curve("zero", svg.ZERO, "^", _column(rows, labels, "zero")),
        _Curve("H0", svg.H0, "s", _column(rows, labels, "h0")),
        _Curve("model", svg.MODEL, "o", _column(rows, labels, "model")),
    ]
    return _by_distance(labels, curves, f"distance-{key}")


def errors_by_distance(models: Sequence[tuple[str, Scores]], key: str) -> str:
    """Return the Gauge MAE of ↑↑ real in each distance bin: H0 and up to six models by name, best first."""
    rows = models[0][1].headline.breakdowns["distance"]
    labels = _bins(rows)
    curves = [_Curve("H0", svg.H0, "s", _column(rows, labels, "h0"))]
    for (name, scores), colour, marker in zip(models, svg.SERIES, _MARKERS, strict=False):
        own = scores.headline.breakdowns["distance"]
        curves.append(_Curve(name, colour, marker, _column(own, labels, "model")))
    return _by_distance(labels, curves, f"distances-{key}")


def _bins(rows: dict[str, BreakdownRow]) -> list[str]:
    return [label for label in distance_labels(tasks().gauge_mae.distance_edges_ang) if label in rows]


def _column(rows: dict[str, BreakdownRow], labels: Sequence[str], column: str) -> list[float]:
    return [getattr(rows[label].uu_real, column).macro_mev for label in labels]


@svg.styled
def _by_distance(labels: Sequence[str], curves: Sequence[_Curve], name: str) -> str:
    figure, axes = figure_with_axes(5.6, 3.4)
    for curve in curves:
        shown = [v if v > 0 else np.nan for v in curve.values]
        style = {"marker": curve.marker, "color": curve.colour, "linewidth": 1.6, "markersize": 5}
        axes.plot(labels, shown, label=label_text(curve.name), **style)  # type: ignore[arg-type]
    axes.set_yscale("log")
    axes.set_ylabel("Gauge MAE ↑↑ real (meV)")
    axes.set_xlabel("distance of the two atoms")
    legend(axes, columns=min(3, len(curves)), above=True)
    said = "; ".join(
        f"{curve.name}: " + ", ".join(f"{v:.3g} meV {label}" for v, label in zip(curve.values, labels, strict=True))
        for curve in curves
    )
    return svg.inline(figure, name, f"Error by distance, logarithmic. {said}")

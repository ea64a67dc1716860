"""Predicted against reference corrections, counted one structure at a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem
from nextham.physics.align import aligned
from nextham_bench.metrics.gauge_mae import counted_pairs
from nextham_bench.report import svg
from nextham_bench.report.figures import figure_with_axes, legend

_MEV: Final = 1000.0
_LINEAR_MEV: Final = 10.0  # the axes are linear up to here and logarithmic beyond


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
        figure, axes = figure_with_axes(5.4, 4.5)
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
        legend(axes)
        alt = (
            f"Predicted against reference correction of {self.n_structures} structures; a perfect model lies on the "
            "diagonal, H0 alone on the horizontal line at zero"
        )
        return svg.inline(figure, f"parity-{name}", alt)


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()

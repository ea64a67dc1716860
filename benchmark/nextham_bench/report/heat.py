"""Heat maps: colours that the colour-blind can tell apart, with text that can be read on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import atomic_number, symbol
from nextham_bench.report.periodic import place

_EQUAL_CONTRAST: Final = 0.18  # relative luminance at which black and white text read equally well
_STOPS: Final = 9


@dataclasses.dataclass(frozen=True)
class Scale:
    """How numbers become colours."""

    map: str  # of matplotlib
    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Sequence[float]) -> Scale:
        """Return a logarithmic scale from the least to the largest positive value, dark to light."""
        positive = [v for v in values if v > 0] or [1.0]
        return cls("cividis", min(positive), max(positive), logarithmic=True)

    @classmethod
    def counts(cls, values: Sequence[float]) -> Scale:
        """Return a scale from the least to the largest count."""
        return cls("cividis", min(values, default=0), max(values, default=1))

    @classmethod
    def skill(cls) -> Scale:
        """Return the scale of skills: white is no better than H0, purple better, orange worse."""
        return cls("PuOr", -1.0, 1.0)

    def paint(self, value: float) -> tuple[str, str]:
        """Return background and text colour of a value; beyond the ends it has the colour of the end."""
        ends = np.array([self.low, value, self.high], dtype=np.float64)
        low, x, high = np.log(np.maximum(ends, 1e-12)) if self.logarithmic else ends
        share = 0.5 if high - low < 1e-9 else float(np.clip((x - low) / (high - low), 0.0, 1.0))
        rgb = self._rgb(share)
        return _hex(rgb), "#ffffff" if _luminance(rgb) < _EQUAL_CONTRAST else "#111111"

    @property
    def gradient(self) -> str:
        """The colours from low to high, for CSS."""
        return ", ".join(_hex(self._rgb(x)) for x in np.linspace(0, 1, _STOPS))

    def _rgb(self, share: float) -> NDArray[np.float64]:
        from matplotlib import colormaps

        return np.array(colormaps[self.map](share)[:3], dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One quantity shown on the cells of a periodic table."""

    key: str
    title: str
    values: Mapping[str, float]  # element: value
    scale: Scale
    text: Callable[[float], str]  # in the cell
    ends: tuple[str, str]  # what the ends of the scale are called


def periodic_table(layers: Sequence[Layer], said: Mapping[str, str]) -> dict[str, Any]:
    """Return cells and legends of a periodic table.

    Args:
        layers: quantities; the first is shown, a reader chooses between them.
        said: element: sentence with all its numbers.
    """
    largest = max((atomic_number(name) for name in said), default=1)
    cells = []
    for number in range(1, max(86, largest) + 1):
        name = symbol(number)
        row, column = place(number)
        cell: dict[str, Any] = {"symbol": name, "row": row, "column": column, "said": said.get(name, "")}
        cell["layers"] = [_painted(layer, name) for layer in layers if name in said]
        cells.append(cell)
    return {
        "cells": cells,
        "layers": [
            {"key": one.key, "title": one.title, "gradient": one.scale.gradient, "ends": one.ends} for one in layers
        ],
    }


def _painted(layer: Layer, name: str) -> dict[str, str]:
    if name not in layer.values:
        return {"key": layer.key, "colour": "transparent", "text": "inherit", "value": "–"}
    colour, text = layer.scale.paint(layer.values[name])
    return {"key": layer.key, "colour": colour, "text": text, "value": layer.text(layer.values[name])}


def _hex(rgb: NDArray[np.float64]) -> str:
    return "#" + "".join(f"{round(255 * float(x)):02x}" for x in rgb)


def _luminance(rgb: NDArray[np.float64]) -> float:
    """Return the relative luminance of an sRGB colour (WCAG 2.2)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))

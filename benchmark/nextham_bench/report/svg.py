"""Matplotlib figures as inline SVG whose colours follow the page."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

# Stand-ins that no other colour uses; the page's style sheet says what they are in light and dark.
INK: Final = "#010203"
LINE: Final = "#020304"
MODEL: Final = "#030405"
H0: Final = "#040506"
ZERO: Final = "#050607"
GHOST: Final = "#060708"
SERIES: Final = ("#070809", "#08090a", "#090a0b", "#0a0b0c", "#0b0c0d", "#0c0d0e")  # lines of several models
_VARIABLES: Final = {
    **{INK: "--ink", LINE: "--line", MODEL: "--model", H0: "--h0", ZERO: "--zero", GHOST: "--ghost"},
    **{colour: f"--series-{k}" for k, colour in enumerate(SERIES, start=1)},
}

STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Run a drawing function under ``STYLE``."""

    @functools.wraps(draw)
    def under_style(*args: P.args, **kwargs: P.kwargs) -> T:
        import matplotlib as mpl

        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return under_style


def inline(figure: Figure, name: str, alt: str) -> str:
    """Return a figure as an SVG element to put into a page.

    Args:
        figure: drawn with ``STYLE`` and the colours of this module.
        name: different for each figure of a page; ids inside derive from it.
        alt: what a reader who cannot see the figure should know.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(
            buffer, format="svg", bbox_inches="tight", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text[text.index("<svg") :]
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(<svg[^>]*?)\swidth="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?)\sheight="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"font: (\d+(?:\.\d+)?px) [^;\"]*", r"font-size: \1", text)
    text = re.sub(
        r'\bid="(figure|axes|patch|line2d|matplotlib|xtick|ytick|text|legend|PolyCollection|QuadMesh)[^"]*"', "", text
    )
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{_attribute(alt)}"', 1)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")

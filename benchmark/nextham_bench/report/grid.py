"""Tables of a page: columns that a reader can sort by, cells with the number that they are sorted by."""

from __future__ import annotations

import dataclasses
from typing import Literal

Sort = Literal["number", "text"]


@dataclasses.dataclass(frozen=True)
class Column:
    """One column."""

    label: str
    sort: Sort | None = "number"
    hint: str = ""  # what it means, shown on hover


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell."""

    text: str
    value: float | None = None  # what it is sorted by; None sorts last
    note: str = ""  # small print below
    hint: str = ""  # shown on hover
    url: str | None = None


@dataclasses.dataclass(frozen=True)
class GridRow:
    """One row; the first cell is its heading."""

    cells: tuple[Cell, ...]
    kind: Literal["", "main", "baseline"] = ""


@dataclasses.dataclass(frozen=True)
class Grid:
    """One table."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[GridRow, ...]
    heading: int = 0  # which column names the row


def number(value: float | None, text: str, *, note: str = "", hint: str = "") -> Cell:
    """Return a cell that is sorted by a number; a dash where there is none."""
    return Cell("–" if value is None else text, value, note, hint)

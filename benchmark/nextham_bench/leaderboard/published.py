"""What others published, quoted: shown beside a ranking and never part of it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict


class Published(BaseModel):
    """One table of a publication."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    source: str
    data: str
    protocol: str
    unit: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]  # name of the row, then one text for each column
    notes: tuple[str, ...] = ()


@cache
def published() -> tuple[Published, ...]:
    """Return the tables that ship with this version."""
    text = files("nextham_bench.leaderboard").joinpath("published.yml").read_text(encoding="utf-8")
    return tuple(Published.model_validate(table) for table in yaml.safe_load(text))

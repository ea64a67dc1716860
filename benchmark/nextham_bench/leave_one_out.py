"""Leave one element out: one score for each element that a model never saw, read as a periodic table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from nextham.core import atomic_number
from nextham.exceptions import InputError
from nextham_bench.schema import Interval, Record, Scores


class ElementRow(Record):
    """The scored structures of one left-out element."""

    element: str
    n_structures: int
    overall_mev: float = Field(description="Gauge MAE of the structures, macro mean")
    h0_mev: float
    skill: float | None
    skill_interval: Interval | None
    touching_mev: float = Field(description="↑↑ real of the pairs that touch the element")
    touching_h0_mev: float
    touching_skill: float | None
    band_mev: float | None
    h0_band_mev: float | None
    ghost_share: float | None


class LeftOut(Record):
    """All left-out elements."""

    title: str
    protocol: str
    metric_version: str
    rows: tuple[ElementRow, ...]


def left_out(named: Mapping[str, Scores], title: str) -> LeftOut:
    """Return the rows of scores by element, in order of atomic number.

    Raises:
        InputError: if there is none, protocols or metric versions differ, or a score is partial or lacks its element.
    """
    if not named:
        raise InputError("name at least one scores file")
    before, first = next(iter(named.items()))
    for element, scores in named.items():
        if (scores.protocol, scores.metric_version) != (first.protocol, first.metric_version):
            raise InputError(
                f"{element} has protocol {scores.protocol} and metric version {scores.metric_version}, {before} "
                f"has {first.protocol} and {first.metric_version}; score them alike"
            )
        if scores.partial:
            raise InputError(f"the score of {element} is partial; complete the prediction and score it again")
        if element not in scores.headline.breakdowns["element"]:
            raise InputError(
                f"no structure that {scores.name} was scored on holds {element}; score the left-out subset"
            )
    rows = tuple(_row(element, named[element]) for element in sorted(named, key=atomic_number))
    return LeftOut(title=title, protocol=first.protocol, metric_version=first.metric_version, rows=rows)


def by_element(files: Sequence[tuple[Path, Scores]]) -> dict[str, Scores]:
    """Return scores by the element that each is about: its name, or the end of its file's or folder's name.

    Raises:
        InputError: if a score names no element, or two name the same.
    """
    found: dict[str, Scores] = {}
    for path, scores in files:
        element = _element_of(path, scores)
        if element in found:
            raise InputError(f"{path} and another file are both about {element}; give one for each element")
        found[element] = scores
    return found


def _element_of(path: Path, scores: Scores) -> str:
    """Return the element that a score, its file or its folder is called by, or else that one of their names ends in."""
    names = (scores.name, path.stem, path.parent.name)
    ends = (re.split(r"[^A-Za-z]+", name)[-1] for name in names)
    for name in (*names, *ends):
        try:
            atomic_number(name)
        except InputError:
            continue
        return name
    raise InputError(f"{path}: neither the score's name {scores.name!r} nor the file's says which element was left out")


def _row(element: str, scores: Scores) -> ElementRow:
    gauge, bands = scores.headline, scores.bands
    touching = gauge.breakdowns["element"][element].uu_real
    return ElementRow(
        element=element,
        n_structures=gauge.n_structures,
        overall_mev=gauge.overall.model.macro_mev,
        h0_mev=gauge.overall.h0.macro_mev,
        skill=gauge.overall.skill,
        skill_interval=gauge.intervals["skill"],
        touching_mev=touching.model.macro_mev,
        touching_h0_mev=touching.h0.macro_mev,
        touching_skill=touching.skill,
        band_mev=bands.model.mean_mev if bands else None,
        h0_band_mev=bands.h0.mean_mev if bands else None,
        ghost_share=bands.model.ghost_share if bands else None,
    )

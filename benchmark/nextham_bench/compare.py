"""Comparison: several scores of the same structures side by side, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from nextham.exceptions import InputError
from nextham_bench.schema import Interval, Record, Scores
from nextham_bench.statistics import interval_of_mean, paired_p_value
from nextham_bench.tables import skill

_NAMES = {"h0": "H0 alone", "zero": "zero"}


class Estimate(Record):
    """A number with its bootstrap interval over structures."""

    value: float | None = Field(description="null where there is none: bands that were not compared, a skill over zero")
    interval: Interval | None = Field(description="null for fewer than two structures")


class Row(Record):
    """One prediction of a comparison."""

    name: str
    n_structures: int
    overall_mev: Estimate = Field(description="Gauge MAE, macro mean")
    uu_real_mev: Estimate = Field(description="its ↑↑ real part")
    skill: Estimate = Field(description="1 - MAE(model)/MAE(h0)")
    excess_mev: Estimate = Field(description="overall Gauge MAE minus that of the first row, structures drawn in pairs")
    p_value: float | None = Field(
        description="two-sided paired permutation test of that difference; null for the first row and for one structure"
    )
    better_in: int | None = Field(description="structures with a smaller error than the first row's; null for that row")
    band_mev: Estimate = Field(description="band error")
    ghost_share: float | None = Field(description="share of structures with any ghost state")


class Comparison(Record):
    """Predictions of the same structures side by side."""

    title: str
    protocol: str
    subset: str | None
    reference_sha256: str
    rows: tuple[Row, ...]


def comparison(scores: Sequence[Scores], title: str) -> Comparison:
    """Return scores side by side, differences to the first of them.

    Raises:
        InputError: if they are not of the same structures, or a score is partial.
    """
    first = scores[0]
    if partial := next((one for one in scores if one.partial), None):
        raise InputError(f"{partial.name} is a partial score; compare scores of all structures")
    ids = [row.id for row in first.structures]
    if other := next((one for one in scores if [row.id for row in one.structures] != ids), None):
        raise InputError(f"{other.name} was scored on other structures than {first.name}; score one subset with both")
    return Comparison(
        title=title,
        protocol=first.protocol,
        subset=first.split.subset if first.split else None,
        reference_sha256=first.reference.sha256,
        rows=tuple(_row(one, first) for one in scores),
    )


def _row(one: Scores, first: Scores) -> Row:
    gauge, bands = one.headline, one.bands
    ours, theirs = _errors(one), _errors(first)
    excess = [a - b for a, b in zip(ours, theirs, strict=True)]
    return Row(
        name=_NAMES.get(one.baseline or "", one.name),
        n_structures=gauge.n_structures,
        overall_mev=Estimate(value=gauge.overall.model.macro_mev, interval=gauge.intervals["overall"]),
        uu_real_mev=Estimate(value=gauge.spin_blocks["uu"].real.model.macro_mev, interval=gauge.intervals["uu_real"]),
        skill=Estimate(
            value=skill(gauge.overall.model.macro_mev, gauge.overall.h0.macro_mev), interval=gauge.intervals["skill"]
        ),
        excess_mev=Estimate(value=sum(excess) / max(1, len(excess)), interval=interval_of_mean(excess)),
        p_value=None if one is first else paired_p_value(ours, theirs),
        better_in=None if one is first else sum(difference < 0 for difference in excess),
        band_mev=Estimate(
            value=None if bands is None else bands.model.mean_mev,
            interval=None if bands is None else bands.intervals["mean"],
        ),
        ghost_share=None if bands is None else bands.model.ghost_share,
    )


def _errors(scores: Scores) -> list[float]:
    return [row.overall_mev[scores.protocol]["model"] or 0.0 for row in scores.structures]

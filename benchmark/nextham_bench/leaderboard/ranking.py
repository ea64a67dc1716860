"""Ranking: entries of one group in order of their overall Gauge MAE, H0 and zero always among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import Field

from nextham_bench.leaderboard.entry import Entry
from nextham_bench.schema import Interval, Record, Scores
from nextham_bench.statistics import paired_p_value
from nextham_bench.tables import skill

BASELINES: Final[dict[Literal["h0", "zero"], str]] = {"h0": "H0 (no model)", "zero": "zero"}

_UNKNOWN: Final = (
    "parameters",
    "training_device_hours",
    "training_hardware",
    "inference_s",
    "h0_s",
    "inference_hardware",
    "date",
    "licence",
    "url",
    "entry",
)


class Line(Record):
    """One line of a ranking."""

    rank: int | None = Field(description="null for a baseline, which is shown in its place but not counted")
    name: str
    version: str
    baseline: Literal["zero", "h0"] | None
    origin: Literal["submitted", "reproduced", "scored along"] = Field(
        description="scored along: a baseline that has no entry of its own; its numbers come with every score"
    )
    overall_mev: float = Field(description="Gauge MAE, macro mean")
    overall_interval: Interval | None
    uu_real_mev: float
    skill: float | None
    skill_interval: Interval | None
    p_to_first: float | None = Field(description="paired permutation test of the mean against the first model")
    band_mev: float | None
    below: dict[str, float] = Field(description="share of structures with a band error below so many meV")
    ghost_share: float | None
    parameters: int | None
    training_device_hours: float | None
    training_hardware: str | None
    inference_s: float | None = Field(description="of one structure, from crystal to Hamiltonian, S and H0 included")
    h0_s: float | None = Field(description="of that, S and H0")
    inference_hardware: str | None
    date: str | None
    licence: str | None
    authors: tuple[str, ...]
    url: str | None
    entry: str | None = Field(description="file of the entry; null where there is none")


class Ranking(Record):
    """What may be compared, best first."""

    key: str
    dataset: str
    dataset_sha256: str
    subset: str | None
    split_sha256: str | None
    protocol: Literal["full", "paper"]
    metric_version: str
    n_structures: int
    n_elements: int = Field(description="counted matrix elements of one spin block")
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """What is ranked, in words."""
        return f"{self.dataset}, subset {self.subset}" if self.subset else self.dataset


def rankings(entries: Sequence[Entry]) -> list[tuple[Ranking, list[Entry]]]:
    """Return the ranking of each group with its entries in order, the group with most models first."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group.key, []).append(entry)
    ordered = sorted(groups.values(), key=lambda own: (-_n_models(own), own[0].group))
    return [_ranking(sorted(own, key=_order)) for own in ordered]


def _n_models(entries: Sequence[Entry]) -> int:
    return sum(entry.card.baseline is None for entry in entries)


def _order(entry: Entry) -> tuple[float, str, str]:
    return entry.scores.headline.overall.model.macro_mev, entry.card.name, entry.card.version


def _ranking(entries: list[Entry]) -> tuple[Ranking, list[Entry]]:
    models = [entry for entry in entries if entry.card.baseline is None]
    best = _errors(models[0].scores) if models else None
    lines = [_line(entry, models, best) for entry in entries]
    present = {entry.card.baseline for entry in entries}
    lines += [_scored_along(name, entries[0].scores) for name in BASELINES if name not in present]
    scores = entries[0].scores
    ranking = Ranking(
        key=entries[0].group.key,
        dataset=scores.reference.name,
        dataset_sha256=scores.reference.sha256,
        subset=scores.split.subset if scores.split else None,
        split_sha256=scores.split.sha256 if scores.split else None,
        protocol=scores.protocol,
        metric_version=scores.metric_version,
        n_structures=scores.headline.n_structures,
        n_elements=scores.headline.n_elements,
        lines=tuple(sorted(lines, key=lambda line: (line.overall_mev, line.name))),
    )
    return ranking, entries


def _errors(scores: Scores) -> dict[str, float]:
    return {row.id: row.overall_mev[scores.protocol]["model"] or 0.0 for row in scores.structures}


def _line(entry: Entry, models: Sequence[Entry], best: dict[str, float] | None) -> Line:
    card, scores = entry.card, entry.scores
    gauge, bands, cost = scores.headline, scores.bands, card.cost
    own = _errors(scores)
    against = None if best is None or entry is models[0] else [(own[id], best[id]) for id in best]
    return Line(
        rank=None if card.baseline else 1 + models.index(entry),
        name=card.name,
        version=card.version,
        baseline=card.baseline,
        origin=entry.origin,
        overall_mev=gauge.overall.model.macro_mev,
        overall_interval=gauge.intervals["overall"],
        uu_real_mev=gauge.spin_blocks["uu"].real.model.macro_mev,
        skill=gauge.overall.skill,
        skill_interval=gauge.intervals["skill"],
        p_to_first=None if against is None else paired_p_value(*zip(*against, strict=True)),
        band_mev=None if bands is None else bands.model.mean_mev,
        below={} if bands is None else bands.model.shares_below,
        ghost_share=None if bands is None else bands.model.ghost_share,
        parameters=card.parameters,
        training_device_hours=cost.training.device_hours if cost else None,
        training_hardware=cost.training.hardware if cost else None,
        inference_s=cost.inference.total_s if cost else None,
        h0_s=cost.inference.h0_s if cost else None,
        inference_hardware=cost.inference.hardware if cost else None,
        date=card.date.isoformat(),
        licence=card.licence,
        authors=tuple(author.name for author in card.authors),
        url=card.url,
        entry=entry.file_name,
    )


def _scored_along(baseline: Literal["h0", "zero"], scores: Scores) -> Line:
    """Return the line of a baseline from the columns that every score has."""
    gauge = scores.headline
    overall, uu = getattr(gauge.overall, baseline), getattr(gauge.spin_blocks["uu"].real, baseline)
    bands = scores.bands.h0 if scores.bands is not None and baseline == "h0" else None
    return Line(
        rank=None,
        name=BASELINES[baseline],
        version="",
        baseline=baseline,
        origin="scored along",
        overall_mev=overall.macro_mev,
        overall_interval=gauge.intervals["h0_overall"] if baseline == "h0" else None,
        uu_real_mev=uu.macro_mev,
        skill=skill(overall.macro_mev, gauge.overall.h0.macro_mev),
        skill_interval=None,
        p_to_first=None,
        band_mev=bands.mean_mev if bands else None,
        below=bands.shares_below if bands else {},
        ghost_share=bands.ghost_share if bands else None,
        **dict.fromkeys(_UNKNOWN),
        authors=(),
    )

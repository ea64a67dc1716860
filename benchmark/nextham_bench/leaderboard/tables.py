"""A board as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from nextham_bench.leaderboard.published import published
from nextham_bench.leaderboard.ranking import Line, Ranking
from nextham_bench.schema import Record
from nextham_bench.terminal import count, counted, escaped, mev, p_text, percent

_HEAD = ("", "model", "overall", "↑↑ real", "skill", "p", "bands", "ghosts in", "parameters", "s / structure")
_CSV = (
    *("ranking", "dataset", "subset", "protocol", "metric_version", "n_structures"),
    *("rank", "name", "version", "baseline", "origin", "overall_mev", "uu_real_mev", "skill", "p_to_first", "band_mev"),
    *("ghost_share", "parameters", "training_device_hours", "training_hardware", "inference_s", "h0_s"),
    *("inference_hardware", "date", "licence", "authors", "url"),
)


class Board(Record):
    """A board in JSON."""

    rankings: tuple[Ranking, ...]


def as_json(rankings: Sequence[Ranking]) -> str:
    """Return all rankings with all their numbers."""
    return Board(rankings=tuple(rankings)).model_dump_json(indent=1) + "\n"


def as_csv(rankings: Sequence[Ranking]) -> str:
    """Return one row for each line of each ranking.

    Texts that a spreadsheet would take for a formula are preceded by an apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV)
    for ranking in rankings:
        for line in ranking.lines:
            facts = {**line.model_dump(), **ranking.model_dump(exclude={"lines"}), "ranking": ranking.key}
            facts["authors"] = "; ".join(line.authors)
            writer.writerow([_plain(facts[name]) for name in _CSV])
    return out.getvalue()


def _plain(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t"} else value


def as_markdown(rankings: Sequence[Ranking]) -> str:
    """Return the tables for a README."""
    parts = []
    for ranking in rankings:
        parts += [
            f"**{escaped(ranking.title)}**: {counted(ranking.n_structures, 'structure')}, "
            f"protocol `{ranking.protocol}`, metric version {ranking.metric_version}; "
            "Gauge MAE and bands in meV, macro means",
            "",
            f"| {' | '.join(_HEAD)} |",
            f"|---:|---|{'---:|' * (len(_HEAD) - 2)}",
            *(f"| {' | '.join(map(escaped, cells(line)))} |" for line in ranking.lines),
            "",
        ]
    parts += ["Skill = 1 - MAE / MAE(H0). p: paired permutation test against the first model.", ""]
    for table in published():
        parts += [
            f"Quoted, not ranked: {table.title}, {table.data}, protocol `{table.protocol}`, in {table.unit}",
            "",
            f"| | {' | '.join(table.columns)} |",
            f"|---|{'---:|' * len(table.columns)}",
            *(f"| {' | '.join(map(escaped, row))} |" for row in table.rows),
            "",
        ]
    return "\n".join(parts)


def cells(line: Line) -> tuple[str, ...]:
    """Return what a table says of a line."""
    return (
        "" if line.rank is None else str(line.rank),
        f"{line.name} {line.version}".strip(),
        mev(line.overall_mev),
        mev(line.uu_real_mev),
        percent(line.skill),
        p_text(line.p_to_first),
        "–" if line.band_mev is None else f"{line.band_mev:.1f}",
        percent(line.ghost_share),
        count(line.parameters),
        "–" if line.inference_s is None else f"{line.inference_s:.3g}",
    )

"""Tables of a leaderboard's page: one line a model, and what its card says."""

from __future__ import annotations

from collections.abc import Sequence

from nextham_bench.leaderboard.ranking import Line, Ranking
from nextham_bench.report.content import between
from nextham_bench.report.grid import Cell, Column, Grid, GridRow, number
from nextham_bench.submission.card import Card
from nextham_bench.terminal import count, mev, p_text, percent


def ranking_grid(ranking: Ranking) -> Grid:
    """Return the sortable table of a ranking."""
    limits = next((tuple(line.below) for line in ranking.lines if line.below), ())
    columns = (
        Column("#", hint="by overall Gauge MAE; baselines are not counted"),
        Column("model", "text"),
        Column("overall", hint="Gauge MAE, macro mean, meV, with its bootstrap interval"),
        Column("↑↑ real", hint="Gauge MAE of the real part of the ↑↑ block, meV"),
        Column("skill", hint="1 - MAE / MAE(H0)"),
        Column("p", hint="paired permutation test against the first model"),
        Column("band error", hint="mean |ε_P - ε_H| in the window, meV"),
        *(
            Column(f"< {limit} meV", hint=f"share of structures with a band error below {limit} meV")
            for limit in limits
        ),
        Column("ghosts in", hint="share of structures with any ghost state"),
        Column("parameters"),
        Column("training, h", hint="hours times devices"),
        Column("s / structure", hint="from crystal to Hamiltonian, S and H0 included"),
        Column("of it H0", hint="seconds for S and H0 of one structure"),
    )
    return Grid(ranking.title, columns, tuple(_row(line, limits) for line in ranking.lines), heading=1)


def _row(line: Line, limits: Sequence[str]) -> GridRow:
    by = ", ".join(line.authors[:2]) + (f" and {len(line.authors) - 2} more" if len(line.authors) > 2 else "")
    cells = (
        number(line.rank, str(line.rank)) if line.rank else Cell(""),
        Cell(f"{line.name} {line.version}".strip(), note=by, url=line.url),
        number(line.overall_mev, mev(line.overall_mev), note=_interval(line)),
        number(line.uu_real_mev, mev(line.uu_real_mev)),
        number(line.skill, percent(line.skill)),
        number(line.p_to_first, p_text(line.p_to_first)),
        number(line.band_mev, f"{line.band_mev:.1f}" if line.band_mev is not None else ""),
        *(number(line.below.get(limit), percent(line.below.get(limit))) for limit in limits),
        number(line.ghost_share, percent(line.ghost_share)),
        number(line.parameters, count(line.parameters)),
        number(line.training_device_hours, _short(line.training_device_hours), hint=line.training_hardware or ""),
        number(line.inference_s, _short(line.inference_s), hint=line.inference_hardware or ""),
        number(line.h0_s, _short(line.h0_s)),
    )
    return GridRow(cells, "baseline" if line.baseline else "main" if line.rank == 1 else "")


def _interval(line: Line) -> str:
    return between(line.overall_interval).partition(" (")[0] if line.overall_interval else ""


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def card_facts(card: Card, origin: str) -> list[tuple[str, str]]:
    """Return what a card says, as name and value."""
    people = [f"{a.name} ({a.affiliation})" if a.affiliation else a.name for a in card.authors]
    made = {"reproduced": "made here by the command of the card", "submitted": "submitted; the card names its sha256"}
    found = [
        *([("summary", card.summary)] if card.summary else []),
        ("authors", ", ".join(people)),
        ("licence", card.licence),
        ("date", card.date.isoformat()),
        *([] if card.baseline else [("prediction", made[origin])]),
    ]
    for one in card.training_sets:
        size = f", {one.n_structures} structures" if one.n_structures else ""
        found.append(("training data", f"{one.name}{size}"))
        found += [("training data sha256", one.sha256)] if one.sha256 else []
    if card.parameters is not None:
        found.append(("parameters", f"{card.parameters:,}".replace(",", " ")))
    if card.cost is not None:
        training, inference = card.cost.training, card.cost.inference
        each = f"{inference.total_s:.3g} s for one structure, {inference.h0_s:.3g} s of it S and H0"
        found += [
            ("training", f"{training.device_hours:.3g} device hours, {training.hardware}"),
            ("inference", f"{each}, {inference.hardware}"),
        ]
    found += [("checkpoint sha256", card.checkpoint.sha256)] if card.checkpoint else []
    found += [("prediction sha256", one.sha256) for one in card.predictions]
    return [*found, *([("notes", card.notes)] if card.notes else [])]


def card_links(card: Card) -> list[tuple[str, str]]:
    """Return the addresses that a card gives: what they are, and where."""
    found = [("code or paper", card.url), ("checkpoint", card.checkpoint.url if card.checkpoint else None)]
    found += [(f"training data: {one.name}", one.url) for one in card.training_sets]
    found += [("prediction", one.url) for one in card.predictions]
    return [(name, url) for name, url in found if url]

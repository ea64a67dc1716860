"""The page of a leave-one-element-out study: how well a model does on elements that it never saw."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from nextham.files import whole
from nextham_bench.leave_one_out import ElementRow, LeftOut
from nextham_bench.report.content import between
from nextham_bench.report.environment import Download, render
from nextham_bench.report.grid import Cell, Column, Grid, GridRow, number
from nextham_bench.report.heat import Layer, Scale, periodic_table
from nextham_bench.terminal import counted, mev, percent


def write_elements(found: LeftOut, path: Path) -> None:
    """Write the page, and ``elements.csv`` and ``elements.json`` beside it."""
    texts = {"elements.csv": as_csv(found), "elements.json": found.model_dump_json(indent=1) + "\n"}
    page = elements_page(found, [Download(name, content) for name, content in texts.items()])
    for file, text in {path: page, **{path.with_name(name): text for name, text in texts.items()}}.items():
        with whole(file) as part:
            part.write_text(text, encoding="utf-8")


def elements_page(found: LeftOut, downloads: list[Download]) -> str:
    """Return the HTML page."""
    return render(
        "elements.html.j2",
        found=found,
        table=periodic_table(_layers(found), {row.element: _said(row) for row in found.rows}),
        grid=_grid(found),
        n_better=sum((row.skill or 0.0) > 0 for row in found.rows),
        downloads=downloads,
    )


def as_csv(found: LeftOut) -> str:
    """Return one row for each element."""
    out = io.StringIO()
    names = [name for name in ElementRow.model_fields if name != "skill_interval"]
    writer = csv.DictWriter(out, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in found.rows)
    return out.getvalue()


def _layers(found: LeftOut) -> list[Layer]:
    skills = {row.element: row.skill for row in found.rows if row.skill is not None}
    touching = {row.element: row.touching_skill for row in found.rows if row.touching_skill is not None}
    model, h0 = ({row.element: getattr(row, name) for row in found.rows} for name in ("overall_mev", "h0_mev"))
    errors = Scale.over([*model.values(), *h0.values()])
    ends = (f"{errors.low:.3g} meV", f"{errors.high:.3g} meV")
    skill_ends = ("worse than H0", "better")
    return [
        Layer("skill", "skill on its structures", skills, Scale.skill(), _percent, skill_ends),
        Layer("touching", "skill on pairs that touch it, ↑↑ real", touching, Scale.skill(), _percent, skill_ends),
        Layer("model", "error of the model", model, errors, lambda v: f"{v:.3g}", ends),
        Layer("h0", "error of H0", h0, errors, lambda v: f"{v:.3g}", ends),
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _said(row: ElementRow) -> str:
    n = counted(row.n_structures, "structure")
    return (
        f"{row.element} left out: skill {percent(row.skill)} on {n}, {percent(row.touching_skill)} on the pairs that "
        f"touch it; model {mev(row.overall_mev)} meV, H0 {mev(row.h0_mev)} meV"
    )


def _grid(found: LeftOut) -> Grid:
    rows = []
    for row in found.rows:
        interval = between(row.skill_interval, share=True).partition(" (")[0] if row.skill_interval else ""
        cells = (
            Cell(row.element),
            number(row.n_structures, str(row.n_structures)),
            number(row.overall_mev, mev(row.overall_mev)),
            number(row.h0_mev, mev(row.h0_mev)),
            number(row.skill, percent(row.skill), note=interval),
            number(row.touching_skill, percent(row.touching_skill)),
            number(row.band_mev, f"{row.band_mev:.1f}" if row.band_mev is not None else ""),
            number(row.h0_band_mev, f"{row.h0_band_mev:.1f}" if row.h0_band_mev is not None else ""),
            number(row.ghost_share, percent(row.ghost_share)),
        )
        rows.append(GridRow(cells))
    columns = (
        Column("left out", "text"),
        Column("structures"),
        Column("model", hint="overall Gauge MAE, macro mean, meV"),
        Column("H0"),
        Column("skill"),
        Column("skill, touching", hint="↑↑ real of the pairs that touch the element"),
        Column("band error", hint="meV"),
        Column("band error of H0"),
        Column("ghosts in"),
    )
    return Grid("Elements that were left out", columns, tuple(rows))

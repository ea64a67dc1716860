"""What stands in the tables about one score: plain values, ready for the template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nextham_bench.report.grid import Cell, Column, Grid, GridRow, number
from nextham_bench.report.heat import Layer, Scale, periodic_table
from nextham_bench.schema import BandColumn, BreakdownRow, Interval, Scores
from nextham_bench.tables import skill
from nextham_bench.terminal import counted, mev, percent


def tiles(main: Scores) -> list[dict[str, str]]:
    """Return the headline numbers."""
    gauge = main.headline
    found = [
        ("Overall Gauge MAE", mev(gauge.overall.model.macro_mev), "meV", between(gauge.intervals["overall"])),
        ("Skill over H0", percent(gauge.overall.skill), "", between(gauge.intervals["skill"], share=True)),
        (
            "↑↑ real",
            mev(gauge.spin_blocks["uu"].real.model.macro_mev),
            "meV",
            f"H0 {mev(gauge.spin_blocks['uu'].real.h0.macro_mev)} meV",
        ),
    ]
    if main.bands is not None:
        model, h0 = main.bands.model, main.bands.h0
        limit, share = list(model.shares_below.items())[-1]
        found += [
            ("Band error", f"{model.mean_mev:.1f}", "meV", f"H0 {h0.mean_mev:.1f} meV"),
            (f"Below {limit} meV", percent(share), "", f"of structures; H0 {percent(h0.shares_below[limit])}"),
            ("Ghost states", percent(model.ghost_share), "", f"of structures; H0 {percent(h0.ghost_share)}"),
        ]
    return [dict(zip(("name", "value", "unit", "note"), tile, strict=True)) for tile in found]


def between(interval: Interval | None, *, share: bool = False) -> str:
    """Return an interval in words."""
    if interval is None:
        return "too few structures for an interval"
    low, high = (percent(x) if share else mev(x) for x in (interval.low, interval.high))
    return f"{low} to {high} ({100 * interval.confidence:.0f} % interval)"


def scored_grid(main: Scores, scores: Sequence[Scores]) -> Grid:
    """Return one line a score, best first; partial scores last, H0 always there."""
    lines = [_scored(one, main) for one in scores]
    if not any(one.baseline == "h0" for one in scores):
        lines.append(_h0_of(main))
    columns = ("overall", "↑↑ real", "skill", "bands", "ghosts in", "structures")
    return Grid(
        "Predictions, best first",
        (Column("prediction", "text"), *(Column(name) for name in columns)),
        tuple(row for _, row in sorted(lines, key=lambda line: line[0])),
    )


def _scored(one: Scores, main: Scores) -> tuple[tuple[bool, float], GridRow]:
    columns, bands = one.headline.overall, one.bands
    name = {"h0": "H0 (baseline)", "zero": "zero (baseline)"}.get(one.baseline or "", one.name)
    uu = one.headline.spin_blocks["uu"].real.model.macro_mev
    cells = (
        Cell(f"{name} (partial, not ranked)" if one.partial else name),
        number(columns.model.macro_mev, mev(columns.model.macro_mev)),
        number(uu, mev(uu)),
        number(columns.skill, percent(columns.skill)),
        *_band_cells(bands.model if bands else None),
        number(one.headline.n_structures, str(one.headline.n_structures)),
    )
    kind = "main" if one is main else "baseline" if one.baseline else ""
    return (one.partial, columns.model.macro_mev), GridRow(cells, kind)  # type: ignore[arg-type]


def _h0_of(main: Scores) -> tuple[tuple[bool, float], GridRow]:
    columns, uu = main.headline.overall, main.headline.spin_blocks["uu"].real
    cells = (
        Cell("H0 (baseline)"),
        number(columns.h0.macro_mev, mev(columns.h0.macro_mev)),
        number(uu.h0.macro_mev, mev(uu.h0.macro_mev)),
        number(0.0, percent(0.0)),
        *_band_cells(main.bands.h0 if main.bands else None),
        number(main.headline.n_structures, str(main.headline.n_structures)),
    )
    return (False, columns.h0.macro_mev), GridRow(cells, "baseline")


def _band_cells(column: BandColumn | None) -> tuple[Cell, Cell]:
    if column is None:
        return number(None, ""), number(None, "")
    return number(column.mean_mev, f"{column.mean_mev:.1f}"), number(column.ghost_share, percent(column.ghost_share))


def said(name: str, row: BreakdownRow) -> str:
    """Return the numbers of one element or orbital pair in a sentence."""
    numbers = row.uu_real
    n = counted(row.n_structures, "structure")
    return (
        f"{name}: model {mev(numbers.model.macro_mev)} meV, H0 {mev(numbers.h0.macro_mev)} meV, "
        f"skill {percent(numbers.skill)}, {n}"
    )


def elements(main: Scores) -> dict[str, Any]:
    """Return the periodic table of errors and skill."""
    held = main.headline.breakdowns["element"]
    model = {name: row.uu_real.model.macro_mev for name, row in held.items()}
    h0 = {name: row.uu_real.h0.macro_mev for name, row in held.items()}
    skills = {name: row.uu_real.skill for name, row in held.items() if row.uu_real.skill is not None}
    errors = Scale.over([*model.values(), *h0.values()])
    ends = (f"{errors.low:.3g} meV", f"{errors.high:.3g} meV")
    layers = [
        Layer("model", "error of the model", model, errors, lambda v: f"{v:.3g}", ends),
        Layer("skill", "skill over H0", skills, Scale.skill(), lambda v: f"{100 * v:.0f} %", ("worse", "better")),
        Layer("h0", "error of H0", h0, errors, lambda v: f"{v:.3g}", ends),
    ]
    return periodic_table(layers, {name: said(name, row) for name, row in held.items()})


def elements_grid(main: Scores) -> Grid:
    """Return the same numbers as a table."""
    rows = []
    for name, row in main.headline.breakdowns["element"].items():
        numbers = row.uu_real
        cells = (
            Cell(name),
            number(numbers.model.macro_mev, mev(numbers.model.macro_mev)),
            number(numbers.h0.macro_mev, mev(numbers.h0.macro_mev)),
            number(numbers.skill, percent(numbers.skill)),
            number(row.n_structures, str(row.n_structures)),
        )
        rows.append(GridRow(cells))
    columns = (Column("element", "text"), *(Column(name) for name in ("model", "H0", "skill", "structures")))
    return Grid("Errors by element, meV", columns, tuple(rows))


def orbitals(main: Scores) -> dict[str, Any]:
    """Return the cells of the orbital-pair table."""
    held = main.headline.breakdowns["orbital_pair"]
    scale = Scale.over([row.uu_real.model.macro_mev for row in held.values()])
    names = [l for l in "spdfghi" if any(l in label.split("-") for label in held)]
    lines = []
    for a, first in enumerate(names):
        cells: list[dict[str, str] | None] = []
        for second in names[: a + 1]:
            label = f"{second}-{first}"
            if label not in held:
                cells.append(None)
                continue
            value = held[label].uu_real.model.macro_mev
            background, text = scale.paint(value)
            cells.append({"colour": background, "text": text, "title": said(label, held[label]), "value": mev(value)})
        lines.append((first, cells))
    return {"names": names, "rows": lines}


def worst_grid(main: Scores) -> Grid:
    """Return the lines of the worst structures."""
    by_id = {row.id: row for row in main.structures}
    rows = []
    for id in main.worst:
        row = by_id[id]
        values = row.overall_mev[main.protocol]
        model, h0 = values["model"] or 0.0, values["h0"] or 0.0
        bands = row.bands["model"] if row.bands else None
        cells = (
            Cell(id),
            Cell(row.formula),
            number(row.n_atoms, str(row.n_atoms)),
            number(model, mev(model)),
            number(h0, mev(h0)),
            number(skill(model, h0), percent(skill(model, h0))),
            number(bands.mean_mev if bands else None, f"{bands.mean_mev:.1f}" if bands else ""),
            number(bands.ghost_k_share if bands else None, percent(bands.ghost_k_share) if bands else ""),
        )
        rows.append(GridRow(cells))
    texts = (Column("structure", "text"), Column("formula", "text"))
    numbers = ("atoms", "model", "H0", "skill", "band error", "k points with ghosts")
    return Grid("Structures with the largest errors, meV", (*texts, *(Column(n) for n in numbers)), tuple(rows))


def provenance(main: Scores) -> list[tuple[str, str]]:
    """Return what one needs to make the same numbers again."""
    found = [
        ("reference", f"{main.reference.name}, {main.reference.n_structures} structures"),
        ("reference sha256", main.reference.sha256),
        ("H0 definition", main.reference.h0_definition or "not recorded"),
        ("orbital basis", main.reference.basis),
    ]
    if main.split is not None:
        found += [("subset", main.split.subset), ("split sha256", main.split.sha256)]
    if main.prediction is not None:
        found += [("prediction", main.prediction.name), ("prediction sha256", main.prediction.sha256)]
    if main.bands is not None:
        condition = main.bands.max_overlap_condition
        found += [
            ("overlap filter", f"{main.bands.overlap_filter:g}"),
            ("largest cond(S(k))", "singular" if condition is None else f"{condition:.3g}"),
        ]
    return [
        *found,
        ("metric version", main.metric_version),
        ("code version", main.code_version),
        ("schema version", main.schema_version),
    ]

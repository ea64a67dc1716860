"""What stands in the report's tables: plain values made from scores, ready for the template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nextham.core import atomic_number, symbol
from nextham_bench.report.figures import colours
from nextham_bench.report.periodic import place
from nextham_bench.schema import BreakdownRow, Interval, Scores
from nextham_bench.tables import skill
from nextham_bench.terminal import mev, percent


def tiles(main: Scores) -> list[dict[str, str]]:
    """Return the headline numbers."""
    gauge = main.headline
    found = [
        ("Overall Gauge MAE", mev(gauge.overall.model.macro_mev), "meV", _interval(gauge.intervals["overall"])),
        ("Skill over H0", percent(gauge.overall.skill), "", _interval(gauge.intervals["skill"], share=True)),
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


def _interval(interval: Interval | None, *, share: bool = False) -> str:
    if interval is None:
        return "too few structures for an interval"
    low, high = (percent(x) if share else mev(x) for x in (interval.low, interval.high))
    return f"{low} to {high} ({100 * interval.confidence:.0f} % interval)"


def ranking(main: Scores, scores: Sequence[Scores]) -> list[dict[str, Any]]:
    """Return one line a score, best first; partial scores last, H0 always there."""
    shown = list(scores)
    lines = [_ranked(one, main) for one in shown]
    if not any(one.baseline == "h0" for one in shown):
        columns, uu = main.headline.overall, main.headline.spin_blocks["uu"].real
        lines.append(
            {
                "key": (False, columns.h0.macro_mev),
                "main": False,
                "name": "H0 (baseline)",
                "overall": mev(columns.h0.macro_mev),
                "uu": mev(uu.h0.macro_mev),
                "skill": percent(0.0),
                "bands": "–" if main.bands is None else f"{main.bands.h0.mean_mev:.1f}",
                "ghosts": "–" if main.bands is None else percent(main.bands.h0.ghost_share),
                "structures": main.headline.n_structures,
            }
        )
    return sorted(lines, key=lambda line: line["key"])


def _ranked(one: Scores, main: Scores) -> dict[str, Any]:
    columns = one.headline.overall
    name = {"h0": "H0 (baseline)", "zero": "zero (baseline)"}.get(one.baseline or "", one.name)
    return {
        "key": (one.partial, columns.model.macro_mev),
        "main": one is main,
        "name": f"{name} (partial, not ranked)" if one.partial else name,
        "overall": mev(columns.model.macro_mev),
        "uu": mev(one.headline.spin_blocks["uu"].real.model.macro_mev),
        "skill": percent(columns.skill),
        "bands": "–" if one.bands is None else f"{one.bands.model.mean_mev:.1f}",
        "ghosts": "–" if one.bands is None else percent(one.bands.model.ghost_share),
        "structures": one.headline.n_structures,
    }


def _hover(name: str, row: BreakdownRow) -> str:
    numbers = row.uu_real
    n = f"{row.n_structures} structure{'s' * (row.n_structures != 1)}"
    return (
        f"{name}: model {mev(numbers.model.macro_mev)} meV, H0 {mev(numbers.h0.macro_mev)} meV, "
        f"skill {percent(numbers.skill)}, {n}"
    )


def elements(main: Scores) -> list[dict[str, Any]]:
    """Return the cells of the periodic table."""
    held = main.headline.breakdowns["element"]
    paint = dict(zip(held, colours([row.uu_real.model.macro_mev for row in held.values()]), strict=True))
    largest = max((atomic_number(name) for name in held), default=1)
    cells = []
    for number in range(1, max(86, largest) + 1):
        name = symbol(number)
        row, column = place(number)
        cell: dict[str, Any] = {"symbol": name, "row": row, "column": column, "title": ""}
        if name in held:
            background, text = paint[name]
            value = f"{held[name].uu_real.model.macro_mev:.3g}"
            cell |= {"title": _hover(name, held[name]), "colour": background, "text": text, "value": value}
        cells.append(cell)
    return cells


def orbitals(main: Scores) -> dict[str, Any]:
    """Return the cells of the orbital-pair table."""
    held = main.headline.breakdowns["orbital_pair"]
    paint = dict(zip(held, colours([row.uu_real.model.macro_mev for row in held.values()]), strict=True))
    names = [l for l in "spdfghi" if any(l in label.split("-") for label in held)]
    lines = []
    for a, first in enumerate(names):
        cells: list[dict[str, str] | None] = []
        for second in names[: a + 1]:
            label = f"{second}-{first}"
            if label not in held:
                cells.append(None)
                continue
            background, text = paint[label]
            value = mev(held[label].uu_real.model.macro_mev)
            cells.append({"colour": background, "text": text, "title": _hover(label, held[label]), "value": value})
        lines.append((first, cells))
    return {"names": names, "rows": lines}


def worst(main: Scores) -> list[dict[str, Any]]:
    """Return the lines of the worst structures."""
    by_id = {row.id: row for row in main.structures}
    lines = []
    for id in main.worst:
        row = by_id[id]
        values = row.overall_mev[main.protocol]
        model, h0 = values["model"] or 0.0, values["h0"] or 0.0
        bands = row.bands["model"] if row.bands else None
        lines.append(
            {
                "id": id,
                "formula": row.formula,
                "n_atoms": row.n_atoms,
                "model": mev(model),
                "h0": mev(h0),
                "skill": percent(skill(model, h0)),
                "bands": "–" if bands is None else f"{bands.mean_mev:.1f}",
                "ghosts": "–" if bands is None else percent(bands.ghost_k_share),
            }
        )
    return lines


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

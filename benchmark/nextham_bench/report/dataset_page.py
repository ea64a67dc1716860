"""The page of a dataset."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Final

from nextham.files import whole
from nextham_bench.dataset_facts import CostFacts, DatasetFacts, ElementFacts, StructureFacts
from nextham_bench.report import dataset_figures as draw
from nextham_bench.report.environment import Download, figure, render
from nextham_bench.report.grid import Cell, Column, Grid, GridRow, number
from nextham_bench.report.heat import Layer, Scale, periodic_table
from nextham_bench.terminal import counted, percent

_MOST_GROUPS: Final = 20  # space groups in the table
_MOST_BYTES: Final = 4_000_000  # of a table that the page carries in itself


def write_dataset_page(facts: DatasetFacts, path: Path) -> None:
    """Write the page, and ``<name>.json`` and ``<name>.csv`` (a row for each structure) beside it."""
    files = {f"{path.stem}.json": facts.model_dump_json(indent=1) + "\n", f"{path.stem}.csv": structures_csv(facts)}
    carried = [Download(name, text) for name, text in files.items() if len(text) < _MOST_BYTES]
    texts = {path: dataset_page(facts, carried)} | {path.with_name(name): text for name, text in files.items()}
    for file, text in texts.items():
        with whole(file) as part:
            part.write_text(text, encoding="utf-8")


def dataset_page(facts: DatasetFacts, downloads: list[Download]) -> str:
    """Return the HTML page."""
    rows, key = facts.structures, facts.name
    said = {row.element: _said(row) for row in facts.elements}
    return render(
        "dataset.html.j2",
        facts=facts,
        downloads=downloads,
        tiles=_tiles(facts),
        table=periodic_table(_layers(facts), said),
        worth=periodic_table(worth, said) if (worth := _worth(facts)) else None,
        elements=_elements(facts),
        groups=_groups(facts),
        causes=_causes(facts),
        cost=_cost(facts.cost),
        about=_about(facts.about),
        sizes=figure(draw.sizes(rows, key)),
        orbitals=figure(draw.orbitals(rows, key)),
        crystals=figure(draw.crystals(facts.crystal_systems, key)),
        gaps=figure(draw.gaps(rows, key)),
        conditions=figure(draw.conditions(rows, key)),
        corrections=figure(draw.corrections(rows, key)),
        costs=figure(draw.costs(rows, key)),
    )


def structures_csv(facts: DatasetFacts) -> str:
    """Return one row for each structure."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(StructureFacts.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in facts.structures)
    return out.getvalue()


def _tiles(facts: DatasetFacts) -> list[dict[str, str]]:
    rows = facts.structures
    seen = facts.n_structures + facts.n_failed
    atoms = [row.n_atoms for row in rows]
    gaps = [row.gap_ev for row in rows if row.gap_ev is not None]
    means = sorted(row.mean_correction_mev for row in rows if row.mean_correction_mev is not None)
    found = [
        ("Structures", f"{facts.n_structures:,}".replace(",", " "), f"of {facts.n_compositions} compositions"),
        ("Elements", str(sum(row.n_structures > 0 for row in facts.elements)), f"{min(atoms)} to {max(atoms)} atoms"),
        ("Yield", percent(facts.n_structures / seen), f"{facts.n_failed} of {seen} failed"),
    ]
    if gaps:
        found += [("With a gap", percent(sum(gap > 0 for gap in gaps) / len(gaps)), f"of {len(gaps)} that tell")]
    if means:
        middle = means[len(means) // 2]
        found += [("Mean |H - H0|", f"{middle:.3g} meV", f"median; {means[0]:.2g} to {means[-1]:.2g}")]
    if facts.cost is not None:
        found += [("Cost of H0", percent(facts.cost.share), "of self-consistency, wall time")]
    return [dict(zip(("name", "value", "note"), tile, strict=True)) for tile in found]


def _layers(facts: DatasetFacts) -> list[Layer]:
    held = {row.element: float(row.n_structures) for row in facts.elements}
    scale = Scale.counts(list(held.values()))
    ends = (f"{scale.low:.0f}", f"{scale.high:.0f}")
    layers = [Layer("count", "structures with the element", held, scale, "{:.0f}".format, ends)]
    if facts.n_failed:
        yields = {row.element: _yield(row) for row in facts.elements}
        layers += [Layer("yield", "yield", yields, Scale("cividis", 0.0, 1.0), _share, ("0 %", "100 %"))]
    return layers


def _worth(facts: DatasetFacts) -> list[Layer]:
    layers = []
    for name, title in (("onsite_mev", "|H - H0| on site"), ("touching_mev", "|H - H0| of all its pairs")):
        values = {row.element: value for row in facts.elements if (value := getattr(row, name)) is not None}
        if values:
            scale = Scale.over(list(values.values()))
            ends = (f"{scale.low:.3g} meV", f"{scale.high:.3g} meV")
            layers += [Layer(name.partition("_")[0], title, values, scale, "{:.3g}".format, ends)]
    return layers


def _yield(row: ElementFacts) -> float:
    return row.n_structures / max(1, row.n_structures + row.n_failed)


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _said(row: ElementFacts) -> str:
    text = f"{row.element}: {counted(row.n_structures, 'structure')}"
    if row.n_failed:
        causes = ", ".join(f"{n} {cause}" for cause, n in row.causes.items())
        text += f", {row.n_failed} failed ({causes}), yield {percent(_yield(row))}"
    if row.onsite_mev is not None and row.touching_mev is not None:
        text += f"; |H - H0| {row.onsite_mev:.3g} meV on site, {row.touching_mev:.3g} meV over its pairs"
    return text


def _elements(facts: DatasetFacts) -> Grid:
    rows = []
    for row in facts.elements:
        causes = ", ".join(f"{n} {cause}" for cause, n in row.causes.items())
        cells = (
            Cell(row.element),
            number(row.n_structures, str(row.n_structures)),
            number(row.n_failed, str(row.n_failed), hint=causes),
            number(_yield(row), percent(_yield(row))),
            number(row.onsite_mev, f"{row.onsite_mev or 0:.3g}"),
            number(row.touching_mev, f"{row.touching_mev or 0:.3g}"),
            Cell(causes),
        )
        rows.append(GridRow(cells))
    columns = (
        Column("element", "text"),
        Column("structures"),
        Column("failed"),
        Column("yield"),
        Column("|H - H0| on site, meV", hint="real part of ↑↑, after the best shift; mean over structures"),
        Column("|H - H0| of its pairs, meV", hint="the same over all pairs that touch the element"),
        Column("causes", "text"),
    )
    return Grid("Elements", columns, tuple(rows))


def _groups(facts: DatasetFacts) -> Grid:
    shown = list(facts.space_groups.items())[:_MOST_GROUPS]
    rows = [GridRow((Cell(name), number(n, str(n)), number(n, percent(n / facts.n_structures)))) for name, n in shown]
    more = len(facts.space_groups) - len(shown)
    caption = "Space groups" + (f", the {len(shown)} most frequent of {more + len(shown)}" if more else "")
    return Grid(caption, (Column("space group", "text"), Column("structures"), Column("share")), tuple(rows))


def _causes(facts: DatasetFacts) -> Grid:
    rows = [
        GridRow((Cell(row.cause), number(row.count, str(row.count)), Cell(row.meaning), Cell(row.example)))
        for row in facts.causes
    ]
    columns = (Column("cause", "text"), Column("structures"), Column("meaning", "text"), Column("one of them", "text"))
    return Grid("Causes of failure", columns, tuple(rows))


def _cost(cost: CostFacts | None) -> list[tuple[str, str]]:
    if cost is None:
        return []
    found = [
        ("structures that tell both", str(cost.n_structures)),
        ("H0", f"{_seconds(cost.h0_wall_s)} of wall time"),
        ("self-consistency", f"{_seconds(cost.scf_wall_s)} of wall time"),
        ("H0 in all", f"{percent(cost.share)} of self-consistency; median of structures {percent(cost.median_share)}"),
    ]
    if cost.h0_cpu_s is not None and cost.scf_cpu_s is not None:
        share = percent(cost.cpu_share)
        found += [("CPU time", f"{_seconds(cost.h0_cpu_s)} against {_seconds(cost.scf_cpu_s)}: {share}")]
    return found


def _seconds(value: float) -> str:
    """Return a time in the unit that suits it.

    >>> _seconds(12.3), _seconds(500), _seconds(20000)
    ('12.3 s', '8.3 min', '5.6 h')
    """
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _about(about: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for name, value in about.items():
        if name.startswith("bytes"):
            text = f"{value / 1e6:.2f} MB"
        elif isinstance(value, dict):
            text = ", ".join(f"{key or 'not recorded'} ({n})" for key, n in value.items())
        else:
            text = " ".join(map(str, value)) if isinstance(value, list) else f"{value}"
        if text and name not in ("structures", "elements"):
            found.append((name.replace("bytes", "size"), text))
    return found

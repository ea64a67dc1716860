"""The page of a comparison: one table with intervals, and a curve where rows are points along a quantity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from nextham.exceptions import InputError
from nextham.files import whole
from nextham_bench.compare import Comparison, Estimate, Row, comparison
from nextham_bench.report import svg
from nextham_bench.report.environment import Download, figure, render
from nextham_bench.report.figures import figure_with_axes, legend
from nextham_bench.report.grid import Cell, Column, Grid, GridRow, number
from nextham_bench.report.page import check_comparable
from nextham_bench.schema import Scores
from nextham_bench.statistics import PERMUTATIONS
from nextham_bench.tasks import tasks
from nextham_bench.terminal import escaped, mev, p_text, percent

COLUMNS = ("overall", "↑↑ real", "skill", "minus first row", "p", "better in", "band error", "ghosts in")


def write_comparison(scores: Sequence[Scores], path: Path, *, title: str, along: str | None = None) -> None:
    """Write the page, and ``table.md`` and ``table.json`` beside it.

    Args:
        scores: of the same structures; differences are to the first.
        path: the HTML file.
        title: of the page.
        along: what the names of the scores count, as in "training structures": draws the skill against it.

    Raises:
        InputError: if the scores are not of the same structures, or names that should be numbers are not.
    """
    if not scores:
        raise InputError("a comparison needs at least one scores file")
    check_comparable(scores)
    found = comparison(scores, title)
    written = {
        path: page(found, along),
        path.with_name("table.md"): markdown(found),
        path.with_name("table.json"): found.model_dump_json(indent=1) + "\n",
    }
    for file, text in written.items():
        with whole(file) as part:
            part.write_text(text, encoding="utf-8")


def page(found: Comparison, along: str | None) -> str:
    """Return the HTML page."""
    return render(
        "side_by_side.html.j2",
        found=found,
        grid=comparison_grid(found),
        about=about(found),
        curve=None if along is None else figure(skill_curve(found, along)),
        along=along,
        downloads=[
            Download("table.json", found.model_dump_json(indent=1) + "\n"),
            Download("table.md", markdown(found)),
        ],
    )


def comparison_grid(found: Comparison) -> Grid:
    """Return the table of the page."""
    columns = (Column("prediction", "text"), *(Column(name) for name in COLUMNS))
    return Grid(found.title, columns, tuple(GridRow((Cell(row.name), *_cells(row))) for row in found.rows))


def about(found: Comparison) -> str:
    """Return what the numbers are, in a sentence or two."""
    n, confidence = found.rows[0].n_structures, percent(tasks().bootstrap.confidence)
    subset = f", subset {found.subset}" if found.subset else ""
    return (
        f"Gauge MAE and band error in meV, means over {n} structures{subset}, protocol {found.protocol}, with "
        f"{confidence} bootstrap intervals over structures. Skill = 1 - MAE / MAE(H0). Differences (minus first row) "
        "are of the same structures, drawn in pairs: an interval without 0 is a difference not due to the draw of "
        "structures. p is of the two-sided paired permutation test of that difference (every choice of signs, or "
        f"{PERMUTATIONS} of them), not corrected for the number of rows. "
        "Each row is one training; how much another seed changes it is not in the intervals."
    )


def markdown(found: Comparison) -> str:
    """Return the table in Markdown."""
    lines = [f"| {' | '.join((escaped(row.name), *cells(row)))} |" for row in found.rows]
    head = [f"| {' | '.join((escaped(found.title), *COLUMNS))} |", f"|---|{'---:|' * len(COLUMNS)}"]
    return "\n".join([*head, *lines, "", about(found)]) + "\n"


def cells(row: Row) -> tuple[str, ...]:
    """Return what the Markdown table says of a row under ``COLUMNS``."""
    return tuple(f"{cell.text} ({cell.note})" if cell.note else cell.text for cell in _cells(row))


def _cells(row: Row) -> tuple[Cell, ...]:
    better = "–" if row.better_in is None else f"{row.better_in} of {row.n_structures}"
    return (
        _estimate(row.overall_mev, mev),
        _estimate(row.uu_real_mev, mev),
        _estimate(row.skill, percent),
        _estimate(row.excess_mev, lambda x: f"{x:+.3f}"),
        number(row.p_value, p_text(row.p_value)),
        number(row.better_in, better),
        _estimate(row.band_mev, lambda x: f"{x:.1f}"),
        number(row.ghost_share, percent(row.ghost_share)),
    )


def _estimate(estimate: Estimate, form: Callable[[float], str]) -> Cell:
    ends = estimate.interval
    text = "" if estimate.value is None else form(estimate.value)
    return number(estimate.value, text, note=f"{form(ends.low)} to {form(ends.high)}" if ends else "")


@svg.styled
def skill_curve(found: Comparison, along: str) -> str:
    """Return the skill with its interval against the number that the rows are called by."""
    points = _points(found, along)
    drawing, axes = figure_with_axes(5.6, 3.6)
    x, y = zip(*((n, skill.value) for n, skill in points), strict=True)
    axes.plot(x, y, marker="o", color=svg.MODEL, linewidth=1.6, markersize=5)
    for n, skill in points:
        if skill.interval:
            axes.plot([n, n], [skill.interval.low, skill.interval.high], color=svg.MODEL, linewidth=1.2)
    axes.axhline(0, color=svg.H0, linewidth=1.2, linestyle="--", label="H0 alone")
    axes.set_xscale("log")
    axes.set_xticks(x, [str(n) for n in x])
    axes.minorticks_off()
    axes.set_xlabel(along)
    axes.set_ylabel("skill over H0")
    legend(axes)
    said = ", ".join(f"{percent(skill.value)} at {n}" for n, skill in points)
    return svg.inline(drawing, f"curve-{found.title}", f"Skill against the number of {along}: {said}")


def _points(found: Comparison, along: str) -> list[tuple[int, Estimate]]:
    """Return the rows that are points of the curve: those whose names are numbers."""
    points = sorted(
        (int(row.name), row.skill) for row in found.rows if row.name.isdigit() and row.skill.value is not None
    )
    if not points:
        raise InputError(
            f"no score is called by a number of {along}; name them so, as in nextham-bench score --name 40"
        )
    return points

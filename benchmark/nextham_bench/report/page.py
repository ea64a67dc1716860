"""The report: one score in full, beside others of the same structures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nextham.exceptions import InputError
from nextham.files import whole
from nextham_bench.report import content
from nextham_bench.report.dataset import dataset_section
from nextham_bench.report.detail import detail
from nextham_bench.report.environment import Download, render
from nextham_bench.report.store_figures import GALLERY, StoreFigures, store_figures
from nextham_bench.schema import Scores
from nextham_bench.terminal import markdown

_MAX_DOWNLOAD: Final = 10_000_000  # characters that a page carries in itself for one file


def write_report(
    scores: Sequence[Scores],
    path: Path,
    *,
    reference: Path | None = None,
    prediction: Path | None = None,
    gallery: int = GALLERY,
) -> None:
    """Write the page, and ``table.md`` beside it.

    Args:
        scores: at least one; the first that is not a baseline is shown in full.
        path: the HTML file.
        reference: reference store of that score, for the figures that need matrices.
        prediction: its prediction store; a baseline needs none.
        gallery: how many structures with ghost states are drawn.

    Raises:
        InputError: if scores are of different data, or a store is not the one that was scored.
    """
    main = main_score(scores)
    check_comparable(scores)
    figures = None
    if reference is not None:
        figures = store_figures(main, reference, prediction, key="main", gallery=gallery)
    text = page(main, scores, figures, reference)
    for file, written in ((path, text), (path.with_name("table.md"), markdown(scores))):
        with whole(file) as part:
            part.write_text(written, encoding="utf-8")


def main_score(scores: Sequence[Scores]) -> Scores:
    """Return the score that the page is about."""
    if not scores:
        raise InputError("a report needs at least one scores file")
    return next((one for one in scores if one.baseline is None), scores[0])


def check_comparable(scores: Sequence[Scores]) -> None:
    """Refuse scores that no table may put side by side."""
    first = scores[0]
    for one in scores[1:]:
        if one.reference.sha256 != first.reference.sha256 and not (one.partial or first.partial):
            raise InputError(
                f"{one.name} was scored on other data than {first.name} (dataset hashes differ); report them apart"
            )
        if (one.protocol, one.metric_version) != (first.protocol, first.metric_version):
            raise InputError(
                f"{one.name} has protocol {one.protocol} and metric version {one.metric_version}, {first.name} has "
                f"{first.protocol} and {first.metric_version}; score them alike"
            )


def page(main: Scores, scores: Sequence[Scores], figures: StoreFigures | None, reference: Path | None) -> str:
    """Return the HTML page."""
    every = [
        Download("scores.json", main.model_dump_json() + "\n"),
        Download("structures.csv", structures_csv(main)),
        Download("table.md", markdown(scores)),
    ]
    downloads = [one for one in every if len(one.content) <= _MAX_DOWNLOAD]
    return render(
        "page.html.j2",
        title=main.name,
        detail=detail(main, figures, key="main"),
        comparison=content.scored_grid(main, scores) if len(scores) > 1 else None,
        dataset=dataset_section(main, reference),
        downloads=downloads,
    )


def structures_csv(main: Scores) -> str:
    """Return one row for each structure, errors in meV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = ("zero", "h0", "model")
    bands = ("mean_mev", "max_mev", "gap_mev", "dos_mev", "ghosts_per_k", "ghost_k_share")
    writer.writerow(
        [
            *("id", "formula", "n_atoms"),
            *(f"overall_{name}_mev" for name in columns),
            *(f"{name}_bands_{field}" for name in ("h0", "model") for field in bands),
        ]
    )
    for row in main.structures:
        levels = row.bands or {}
        writer.writerow(
            [
                *(row.id, row.formula, row.n_atoms),
                *(row.overall_mev[main.protocol][name] for name in columns),
                *(getattr(levels.get(name), field, None) for name in ("h0", "model") for field in bands),
            ]
        )
    return out.getvalue()

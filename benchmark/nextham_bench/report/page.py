"""The report: what stands on the page, and writing it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from nextham.console import track
from nextham.exceptions import InputError
from nextham.files import whole
from nextham_bench.report import content
from nextham_bench.report.figures import Parity, band_overlay, error_by_distance
from nextham_bench.schema import Scores, StructureRow
from nextham_bench.tasks import tasks
from nextham_bench.terminal import markdown, mev, percent, rows

_PARITY_STRUCTURES = 30
_PROTOCOLS = {
    "full": "every pair that H, H0 or S stores",
    "paper": "pairs nearer than 8 Å that both H and H0 store",
}


def write_report(
    scores: Sequence[Scores], path: Path, *, reference: str | Path | None = None, prediction: Path | None = None
) -> None:
    """Write the page, and ``table.md`` beside it.

    Args:
        scores: at least one; the first that is not a baseline is shown in full.
        path: the HTML file.
        reference: reference store of that score, for band overlays and the parity plot.
        prediction: its prediction store; a baseline needs none.

    Raises:
        InputError: if scores are of different data, or a store is not the one that was scored.
    """
    main = main_score(scores)
    check_comparable(scores)
    figures = store_figures(main, reference, prediction) if reference is not None else {}
    text = render(main, scores, figures)
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


def render(main: Scores, scores: Sequence[Scores], figures: dict[str, Any]) -> str:
    """Return the HTML page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("nextham_bench", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "mev": mev}
    drawn = {"parity": None, "parity_structures": 0, "overlays": [], **figures}
    if drawn["parity"] is not None:
        drawn["parity"] = Markup(drawn["parity"])  # noqa: S704  # our own SVG
    drawn["overlays"] = [{**one, "svg": Markup(one["svg"])} for one in drawn["overlays"]]  # noqa: S704
    style = files("nextham_bench.report").joinpath("style.css").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        main=main,
        gauge=main.headline,
        style=Markup(style),  # noqa: S704  # our own file
        tiles=content.tiles(main),
        ranking=content.ranking(main, scores),
        tables={protocol: rows(main, protocol) for protocol in sorted(_PROTOCOLS, key=lambda p: p != main.protocol)},
        protocols=_PROTOCOLS,
        distance=Markup(error_by_distance(main)),  # noqa: S704
        elements=content.elements(main),
        orbitals=content.orbitals(main),
        bands=main.bands,
        ghosts=tasks().ghosts,
        worst=content.worst(main),
        provenance=content.provenance(main),
        **drawn,
    )


def store_figures(main: Scores, reference: str | Path, prediction: Path | None) -> dict[str, Any]:
    """Return the figures that need matrices: parity, and bands of the best, median and worst structure."""
    from nextham.data.store import Store
    from nextham_bench.score import BaselineSource, Source, StoreSource, data_hash

    store = Store(reference)
    ids = [row.id for row in main.structures]
    if absent := [id for id in ids if id not in store]:
        raise InputError(f"{reference} does not hold {absent[0]}, which {main.name} was scored on; give that reference")
    if data_hash(store, ids) != main.reference.sha256:
        raise InputError(f"{reference} is not the data that {main.name} was scored on (hashes differ)")
    if main.baseline is not None:
        source: Source = BaselineSource(main.baseline)
    elif prediction is None:
        return {}
    else:
        predicted = Store(prediction)
        if main.prediction is None or data_hash(predicted, ids) != main.prediction.sha256:
            raise InputError(f"{prediction} is not the prediction that {main.name} scores (hashes differ)")
        source = StoreSource(predicted)
    parity = Parity()
    step = max(1, -(-len(ids) // _PARITY_STRUCTURES))
    for id in track(ids[::step], "parity"):
        record = store[id]
        parity.add(record, source.predicted(record))
    overlays = []
    for row, what in chosen(main):
        record = store[row.id]
        note = f"Overall Gauge MAE {mev(row.overall_mev[main.protocol]['model'] or 0.0)} meV"
        if row.bands:
            note += f", band error {row.bands['model'].mean_mev:.1f} meV (H0 {row.bands['h0'].mean_mev:.1f})"
        overlays.append(
            {
                "title": f"{row.id} ({row.formula}): {what}",
                "svg": band_overlay(record, source.predicted(record)),
                "note": note + ".",
            }
        )
    return {"parity": parity.draw(main.name), "parity_structures": parity.n_structures, "overlays": overlays}


def chosen(main: Scores) -> list[tuple[StructureRow, str]]:
    """Return the structures whose bands are drawn, and why."""

    def error(row: StructureRow) -> float:
        return row.bands["model"].mean_mev if row.bands else row.overall_mev[main.protocol]["model"] or 0.0

    ordered = sorted(main.structures, key=error)
    picks = {len(ordered) // 2: "median error", 0: "smallest error", len(ordered) - 1: "largest error"}
    return [(ordered[place], what) for place, what in sorted(picks.items())]

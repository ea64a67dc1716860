"""Figures that need the matrices themselves: parity, band overlays, the gallery of ghost states."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from nextham.console import track
from nextham.exceptions import InputError
from nextham_bench.report.band_plot import PathLevels, band_overlay, ghost_plate
from nextham_bench.report.parity import Parity
from nextham_bench.schema import Scores, StructureRow
from nextham_bench.terminal import mev

if TYPE_CHECKING:
    from nextham.data.store import Store
    from nextham_bench.sources import Source

GALLERY: Final = 4
_PARITY_STRUCTURES: Final = 30


class Plate(TypedDict):
    """One figure with its words."""

    title: str
    svg: str
    note: str


class StoreFigures(TypedDict):
    """All figures of one score that need matrices."""

    parity: str
    parity_structures: int
    overlays: list[Plate]
    gallery: list[Plate]


def store_figures(
    main: Scores, reference: Path, prediction: Path | None, *, key: str, gallery: int = GALLERY
) -> StoreFigures | None:
    """Return the figures of one score; None where a prediction is needed and not given.

    Args:
        main: the score.
        reference: the reference store that it is about.
        prediction: its prediction store; a baseline needs none.
        key: tells the figures of several scores on one page apart.
        gallery: how many structures with ghost states are drawn.

    Raises:
        InputError: if a store is not the one that was scored.
    """
    from nextham.data.store import Store

    store = Store(reference)
    check_reference_store(store, main)
    source = _source(main, prediction)
    if source is None:
        return None
    drawn = Parity()
    ids = [row.id for row in main.structures]
    step = max(1, -(-len(ids) // _PARITY_STRUCTURES))
    for id in track(ids[::step], "parity"):
        record = store[id]
        drawn.add(record, source.predicted(record))
    overlays, haunted = chosen(main), worst_ghosts(main, gallery)
    levels: dict[str, PathLevels] = {}
    for row in track({row.id: row for row, _ in [*overlays, *haunted]}.values(), "bands"):
        record = store[row.id]
        if (solved := PathLevels.of(record, source.predicted(record), row)) is not None:
            levels[row.id] = solved
    return {
        "parity": drawn.draw(key),
        "parity_structures": drawn.n_structures,
        "overlays": [
            _plate(row, what, main, band_overlay(levels[row.id], id=row.id, formula=row.formula, key=key))
            for row, what in overlays
            if row.id in levels
        ],
        "gallery": [
            _plate(row, what, main, ghost_plate(levels[row.id], id=row.id, formula=row.formula, key=key))
            for row, what in haunted
            if row.id in levels
        ],
    }


def check_reference_store(store: Store, main: Scores) -> None:
    """Refuse a store that is not the reference of a score.

    Raises:
        InputError: if it lacks a structure or has other numbers.
    """
    from nextham_bench.sources import data_hash

    ids = [row.id for row in main.structures]
    if absent := [id for id in ids if id not in store]:
        raise InputError(
            f"{store.path} does not hold {absent[0]}, which {main.name} was scored on; give that reference"
        )
    if data_hash(store, ids) != main.reference.sha256:
        raise InputError(f"{store.path} is not the data that {main.name} was scored on (hashes differ)")


def _source(main: Scores, prediction: Path | None) -> Source | None:
    from nextham.data.store import Store
    from nextham_bench.sources import BaselineSource, StoreSource, data_hash

    if main.baseline is not None:
        return BaselineSource(main.baseline)
    if prediction is None:
        return None
    predicted = Store(prediction)
    ids = [row.id for row in main.structures]
    here = all(id in predicted for id in ids)
    if not here or main.prediction is None or data_hash(predicted, ids) != main.prediction.sha256:
        raise InputError(f"{prediction} is not the prediction that {main.name} scores (hashes differ)")
    return StoreSource(predicted)


def _plate(row: StructureRow, what: str, main: Scores, drawn: str) -> Plate:
    note = f"Overall Gauge MAE {mev(row.overall_mev[main.protocol]['model'] or 0.0)} meV"
    if row.bands:
        note += f", band error {row.bands['model'].mean_mev:.1f} meV (H0 {row.bands['h0'].mean_mev:.1f})"
    return {"title": f"{row.id} ({row.formula}): {what}", "svg": drawn, "note": f"{note}."}


def chosen(main: Scores) -> list[tuple[StructureRow, str]]:
    """Return the structures whose bands are drawn, and why: smallest, median and largest error."""

    def error(row: StructureRow) -> float:
        return row.bands["model"].mean_mev if row.bands else row.overall_mev[main.protocol]["model"] or 0.0

    ordered = sorted(main.structures, key=error)
    picks = {len(ordered) // 2: "median error", 0: "smallest error", len(ordered) - 1: "largest error"}
    return [(ordered[place], what) for place, what in sorted(picks.items())]


def worst_ghosts(main: Scores, size: int) -> list[tuple[StructureRow, str]]:
    """Return structures with most ghost states on the mesh, and how many; none where there are no ghosts.

    The worst of each composition comes before a second one of any.
    """
    haunted = [(row, row.bands["model"]) for row in main.structures if row.bands]
    haunted = [(row, bands) for row, bands in haunted if bands.ghost_k_share > 0]
    haunted.sort(key=lambda one: (-one[1].ghosts_per_k, -one[1].ghost_k_share, one[0].id))
    seen: Counter[str] = Counter()
    turns = []
    for row, bands in haunted:
        turns.append((seen[row.formula], row, bands))
        seen[row.formula] += 1
    turns.sort(key=lambda one: one[0])  # stable: by ghosts within each turn
    return [
        (row, f"{bands.ghosts_per_k:.3g} ghost levels per k point, {100 * bands.ghost_k_share:.0f} % of k points")
        for _, row, bands in turns[:size]
    ]

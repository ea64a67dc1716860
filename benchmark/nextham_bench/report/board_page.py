"""The page of a leaderboard: rankings, every entry in full, what others published, and how to take part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nextham.exceptions import InputError
from nextham.files import whole
from nextham_bench.leaderboard.entry import ENDING, Entry, read_boards
from nextham_bench.leaderboard.published import published
from nextham_bench.leaderboard.ranking import Ranking, rankings
from nextham_bench.leaderboard.tables import as_csv, as_json, as_markdown
from nextham_bench.report.board_grid import card_facts, card_links, ranking_grid
from nextham_bench.report.dataset import dataset_section
from nextham_bench.report.detail import detail
from nextham_bench.report.environment import Download, figure, render
from nextham_bench.report.figures import errors_by_distance
from nextham_bench.report.store_figures import GALLERY, StoreFigures, check_reference_store, store_figures
from nextham_bench.statistics import PERMUTATIONS
from nextham_bench.terminal import mev, percent

NAMES: Final = ("index.html", "leaderboard.md", "leaderboard.csv", "leaderboard.json")
_IN_FULL: Final = 12  # entries of a ranking that are shown in full
_CURVES: Final = 6


def write_board(
    boards: Sequence[Path],
    folder: Path,
    *,
    reference: Path | None = None,
    predictions: Sequence[Path] = (),
    gallery: int = GALLERY,
) -> None:
    """Render boards: one HTML page, and the same ranking in Markdown, CSV and JSON.

    Args:
        boards: folders of entries.
        folder: where the files are written.
        reference: the dataset, for figures that need matrices.
        predictions: prediction stores of entries, recognised by their hashes.
        gallery: how many structures with ghost states are drawn of each.

    Raises:
        InputError: if a board is empty, or a store belongs to no entry.
    """
    ranked = rankings(read_boards(boards))
    figures = _store_figures(ranked, reference, predictions, gallery)
    only = [ranking for ranking, _ in ranked]
    texts = dict(zip(NAMES[1:], (as_markdown(only), as_csv(only), as_json(only)), strict=True))
    texts["index.html"] = board_page(ranked, figures, reference, texts)
    for name in NAMES:
        with whole(folder / name) as part:
            part.write_text(texts[name], encoding="utf-8")


def board_page(
    ranked: Sequence[tuple[Ranking, list[Entry]]],
    figures: Mapping[str, StoreFigures],
    reference: Path | None,
    downloads: Mapping[str, str],
) -> str:
    """Return the HTML page; ``figures`` by the file names of their entries, ``downloads`` by name."""
    entries = [entry for _, own in ranked for entry in own]
    return render(
        "board.html.j2",
        sections=[_section(ranking, own, figures, _of_ranking(reference, own)) for ranking, own in ranked],
        n_models=len({entry.card.title for entry in entries if entry.card.baseline is None}),
        published=published(),
        permutations=PERMUTATIONS,
        downloads=[Download(name, content) for name, content in downloads.items()],
    )


def _of_ranking(reference: Path | None, entries: Sequence[Entry]) -> Path | None:
    """Return the reference store if these entries were scored on it."""
    if reference is None:
        return None
    from nextham.data.store import Store

    try:
        check_reference_store(Store(reference), entries[0].scores)
    except InputError:
        return None
    return reference


def _section(
    ranking: Ranking, entries: list[Entry], figures: Mapping[str, StoreFigures], reference: Path | None
) -> dict[str, Any]:
    models = [entry for entry in entries if entry.card.baseline is None]
    shown = [entry for entry in models if entry.file_name in figures] or models[:1]
    shown += [entry for entry in entries if entry not in shown]
    in_full = sorted(shown[:_IN_FULL], key=entries.index)
    curves = [(entry.card.title, entry.scores) for entry in models[:_CURVES]]
    return {
        "ranking": ranking,
        "grid": ranking_grid(ranking),
        "distance": figure(errors_by_distance(curves, ranking.key)) if curves else None,
        "n_curves": len(curves),
        "entries": [_entry(entry, ranking, figures) for entry in in_full],
        "n_more": len(entries) - len(in_full),
        "dataset": dataset_section(entries[0].scores, reference),
    }


def _entry(entry: Entry, ranking: Ranking, figures: Mapping[str, StoreFigures]) -> dict[str, Any]:
    line = next(line for line in ranking.lines if line.entry == entry.file_name)
    key = _key(entry)
    return {
        "key": key,
        "rank": line.rank,
        "title": entry.card.title,
        "said": f"{mev(line.overall_mev)} meV, skill {percent(line.skill)}",
        "card": card_facts(entry.card, entry.origin),
        "links": card_links(entry.card),
        "command": entry.card.command,
        "detail": detail(entry.scores, figures.get(entry.file_name), key=key),
    }


def _key(entry: Entry) -> str:
    """Return what tells an entry apart in ids of the page."""
    return entry.file_name.removesuffix(ENDING).replace(".", "_")


def _store_figures(
    ranked: Sequence[tuple[Ranking, list[Entry]]], reference: Path | None, predictions: Sequence[Path], gallery: int
) -> dict[str, StoreFigures]:
    """Return the figures of the entries whose prediction stores are given, by the entries' file names.

    Raises:
        InputError: if a store is that of no entry, or there is no reference to compare it with.
    """
    if predictions and reference is None:
        raise InputError("figures of predictions need the dataset; give --reference too")
    found = {}
    for path in predictions:
        entry = _entry_of(path, [entry for _, entries in ranked for entry in entries])
        assert reference is not None
        drawn = store_figures(
            entry.scores, reference, path, key=entry.file_name.partition(".entry")[0], gallery=gallery
        )
        assert drawn is not None  # a prediction was given
        found[entry.file_name] = drawn
    return found


def _entry_of(path: Path, entries: Sequence[Entry]) -> Entry:
    from nextham.data.store import Store
    from nextham_bench.sources import data_hash

    store = Store(path)
    for entry in entries:
        ids = [row.id for row in entry.scores.structures]
        known = entry.scores.prediction.sha256 if entry.scores.prediction else None
        if known and all(id in store for id in ids) and data_hash(store, ids) == known:
            return entry
    raise InputError(f"{path} is the prediction of no entry on the board (hashes differ); leave it out")

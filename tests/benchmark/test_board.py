"""Boards: only whole scores of the named prediction enter, once; ranked alike with alike, baselines among them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from board_cases import EVIL, Case, edited
from html_page import Page, checked
from nextham_bench.cli import app
from nextham_bench.compare import comparison
from nextham_bench.leaderboard.add import add
from nextham_bench.leaderboard.entry import read_boards
from nextham_bench.leaderboard.published import published
from nextham_bench.leaderboard.ranking import rankings
from nextham_bench.leaderboard.tables import as_csv, as_markdown
from nextham_bench.report.board_page import write_board
from nextham_bench.schema import SplitRecord
from typer.testing import CliRunner

from nextham.exceptions import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def board(case: Case, tmp_path: Path) -> Path:
    for name in ("good", "fair"):
        add(case.card(name, tmp_path), case.scores_file(name, tmp_path), tmp_path / "board")
    return tmp_path / "board"


def refusal(card: Path, scores: Path, board: Path) -> str:
    before = sorted(board.glob("*")) if board.exists() else []
    with pytest.raises(InputError) as error:
        add(card, scores, board)
    assert (sorted(board.glob("*")) if board.exists() else []) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_models_are_ranked_and_baselines_shown(case: Case, board: Path) -> None:
    ((ranking, entries),) = rankings(read_boards([board]))
    ranks = {line.name: line.rank for line in ranking.lines}
    assert ranks == {"good": 1, "fair": 2, "H0 (no model)": None, "zero": None}
    errors = [line.overall_mev for line in ranking.lines]
    assert errors == sorted(errors)
    by_name = {line.name: line for line in ranking.lines}
    h0, zero = case.scores["h0"].headline.overall, case.scores["zero"].headline.overall
    assert by_name["H0 (no model)"].overall_mev == h0.model.macro_mev
    assert by_name["zero"].overall_mev == zero.model.macro_mev
    assert by_name["H0 (no model)"].skill == 0
    assert by_name["good"].inference_s == 1.75
    assert by_name["good"].p_to_first is None
    _, fair = comparison([entry.scores for entry in entries], "T").rows
    assert by_name["fair"].p_to_first == fair.p_value


def test_entries_of_baselines_replace_the_lines_that_come_with_every_score(case: Case, board: Path) -> None:
    for name in ("h0", "zero"):
        add(ROOT / "benchmark" / "models" / f"{name}.yml", case.scores_file(name, board.parent), board)
    ((ranking, _),) = rankings(read_boards([board]))
    assert sorted(line.name for line in ranking.lines) == ["H0", "fair", "good", "zero"]
    assert [line.rank for line in ranking.lines if line.baseline] == [None, None]


def test_what_differs_is_ranked_apart(case: Case, board: Path, tmp_path: Path) -> None:
    paper = case.scores_file("fair", tmp_path, protocol="paper")
    add(case.card("fair", tmp_path), paper, board)
    split = SplitRecord(subset="other", sha256="0" * 64)
    values = [{"sha256": case.scores["good"].prediction.sha256, "split_sha256": "0" * 64}]  # type: ignore[union-attr]
    add(case.card("good", tmp_path, predictions=values), case.scores_file("good", tmp_path, split=split), board)
    found = rankings(read_boards([board]))
    assert [len(entries) for _, entries in found] == [2, 1, 1]
    assert {(r.protocol, r.subset) for r, _ in found} == {("full", "test"), ("paper", "test"), ("full", "other")}


# --- what may not enter --------------------------------------------------------------------------------------------


def test_the_same_name_and_version_twice(case: Case, board: Path, tmp_path: Path) -> None:
    text = refusal(case.card("good", tmp_path), case.scores_file("good", tmp_path), board)
    assert text.startswith(f"good 1.0 is on {board} already, scored on the same structures; give another version")
    spelt = case.card("good", tmp_path, name="GOOD!")
    assert "is on" in refusal(spelt, case.scores_file("good", tmp_path), board)
    add(case.card("good", tmp_path, version="1.1"), case.scores_file("good", tmp_path), board)


def test_scores_that_may_not_be_ranked(case: Case, tmp_path: Path) -> None:
    card, board = case.card("good", tmp_path), tmp_path / "board"
    coverage = case.scores["good"].coverage
    partial = coverage.model_copy(update={"missing": ("GaAs-9",), "n_wanted": 3})
    text = refusal(card, case.scores_file("good", tmp_path, partial=True, coverage=partial), board)
    assert "covers 2 of 3 structures; a partial score is not ranked" in text
    text = refusal(card, case.scores_file("good", tmp_path, coverage=partial), board)  # somebody cleared the flag
    assert "a partial score is not ranked" in text
    text = refusal(card, case.scores_file("good", tmp_path, metric_version="0.1"), board)
    assert "was made with metric version 0.1, this program ranks" in text
    fewer = case.scores["good"].structures[:1]
    text = refusal(card, case.scores_file("good", tmp_path, structures=fewer), board)
    assert "lists 1 structures, but says 2" in text


def test_a_better_headline_than_the_structures_give(case: Case, tmp_path: Path) -> None:
    path = case.scores_file("good", tmp_path)
    content = json.loads(path.read_text())
    content["gauge_mae"]["full"]["overall"]["model"]["macro_mev"] /= 2
    path.write_text(json.dumps(content))
    text = refusal(case.card("good", tmp_path), path, tmp_path / "board")
    assert "its structures have a mean of" in text
    assert "the file was changed: score the prediction again" in text


def test_cards_that_are_about_something_else(case: Case, tmp_path: Path) -> None:
    board, scores = tmp_path / "board", case.scores_file("good", tmp_path)
    assert "names no prediction with the sha256" in refusal(case.card("fair", tmp_path), scores, board)
    text = refusal(case.card("good", tmp_path, parameters=None), scores, board)
    assert text.endswith("good.yml: the card says no parameters, which a ranked model needs")
    values = [{"sha256": case.scores["good"].prediction.sha256, "split_sha256": "0" * 64}]  # type: ignore[union-attr]
    text = refusal(case.card("good", tmp_path, predictions=values), scores, board)
    assert f"says that this prediction is of the ids with the sha256 {'0' * 64}, but" in text
    text = refusal(case.card("good", tmp_path), case.scores_file("h0", tmp_path), board)
    assert text.endswith("scores h0; name the one it scores")
    text = refusal(ROOT / "benchmark" / "models" / "zero.yml", case.scores_file("h0", tmp_path), board)
    assert "is the card of zero, but" in text
    text = refusal(case.card("good", tmp_path, nam="x"), scores, board)
    assert "nam is not a key of a card" in text


def test_a_row_that_was_made_here(case: Case, tmp_path: Path) -> None:
    checkpoint = tmp_path / "best"
    checkpoint.mkdir()
    (checkpoint / "checkpoint.json").write_text(json.dumps({"n_numbers": 77, "dataset_sha256": "ab" * 32}))
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    card = ROOT / "benchmark" / "models" / "nextham-tiny.yml"
    path = add(card, case.scores_file("good", tmp_path), tmp_path / "board", checkpoint=checkpoint)
    (entry,) = read_boards([tmp_path / "board"])
    assert path.name.startswith("nextham-tiny--0.1--")
    assert (entry.origin, entry.card.parameters) == ("reproduced", 77)
    assert entry.card.training_sets[0].sha256 == "ab" * 32
    assert entry.card.predictions[0].sha256 == case.scores["good"].prediction.sha256  # type: ignore[union-attr]
    edited(checkpoint / "checkpoint.json", n_numbers="many")
    with pytest.raises(InputError, match="is damaged"):
        add(card, case.scores_file("good", tmp_path), tmp_path / "board", checkpoint=checkpoint)
    with pytest.raises(InputError, match=r"is not a checkpoint: it has no checkpoint.json and no model.safe"):
        add(card, case.scores_file("good", tmp_path), tmp_path / "board", checkpoint=tmp_path)


def test_boards_that_cannot_be_read(board: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no entries; add one with nextham-bench leaderboard add"):
        read_boards([tmp_path / "none"])
    first = next(board.iterdir())
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / first.name).write_bytes(first.read_bytes())
    with pytest.raises(InputError, match="stands on another board too"):
        read_boards([board, tmp_path / "two"])
    edited(first, origin="invented")
    with pytest.raises(InputError, match="is not an entry that this version reads"):
        read_boards([board])
    first.write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        read_boards([board])


# --- what is rendered ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rendered(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with hostile names, rendered with the stores of one entry by the command."""
    folder = tmp_path_factory.mktemp("rendered")
    hostile = {
        "name": f"{EVIL}|$x_1$",
        "summary": EVIL,
        "notes": f"</pre>{EVIL}",
        "command": f"</code>{EVIL}",
        "licence": f"=1+1 {EVIL}",
        "url": "https://example.org/?a=1&b=2",
        "authors": [{"name": EVIL}],
        "training_sets": [{"name": EVIL, "url": "https://example.org/data"}],
    }
    add(case.card("fair", folder, **hostile), case.scores_file("fair", folder, name=EVIL), folder / "board")
    add(case.card("good", folder), case.scores_file("good", folder), folder / "board")
    words = ["leaderboard", "render", "--board", folder / "board", "-o", folder / "page"]
    words += ["--reference", case.reference, "--prediction", case.predictions["good"]]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return folder / "page"


@pytest.fixture(scope="module")
def page(rendered: Path) -> Page:
    return checked(
        (rendered / "index.html").read_text(encoding="utf-8"),
        links=("https://example.org/?a=1&b=2", "https://example.org/data"),
    )


def test_all_files_are_there(rendered: Path) -> None:
    names = ["index.html", "leaderboard.csv", "leaderboard.json", "leaderboard.md"]
    assert sorted(path.name for path in rendered.iterdir()) == names


def test_names_stay_text(rendered: Path, page: Page) -> None:
    text = (rendered / "index.html").read_text(encoding="utf-8")
    assert EVIL not in text
    assert page.words.count(EVIL) >= 6
    markdown = (rendered / "leaderboard.md").read_text(encoding="utf-8")
    assert EVIL not in markdown
    assert "\\|\\$x\\_1\\$" in markdown


def test_the_page_shows_what_people_come_for(page: Page) -> None:
    for words in ("Reproduced by", "Take part", "Quoted, not ranked.", "Ghost states", "of it S and H0", "Dataset"):
        assert words in page.words
    kinds = {label.partition(" ")[0] for label in page.labels}
    assert kinds == {"Error", "Predicted", "Band"}
    assert any("ICLR 2026" in text for text in page.text)


def test_the_downloads_are_the_files_beside_it(rendered: Path, page: Page) -> None:
    assert list(page.downloads) == ["leaderboard.md", "leaderboard.csv", "leaderboard.json"]
    for name, content in page.downloads.items():
        assert content == (rendered / name).read_text(encoding="utf-8")


def test_the_table_in_csv(case: Case, rendered: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((rendered / "leaderboard.csv").read_text(encoding="utf-8"))))
    assert [row["rank"] for row in rows if row["rank"]] == ["1", "2"]
    best = rows[0]
    assert float(best["overall_mev"]) == case.scores["good"].headline.overall.model.macro_mev
    hostile = next(row for row in rows if "script" in row["name"])
    assert hostile["licence"].startswith("'=1+1")  # no formula for a spreadsheet


def test_quoted_numbers_are_never_in_a_ranking(rendered: Path) -> None:
    content = json.loads((rendered / "leaderboard.json").read_text(encoding="utf-8"))
    names = {line["name"] for ranking in content["rankings"] for line in ranking["lines"]}
    assert not any(table.title in names for table in published())
    (table,) = published()
    assert {row[0]: row[1:] for row in table.rows}["overall"] == ("74.914", "2.607", "1.417")


def test_stores_of_nobody(case: Case, board: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is the prediction of no entry on the board"):
        write_board([board], tmp_path / "page", reference=case.reference, predictions=[case.reference])
    with pytest.raises(InputError, match="give --reference too"):
        write_board([board], tmp_path / "page", predictions=[case.predictions["good"]])
    assert not (tmp_path / "page").exists()


def test_tables_of_many_groups(case: Case, board: Path, tmp_path: Path) -> None:
    add(case.card("fair", tmp_path), case.scores_file("fair", tmp_path, protocol="paper"), board)
    only = [ranking for ranking, _ in rankings(read_boards([board]))]
    assert as_markdown(only).count("| 1 |") == 2
    assert len({row["ranking"] for row in csv.DictReader(io.StringIO(as_csv(only)))}) == 2
    write_board([board], tmp_path / "page")
    checked((tmp_path / "page" / "index.html").read_text(encoding="utf-8"))

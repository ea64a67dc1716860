"""Leave one element out: each score finds its element, numbers are those of the scores."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from board_cases import Case
from html_page import checked
from nextham_bench.cli import app
from nextham_bench.leave_one_out import by_element, left_out
from nextham_bench.report.elements_page import elements_page
from typer.testing import CliRunner

from nextham.exceptions import InputError


def test_the_page_and_its_neighbours(case: Case, tmp_path: Path) -> None:
    files = [case.scores_file("good", tmp_path, name="without Ga"), case.scores_file("fair", tmp_path, name="As")]
    words = ["elements", *files, "-o", tmp_path / "page" / "index.html", "--title", "<b>"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    page = checked((tmp_path / "page" / "index.html").read_text(encoding="utf-8"))
    assert "Ga left out: skill" in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    rows = list(csv.DictReader((tmp_path / "page" / "elements.csv").read_text().splitlines()))
    assert [row["element"] for row in rows] == ["Ga", "As"]  # by atomic number
    for row, name in zip(rows, ("good", "fair"), strict=True):
        gauge = case.scores[name].headline
        assert float(row["skill"]) == gauge.overall.skill
        assert float(row["touching_mev"]) == gauge.breakdowns["element"][row["element"]].uu_real.model.macro_mev
    assert page.downloads["elements.csv"] == (tmp_path / "page" / "elements.csv").read_text()
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == [
        "elements.csv",
        "elements.json",
        "index.html",
    ]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("Ga", "x.json"),
        ("x", "Ga.json"),
        ("model", "ood-element-Ga.json"),
        ("model", "Ga/scores.json"),
        ("H0-B", "Ga.json"),
    ],
)
def test_the_element_of_a_score(case: Case, name: str, path: str) -> None:
    scores = case.scores["good"].model_copy(update={"name": name})
    assert list(by_element([(Path(path), scores)])) == ["Ga"]


def test_scores_that_do_not_fit(case: Case) -> None:
    good, fair = case.scores["good"], case.scores["fair"]
    with pytest.raises(InputError, match="says which element was left out"):
        by_element([(Path("x.json"), good)])
    with pytest.raises(InputError, match="are both about Ga; give one for each element"):
        by_element([(Path("Ga.json"), good), (Path("Ga/scores.json"), fair)])
    with pytest.raises(InputError, match="at least one"):
        left_out({}, "T")
    with pytest.raises(InputError, match="no structure that good was scored on holds Si"):
        left_out({"Si": good}, "T")
    with pytest.raises(InputError, match="the score of Ga is partial"):
        left_out({"Ga": good.model_copy(update={"partial": True})}, "T")
    with pytest.raises(InputError, match="As has protocol paper and metric version"):
        left_out({"Ga": good, "As": fair.model_copy(update={"protocol": "paper"})}, "T")


def test_a_worse_than_h0_element_is_marked_as_such(case: Case) -> None:
    gauge = case.scores["fair"].headline
    worse = gauge.overall.model_copy(update={"skill": -0.5})
    scores = case.scores["fair"].model_copy(
        update={"gauge_mae": {**case.scores["fair"].gauge_mae, "full": gauge.model_copy(update={"overall": worse})}}
    )
    text = elements_page(left_out({"As": scores}, "T"), [])
    assert "Better than H0 on 0 of 1 elements" in text
    assert "-50 %" in text

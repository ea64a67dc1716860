"""Comparisons: only of the same structures, differences in pairs, a curve where names are numbers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from bench_predictions import noisy
from html_page import checked
from nextham_bench.cli import app
from nextham_bench.compare import Comparison, comparison
from nextham_bench.report.side_by_side import markdown, page, write_comparison
from nextham_bench.schema import Scores, write_scores
from nextham_bench.score import Request, score
from nextham_bench.statistics import paired_p_value
from typer.testing import CliRunner

from nextham.core import LCAOSystem, OrbitalBasis
from nextham.data.store import StoreWriter
from nextham.exceptions import InputError
from nextham.testing import synthetic_system, zincblende


def crystal(n: int) -> LCAOSystem:
    basis = OrbitalBasis.parse("Ga:1s1p As:1s1p")
    return synthetic_system(zincblende(rattle_ang=0.02), basis, id=f"GaAs-{n}", seed=n, cutoff_ang=3.0)


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> list[Scores]:
    """Two predictions, called 20 and 40, and H0."""
    folder = tmp_path_factory.mktemp("compare")
    names = ("reference", "20", "40")
    systems = [crystal(n) for n in range(3)]
    with StoreWriter(folder / "reference") as writer:
        for system in systems:
            writer.add(system)
    for k, name in enumerate(names[1:]):
        with StoreWriter(folder / name) as writer:
            for n, system in enumerate(systems):
                values = noisy(system, seed=n + 10 * k).values
                writer.add(system.without("overlap", "h0").with_operator("hamiltonian", values))
    found = [
        score(Request(reference=folder / "reference", prediction=folder / name, name=name, bands=False))
        for name in names[1:]
    ]
    return [*found, score(Request(reference=folder / "reference", baseline="h0", bands=False))]


def test_rows_are_the_scores_and_their_differences(scores: list[Scores]) -> None:
    rows = comparison(scores, "Trial").rows
    assert [row.name for row in rows] == ["20", "40", "H0 alone"]
    assert rows[0].overall_mev.value == scores[0].headline.overall.model.macro_mev
    assert rows[0].excess_mev.value == 0
    for row in rows[1:]:
        assert row.excess_mev.value == pytest.approx((row.overall_mev.value or 0) - (rows[0].overall_mev.value or 0))
        interval = row.excess_mev.interval
        assert interval is not None
        assert interval.low <= (row.excess_mev.value or 0) <= interval.high
    assert rows[-1].skill.value == pytest.approx(0)
    assert rows[0].band_mev.value is None


def test_the_p_value_is_the_share_of_sign_choices_at_least_as_extreme() -> None:
    rng = np.random.default_rng(3)
    for n in (2, 5, 9):
        a, b = rng.random(n), rng.random(n) + 0.2
        signs = np.array(list(itertools.product([1, -1], repeat=n)))
        means = np.abs((signs * (a - b)).mean(axis=1))
        assert paired_p_value(a, b) == pytest.approx((means >= means[0] - 1e-12).mean())
    assert paired_p_value(a, a) == 1.0
    assert paired_p_value([1.0], [2.0]) is None


def test_p_values_of_equally_good_predictions_are_spread_evenly() -> None:
    rng = np.random.default_rng(0)
    found = np.array([paired_p_value(rng.normal(size=12), rng.normal(size=12)) for _ in range(200)])
    assert 0.02 < (found <= 0.1).mean() < 0.18  # a tenth, within three standard deviations


def test_the_paired_test_stands_in_the_rows(scores: list[Scores]) -> None:
    first, second, h0 = comparison(scores, "T").rows
    assert (first.p_value, first.better_in) == (None, None)
    assert h0.p_value == 0.25  # worse in all of three: 2 of 8 choices of signs
    assert h0.better_in == 0
    assert second.p_value is not None
    assert "of 3" in markdown(comparison(scores, "T"))


def test_the_page_and_its_neighbours(scores: list[Scores], tmp_path: Path) -> None:
    write_comparison(scores, tmp_path / "deep" / "index.html", title="Curve", along="training structures")
    text = (tmp_path / "deep" / "index.html").read_text(encoding="utf-8")
    assert checked(text).labels[0].startswith("Skill against the number of training structures: ")
    found = Comparison.model_validate(json.loads((tmp_path / "deep" / "table.json").read_text()))
    assert len(found.rows) == 3
    table = (tmp_path / "deep" / "table.md").read_text(encoding="utf-8")
    assert "| H0 alone |" in table
    assert table == markdown(found)


def test_names_do_not_become_markup(scores: list[Scores]) -> None:
    evil = scores[0].model_copy(update={"name": "<script>x|y"})
    found = comparison([evil], "<b>")
    assert "<script>x|y" in checked(page(found, None)).words
    assert "&lt;script&gt;x\\|y" in markdown(found)


def test_what_cannot_be_compared(scores: list[Scores], tmp_path: Path) -> None:
    fewer = scores[1].model_copy(update={"structures": scores[1].structures[:2]})
    with pytest.raises(InputError, match="40 was scored on other structures than 20"):
        comparison([scores[0], fewer], "T")
    with pytest.raises(InputError, match="40 is a partial score"):
        comparison([scores[0], scores[1].model_copy(update={"partial": True})], "T")
    with pytest.raises(InputError, match="no score is called by a number of training structures"):
        write_comparison(scores[2:], tmp_path / "x.html", title="T", along="training structures")
    with pytest.raises(InputError, match="at least one"):
        write_comparison([], tmp_path / "x.html", title="T")
    assert list(tmp_path.iterdir()) == []


def test_the_command(scores: list[Scores], tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.json" for k in range(3)]
    for one, path in zip(scores, paths, strict=True):
        write_scores(one, path)
    out = tmp_path / "out" / "index.html"
    done = CliRunner().invoke(app, ["compare", *map(str, paths), "--title", "Trial", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in out.parent.iterdir()) == ["index.html", "table.json", "table.md"]

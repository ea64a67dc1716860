"""Hugging Face evaluation results: the documented keys, the numbers of the score."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from board_cases import Case
from nextham_bench.cli import app
from nextham_bench.leaderboard.eval_results import write_eval_results
from typer.testing import CliRunner

from nextham.exceptions import InputError

KEYS = {"dataset", "value", "verifyToken", "date", "source", "evaluation_framework", "notes"}  # docs/hub/eval-results


def test_the_file(case: Case, tmp_path: Path) -> None:
    words = ["eval-results", case.scores_file("good", tmp_path), "--dataset", "someone/hamiltonians", "-o", tmp_path]
    words += ["--date", "2026-11-28", "--source", "https://example.org/logs"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    entries = yaml.safe_load((tmp_path / ".eval_results" / "nextham-bench.yaml").read_text(encoding="utf-8"))
    scores = case.scores["good"]
    assert scores.bands is not None
    found = {entry["dataset"]["task_id"]: entry["value"] for entry in entries}
    assert found == pytest.approx(
        {
            "gauge_mae": scores.headline.overall.model.macro_mev,
            "skill": scores.headline.overall.skill,
            "band_error": scores.bands.model.mean_mev,
            "ghost_share": scores.bands.model.ghost_share,
        },
        rel=1e-5,
    )
    for entry in entries:
        assert set(entry) <= KEYS
        assert set(entry["dataset"]) == {"id", "task_id"}
        assert entry["date"] == "2026-11-28"
        assert entry["source"]["url"] == "https://example.org/logs"
        assert "subset test, 2 structures" in entry["notes"]


def test_what_is_no_result_of_a_model(case: Case, tmp_path: Path) -> None:
    good = case.scores["good"]
    with pytest.raises(InputError, match="the score of h0 is a baseline"):
        write_eval_results(case.scores["h0"], tmp_path, dataset="a/b")
    with pytest.raises(InputError, match="the score of good is partial"):
        write_eval_results(good.model_copy(update={"partial": True}), tmp_path, dataset="a/b")
    for bad in ("b", "../b", "a/b/c", "a b/c"):
        with pytest.raises(InputError, match="is not the id of a dataset on the Hub"):
            write_eval_results(good, tmp_path, dataset=bad)
    with pytest.raises(InputError, match="is not an address"):
        write_eval_results(good, tmp_path, dataset="a/b", source="ftp://x")
    result = CliRunner().invoke(
        app, ["eval-results", str(case.scores_file("good", tmp_path)), "--dataset", "a/b", "--date", "x"]
    )
    assert str(result.exception) == "--date x is not a day such as 2026-11-28"
    assert not (tmp_path / ".eval_results").exists()

"""nextham-bench run: one command, in parts, that goes on where it was; the network is another process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench_predictions import noisy
from board_cases import Case
from html_page import checked
from nextham_bench.cli import app
from nextham_bench.run import Plan, run
from nextham_bench.schema import read_scores
from typer.testing import CliRunner

from nextham.data.splits import Split
from nextham.data.store import Store, StoreWriter
from nextham.exceptions import InputError


class Predictor:
    """Stands in for the processes of nextham predict: does what the words say, or dies."""

    def __init__(self, *, dies_at: int | None = None) -> None:
        self.words: list[list[str]] = []
        self.dies_at = dies_at

    def __call__(self, words: list[str], *, check: bool) -> SimpleNamespace:
        assert check is False
        self.words.append(words)
        if len(self.words) == self.dies_at:
            return SimpleNamespace(returncode=-9)
        assert words[:5] == [sys.executable, "-P", "-m", "nextham", "predict"]
        reference, given = Store(words[5]), dict(zip(words[6::2], words[7::2], strict=True))
        with StoreWriter(given["-o"]) as writer:
            for id in Split.load(given["--split"])[given["--subset"]]:
                system = reference[id]
                values = noisy(system).values
                writer.add(system.without("overlap", "h0").with_operator("hamiltonian", values))
        return SimpleNamespace(returncode=0)


@pytest.fixture
def plan(case: Case, tmp_path: Path) -> Plan:
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "checkpoint.json").write_text("{}")
    (tmp_path / "best" / "model.safetensors").write_bytes(b"weights")
    return Plan(
        dataset=case.reference,
        checkpoint=tmp_path / "best",
        split=case.split,
        output=tmp_path / "out",
        part_size=1,
        bands=False,
    )


def pretend(monkeypatch: pytest.MonkeyPatch, **settings: int) -> Predictor:
    predictor = Predictor(**settings)
    monkeypatch.setattr("nextham_bench.run.subprocess.run", predictor)
    return predictor


def test_predicts_scores_and_renders(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = pretend(monkeypatch)
    scores = run(plan)
    assert len(predictor.words) == 2  # parts of one structure
    assert scores == read_scores(plan.output / "scores.json")
    assert (scores.name, scores.headline.n_structures) == ("best", 2)
    assert sorted(path.name for path in plan.output.iterdir()) == ["prediction", "report", "run.json", "scores.json"]
    page = plan.output / "report" / "index.html"
    assert "best" in checked(page.read_text(encoding="utf-8")).words
    written = page.stat().st_mtime_ns
    assert run(plan) == scores
    assert (len(predictor.words), page.stat().st_mtime_ns) == (2, written)  # nothing was done twice


def without_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the figures where the page does not matter."""
    monkeypatch.setattr("nextham_bench.run.write_report", lambda *_args, **_stores: None)


def test_goes_on_where_it_was_killed(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pages(monkeypatch)
    pretend(monkeypatch, dies_at=2)
    with pytest.raises(InputError, match="nextham predict ended with status -9; what it said stands above"):
        run(plan)
    assert not (plan.output / "prediction").exists()
    predictor = pretend(monkeypatch)
    assert run(plan).headline.n_structures == 2
    assert len(predictor.words) == 1  # the first part was there


def test_a_folder_of_other_inputs_is_not_mixed_with(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pages(monkeypatch)
    pretend(monkeypatch)
    run(plan)
    (plan.checkpoint / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(InputError, match="was made with another checkpoint; choose another folder with -o"):
        run(plan)
    (plan.output / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run.json is damaged \(.*\); remove .* and run again"):
        run(plan)


def test_what_is_no_checkpoint(case: Case, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no checkpoint.json; give a checkpoint such as run/best"):
        run(Plan(dataset=case.reference, checkpoint=tmp_path, output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_dry_run_prints_the_commands(case: Case, plan: Plan) -> None:
    words = ["run", "--dataset", case.reference, "--checkpoint", plan.checkpoint, "--split", case.split]
    result = CliRunner().invoke(app, [*map(str, words), "-o", str(plan.output), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert f"-m nextham predict {case.reference} --checkpoint {plan.checkpoint}" in result.output
    assert "2 structures would be predicted, scored and rendered" in result.output
    assert not plan.output.exists()


@pytest.mark.slow
def test_with_a_trained_network(tmp_path: Path) -> None:
    import small_training as small

    store = small.write(tmp_path / "store", *(small.system(id).with_meta(n_electrons=8.0) for id in "abcd"))
    small.run(store, tmp_path / "training", settings=small.fit(epochs=1))
    small.SPLIT.save(tmp_path / "split.json")
    words = ["run", "--dataset", store.path, "--checkpoint", tmp_path / "training" / "best", "--subset", "val"]
    words += ["--split", tmp_path / "split.json", "-o", tmp_path / "out"]
    command = [sys.executable, "-c", "from nextham_bench.cli import main; main()", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_scores(tmp_path / "out" / "scores.json").headline.n_structures == 1
    assert json.loads((tmp_path / "out" / "run.json").read_text())["split"] == small.SPLIT.sha256["val"]

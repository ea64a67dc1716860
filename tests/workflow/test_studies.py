"""The studies of the workflow: what they train, what stops them, and one small run of each."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from running_snakemake import ROOT, change, snakemake

from nextham.config import Config
from nextham.studies import ABLATIONS
from nextham.train.settings import FitSettings

TINY = {"channels": 4, "n_heads": 2, "lmax": 2, "n_blocks": 1, "width": 8}
TRAIN = {"epochs": 1, "batch_pairs": 40, "k_pool": 2, "k_per_step": 1, "device": "cpu"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with six recorded runs as source."""
    shutil.copy(ROOT / "config.yaml", tmp_path)
    (tmp_path / "runs").mkdir()
    for name in ("BeS-zb-0", "BeS-zb-1", "NaCl-rs-0", "NaCl-rs-1", "Si-dia-0", "Si-dia-1"):
        shutil.copy(ROOT / "examples" / "abacus-runs" / f"case-{name}.tar.xz", tmp_path / "runs")
    values = yaml.safe_load((tmp_path / "config.yaml").read_text())
    values["source"] = {"kind": "abacus-runs", "paths": ["runs"]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return tmp_path


def jobs(plan: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)\s+(\d+)$", plan, re.M))


def test_the_campaign_is_large_enough_and_every_element_has_several_crystals() -> None:
    config = Config.parse(yaml.safe_load((ROOT / "workflow" / "campaign.yaml").read_text()))
    assert len(config.source.items()) >= 300
    crystals = {id.rpartition("-")[0] for id in config.source.items()}
    of: dict[str, set[str]] = {}
    for crystal in crystals:
        for element in re.findall("[A-Z][a-z]?", crystal.split("-")[0]):
            of.setdefault(element, set()).add(crystal)
    assert len(of) >= 20
    assert min(map(len, of.values())) >= 3


def test_every_ablation_changes_something_and_fits_the_settings() -> None:
    rows = Config().studies()["ablations"]
    assert list(rows) == list(ABLATIONS)
    assert len({row.model_dump_json() for row in rows.values()}) == len(rows)


def test_a_study_changes_the_settings_of_the_config() -> None:
    config = Config.parse(
        {
            "model": {"preset": "small", "channels": 16},
            "train": {"epochs": 10, "seed": 3},
            "ablations": {"names": ["full", "no-k-loss"], "train": {"epochs": 2}},
            "learning_curve": {"sizes": [40, 10], "model": {"preset": "tiny"}},
        }
    )
    full, without = config.studies()["ablations"].values()
    assert (full.model.channels, full.model.lmax, full.train.epochs, full.train.seed) == (16, 5, 2, 3)
    assert (full.train.uses_spectra, without.train.uses_spectra) == (True, False)
    assert without.model == full.model
    small, large = config.studies()["learning_curve"].values()
    assert (small.train.epochs, large.train.epochs) == (40, 10)  # as many steps
    assert (small.train.validate_every_epochs, large.train.validate_every_epochs) == (20, 5)
    assert small.model == FitSettings().model


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"ablations": {"names": ["ful"]}}, "config.yaml: ablations.names.0"),
        ({"ablations": {"train": {"epoch": 3}}}, "ablations, row full: train.epoch is not a setting"),
        ({"learning_curve": {"sizes": []}}, "config.yaml: learning_curve.sizes"),
        ({"learning_curve": {"sizes": [0, 4]}}, "config.yaml: learning_curve.sizes.0"),
    ],
)
def test_a_bad_study_stops_the_dry_run(folder: Path, section: dict, sentence: str) -> None:  # type: ignore[type-arg]
    change(folder, **section)
    plan = snakemake(folder, "-n")
    assert plan.returncode != 0
    assert sentence in plan.stdout + plan.stderr


def test_a_study_is_planned_only_where_it_is_asked_for(folder: Path) -> None:
    change(folder, learning_curve={"sizes": [3, 4]})
    assert not {"study_train", "compare"} & set(jobs(snakemake(folder, "-n").stdout))
    plan = snakemake(folder, "-n", "ablations", "learning_curve")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    found = jobs(plan.stdout)
    assert found["study_train"] == found["study_score"] == str(len(ABLATIONS) + 2)
    assert (found["compare"], found["shorter_split"]) == ("2", "2")
    assert (found["score"], found["entry"]) == ("2", "2")  # H0 and zero
    assert (found["study_entry"], found["ablation_leaderboard"]) == (str(len(ABLATIONS)), "1")


def test_small_studies_from_runs_to_tables(folder: Path) -> None:
    change(
        folder,
        split={"fractions": {"train": 0.66, "val": 0.17, "test": 0.17}},
        model=TINY,
        train=TRAIN,
        ablations={"names": ["no-trace-grad"]},
        learning_curve={"sizes": [3]},
    )
    done = snakemake(folder, "--cores", "2", "ablations", "learning_curve", timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    results = folder / "results"
    names = {
        study: [row["name"] for row in json.loads((results / study / "table.json").read_text())["rows"]]
        for study in ("ablations", "learning_curve")
    }
    assert names == {"ablations": ["no-trace-grad", "H0 alone"], "learning_curve": ["3", "H0 alone"]}
    assert "training structures" in (results / "learning_curve" / "index.html").read_text()
    board = json.loads((results / "ablations" / "leaderboard" / "leaderboard.json").read_text())
    ranks = {line["name"]: line["rank"] for line in board["rankings"][0]["lines"]}
    assert ranks == {"NextHAM without TraceGrad": 1, "H0": None, "zero": None}
    whole, part = (
        json.loads(path.read_text())["splits"]
        for path in (results / "split.json", results / "learning_curve" / "3" / "split.json")
    )
    assert len(part["train"]) == 3 < len(whole["train"])
    assert set(part["train"]) < set(whole["train"])
    assert part["test"] == whole["test"]
    card = json.loads((results / "ablations" / "no-trace-grad" / "model" / "checkpoint.json").read_text())
    assert card["settings"]["trace_grad"] is False


def test_elements_are_left_out_only_where_they_are_named(folder: Path) -> None:
    plan = snakemake(folder, "-n", "leave_one_element_out")
    assert plan.returncode != 0
    assert "leave_one_element_out.elements is empty; name elements of the dataset" in plan.stdout + plan.stderr
    change(folder, leave_one_element_out={"elements": ["Be", "Na"], "train": {"epochs": 2}})
    plan = snakemake(folder, "-n", "leave_one_element_out")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    found = jobs(plan.stdout)
    assert {name: found[name] for name in ("element_split", "element_train", "element_score", "elements_page")} == {
        "element_split": "2",
        "element_train": "2",
        "element_score": "2",
        "elements_page": "1",
    }
    change(folder, leave_one_element_out={"elements": ["Xx"]})
    plan = snakemake(folder, "-n")
    assert "config.yaml: leave_one_element_out.elements.0: 'Xx' is not an element symbol" in plan.stdout + plan.stderr


def test_a_small_training_without_an_element(folder: Path) -> None:
    change(
        folder,
        split={"fractions": {"train": 0.6, "val": 0.2, "test": 0.2}},
        model=TINY,
        train=TRAIN,
        leave_one_element_out={"elements": ["Be"]},
    )
    done = snakemake(folder, "--cores", "2", "leave_one_element_out", timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    results = folder / "results" / "leave_one_element_out"
    split = json.loads((results / "Be" / "Be.json").read_text())["splits"]
    assert split["test"] == ["BeS-zb-0", "BeS-zb-1"]
    assert not any("Be" in id for id in split["train"] + split["val"])
    (row,) = json.loads((results / "elements.json").read_text())["rows"]
    assert (row["element"], row["n_structures"]) == ("Be", 2)
    assert "Be" in (results / "index.html").read_text()

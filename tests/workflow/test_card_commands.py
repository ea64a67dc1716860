"""The commands on the cards of our own rows plan what the cards are about."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from running_snakemake import ROOT, snakemake

from nextham.model.settings import PRESETS
from nextham.studies import ABLATIONS

CARDS = ROOT / "benchmark" / "models"


def command(card: str) -> list[str]:
    return shlex.split(yaml.safe_load((CARDS / f"{card}.yml").read_text())["command"])


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A working folder with what a command of a card names."""
    shutil.copy(ROOT / "config.yaml", tmp_path)
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_trained_scored_and_entered(clone: Path, preset: str) -> None:
    program, *words = command(f"nextham-{preset}")
    assert program == "snakemake"
    plan = snakemake(clone, "-n", "-p", *words)
    assert plan.returncode == 0, plan.stdout + plan.stderr
    (train,) = (line for line in plan.stdout.splitlines() if "nextham train" in line)
    assert f'"preset": "{preset}"' in train
    assert f"benchmark/models/nextham-{preset}.yml" in plan.stdout
    assert "leaderboard/index.html" in plan.stdout


@pytest.mark.slow
def test_ablations_are_trained_scored_and_entered(clone: Path) -> None:
    ((program, *words),) = {tuple(command(f"ablation-{name}")) for name in ABLATIONS}
    assert program == "snakemake"
    plan = snakemake(clone, "-n", "-p", *words)
    assert plan.returncode == 0, plan.stdout + plan.stderr
    for name in ABLATIONS:
        assert f"benchmark/models/ablation-{name}.yml --scores results/ablations/{name}/scores.json" in plan.stdout

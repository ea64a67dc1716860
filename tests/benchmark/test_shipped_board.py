"""The board that ships: its rows are those of the cards, and it renders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from nextham_bench.cli import app
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2] / "benchmark"
ENTRIES = sorted((ROOT / "board").glob("*.json"))
CARDS = {card["name"]: card for card in (yaml.safe_load(path.read_text()) for path in (ROOT / "models").glob("*.yml"))}


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.name.partition(".entry")[0])
def test_a_row_is_reproduced_by_the_command_of_its_card(path):
    entry = json.loads(path.read_text())
    card = CARDS[entry["card"]["name"]]
    assert entry["origin"] == "reproduced"
    assert (entry["card"]["version"], entry["card"]["command"]) == (card["version"], card["command"])
    assert not entry["scores"]["partial"]


def test_the_board_renders_with_every_row(tmp_path):
    words = ["leaderboard", "render", "--board", str(ROOT / "board"), "-o", str(tmp_path / "page")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    table = (tmp_path / "page" / "leaderboard.md").read_text()
    assert len(ENTRIES) > 10
    for path in ENTRIES:
        assert json.loads(path.read_text())["card"]["name"] in table

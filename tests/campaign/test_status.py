"""What status says: states, causes, yields, speed and time left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from made_campaign import planned, run, standing
from typer.testing import CliRunner

from nextham.campaign.items import Item
from nextham.campaign.lock import held
from nextham.campaign.status import _speed
from nextham.cli import app
from nextham.exceptions import InputError

pytestmark = pytest.mark.usefixtures("place")


def test_states_causes_and_yields_add_up():
    plan = planned("a", "b", "c-unconverged", "d", "e", most=3)  # a, c, e and b, d
    run(plan)
    (plan.folder.runs("00001") / "d").mkdir(parents=True)
    with held(plan.folder.chunk_lock("00001"), "it"):
        found = standing(plan).facts()
    assert {k: n for k, n in found["states"].items() if n} == {
        "stored": 2,
        "quarantined": 1,
        "running": 1,
        "pending": 1,
    }
    assert found["quarantine"] == {"unconverged": 1}
    assert found["chunks"] == {"00000": {"stored": 2, "quarantined": 1}, "00001": {"running": 1, "pending": 1}}
    assert list(found["running_chunks"]) == ["00001"]
    element = {"structures": 5, "finished": 2, "quarantined": 1, "by unconverged": 1}
    assert found["elements"] == {"As": element, "Ga": element}
    assert [entry["id"] for entry in found["failed"]] == ["c-unconverged"]
    assert found["bytes"]["chunks"] > 0
    assert standing(plan).facts()["states"]["running"] == 0  # its job is gone


def test_speed_is_that_since_the_last_pause():
    item = Item("x", cost_s=30)
    ends = [(0.0, item), (10.0, item), *((90_000.0 + 60 * k, item) for k in range(11))]
    speed = _speed(ends)
    assert speed.per_hour == pytest.approx(60)
    assert speed.cost_per_s == pytest.approx(0.5)
    assert _speed(ends[:1]) is None


def test_time_left_is_what_is_left_at_that_speed():
    plan = planned("a", "b", "c", "d", most=2)
    run(plan)
    status = standing(plan)
    cost = sum(item.cost_s for item in plan.items_of("00001"))
    assert status.left_s == pytest.approx(cost / status.speed.cost_per_s)
    run(plan, "00001")
    assert standing(plan).left_s == 0


def test_the_command_says_it_to_people_and_to_machines(monkeypatch):
    planned("a", "b-unconverged")
    Path("config.yaml").write_text("source: {kind: structures, paths: [crystals]}")
    monkeypatch.setattr("nextham.cli.engine.engine_of", lambda *_: FakeEngine("good"))
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def said(*words):
        done = CliRunner().invoke(app, ["campaign", *words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    assert "2 structures in 1 chunks" in said("plan", "results", "--config", "config.yaml")
    assert "1 of 2 structures (2 computed now; quarantined: 1 unconverged)" in said("compute", "results", "00000")
    page = said("status", "results", "--chunks")
    assert "results: 2 structures, 100.0 % seen to" in page
    assert "1 stored, 1 quarantined" in page
    assert "00000  1 stored, 1 quarantined" in page
    assert "no workflow is running" in page
    assert json.loads(said("status", "results", "--json"))["states"]["stored"] == 1
    assert said("pack", "results", "-o", "results/dataset") == "results/dataset: 1 structures from 1 chunks\n"
    assert said("retry", "results") == "1 structures will be tried again: run the workflow\n"


def test_a_folder_without_a_campaign_is_told():
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(app, ["campaign", "status", "nowhere"], catch_exceptions=False)
    assert str(caught.value) == (
        "there is no nowhere/campaign/config.json; start the workflow, or give --config to nextham campaign plan"
    )

"""A campaign of made-up crystals with the engine of fake_engine.py, in the working folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fake_engine import FakeEngine, write_crystals

from nextham.campaign import DatasetSettings, Rules
from nextham.campaign.assignment import Assignment
from nextham.campaign.chunk import Done, compute
from nextham.campaign.folder import write_json
from nextham.campaign.plan import Plan
from nextham.campaign.recipe import read_recipe
from nextham.campaign.status import Status, status_of
from nextham.campaign.work import Calculations
from nextham.config import Config

RESULTS = Path("results")
FAKE = Path(__file__).parents[1] / "fake_engine.py"
RULES = Rules("scf", DatasetSettings())


def config_of(most: int = 64, lcao: dict[str, Any] | None = None, **campaign: Any) -> Config:
    source = {"kind": "structures", "paths": ["crystals"], "chunk_size": most}
    settings = {"cores": 1, "max_attempts": 2, **campaign}
    return Config.parse({"source": source, "lcao": lcao or {}, "campaign": settings})


def assignment(**how: Any) -> Assignment:
    return config_of(**how).work()


def planned(*ids: str, **how: Any) -> Plan:
    """Write crystals, if any are named, and plan."""
    if ids:
        for path in Path("crystals").glob("*"):
            path.unlink()
        write_crystals(Path("crystals"), *ids)
    config = config_of(**how)
    write_json(config.work().folder.config, config.all_set())
    return config.work().make_plan(sorted(map(str, Path("crystals").iterdir())))


def run(plan: Plan, name: str = "00000", *, engine: Any = FakeEngine, **how: Any) -> Done:
    """Compute a chunk."""
    recipe = read_recipe(plan.folder)
    assert recipe is not None
    work = Calculations(engine("good"), recipe, RULES, "1.0")
    return compute(plan, name, work, assignment(**how).campaign, workers=1)


def standing(plan: Plan) -> Status:
    return status_of(plan, max_attempts=2)


def states(plan: Plan) -> dict[str, str]:
    return {s.item.id: s.state.value for s in standing(plan).structures}


def command(*words: object) -> list[str]:
    """Return the command line of nextham campaign with the made-up engine."""
    return [sys.executable, str(FAKE), "good", "campaign", *map(str, words)]

"""A campaign of ABACUS; the program is a stand-in that replays a recorded run or fails as the real one does."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nextham.campaign.status import status_of
from nextham.cli import app
from nextham.config import Config
from nextham.data.store import Store
from nextham.exceptions import NexthamError

ROOT = Path(__file__).parents[2]
ARCHIVE = ROOT / "examples" / "abacus-runs" / "case-BeS-zb-0.tar.xz"


@pytest.fixture
def campaign(place):
    """Return what runs the commands of a campaign of one crystal, and what has been called."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall("recorded", filter="data")
    (case,) = Path("recorded").iterdir()
    Path("crystals/BeS").mkdir(parents=True)
    shutil.copy(case / "abacus_scf" / "STRU", "crystals/BeS/STRU")
    for name, shells in {"Be": "4S 1P", "S": "2S 2P 1D"}.items():
        Path(f"{name}.upf").write_text(f"<UPF of {name}>")
        counts = [f"Number of {shell[1]}orbital--> {shell[0]}" for shell in shells.split()]
        Path(f"{name}.orb").write_text("\n".join(["Radius Cutoff(a.u.) 7", *counts, ""]))

    def run(*words: str, mode: str = "replay", **abacus: object) -> str:
        command = shlex.join([sys.executable, str(ROOT / "tests" / "fake_abacus.py"), mode, str(case.absolute())])
        abacus = {"command": command, "pseudo_dir": ".", "orbital_dir": ".", "kspacing_inv_bohr": 0.2, **abacus}
        config = {
            "source": {"kind": "structures", "paths": ["crystals/BeS/STRU"]},
            "engine": "abacus",
            "abacus": abacus,
            "campaign": {"max_attempts": 2, "runs": "archive"},
        }
        Path("config.json").write_text(json.dumps(config))
        for each in (["plan", "results", "--config", "config.json"], list(words)):
            CliRunner().invoke(app, ["campaign", *each], catch_exceptions=False)
        work = Config.parse(config).work()
        (found,) = status_of(work.plan, max_attempts=2).structures
        return f"{found.state.value} {found.last.cause if found.last else ''}".strip()

    return run


@pytest.fixture(autouse=True)
def _signals(monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)


def test_a_good_run_becomes_a_record_and_an_archive_that_can_be_imported(campaign):
    assert campaign("compute", "results", "00000") == "stored"
    archive = "results/campaign/runs/00000/BeS.tar.xz"
    CliRunner().invoke(app, ["import-abacus", archive, "-o", "again"], catch_exceptions=False)
    one, two = Store("results/chunks/00000"), Store("again")
    assert one.checksum("BeS") == two.checksum("BeS")


@pytest.mark.parametrize("mode", ["segfault", "half-matrix", "killed"])
def test_what_may_pass_is_tried_again(campaign, mode):
    with pytest.raises(NexthamError, match="1 of 1 structures are not finished"):
        campaign("compute", "results", "00000", mode=mode)
    assert campaign("compute", "results", "00000", mode="replay") == "stored"


@pytest.mark.parametrize(
    ("mode", "settings", "state"),
    [
        ("unconverged", {}, "quarantined unconverged"),
        ("hang", {"timeout_h0_s": 1.0}, "quarantined timeout"),
        ("no-upf", {}, "quarantined missing-file"),
    ],
)
def test_what_would_come_again_waits_until_somebody_asks(campaign, mode, settings, state):
    assert campaign("compute", "results", "00000", mode=mode, **settings) == state
    assert campaign("compute", "results", "00000") == state
    ledger = Store("results/chunks/00000").ledger
    assert [attempt["mixing_beta"] for attempt in ledger.last()["BeS"].attempts] == (
        [None, 0.2, 0.05] if mode == "unconverged" else []
    )
    assert campaign("retry", "results") == "retrying retry"
    assert campaign("compute", "results", "00000") == "stored"

"""A campaign of the ABACUS on PATH: killed in the middle, and number by number the embedded engine's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from nextham.data.store import Store
from nextham.structures.extxyz import write_extxyz
from nextham.structures.generate import build
from nextham.structures.settings import CrystalSettings

pytestmark = [
    pytest.mark.abacus,
    pytest.mark.skipif(shutil.which("abacus") is None, reason="there is no abacus on PATH"),
]

RECIPE = {"ecutwfc_ry": 50, "kspacing_inv_bohr": 0.5}
NEXTHAM = [sys.executable, "-c", "from nextham.cli import main; main()"]
S_TOLERANCE, H0_TOLERANCE_EV, H_TOLERANCE_EV = 2e-9, 1e-6, 2e-5  # printed digits; the threshold of the SCF


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    crystals = CrystalSettings(prototypes={"A4": {"Si": 5.431}, "B1": {"NaF": 4.634}}, perturbed=0)
    write_extxyz(Path("crystals.extxyz"), build(crystals).found)
    return tmp_path


def write_config(**abacus):
    config = {
        "source": {"kind": "structures", "paths": ["crystals.extxyz"]},
        "engine": "abacus",
        "species": {"source": "embedded"},
        "abacus": {**RECIPE, **abacus},
        "campaign": {"cores": 1, "runs": "archive"},
    }
    Path("config.yaml").write_text(json.dumps(config))


def nextham(*words):
    done = subprocess.run([*NEXTHAM, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_campaign_killed_in_the_middle_has_the_numbers_of_the_embedded_engine(place):
    write_config()
    nextham("campaign", "plan", "results", "--config", "config.yaml")
    job = subprocess.Popen([*NEXTHAM, "campaign", "compute", "results", "00000", "--cores", "1"])
    running = wait_for(lambda: finished() and abacus_of(job.pid))
    job.kill()
    job.wait()
    wait_for(lambda: not any(process.is_running() and process.status() != "zombie" for process in running))
    known = finished()
    said = nextham("campaign", "compute", "results", "00000", "--cores", "1")
    assert f"2 of 2 structures ({2 - len(known)} computed now)" in said
    again = nextham("import-abacus", *map(str, Path("results").glob("campaign/runs/*/*.tar.xz")), "-o", "again")
    assert "2 of 2 structures" in again
    nextham("scf", "crystals.extxyz", "-o", "embedded", "--settings", json.dumps({"lcao": RECIPE}))
    store, own = Store("results/chunks/00000"), Store("embedded")
    assert len(store) == 2
    for id in store.ids:
        assert Store("again").checksum(id) == store.checksum(id)
        for name, tolerance in (("overlap", S_TOLERANCE), ("h0", H0_TOLERANCE_EV), ("hamiltonian", H_TOLERANCE_EV)):
            difference = store[id].on(own[id].pairs).operator(name) - own[id].operator(name)
            assert np.abs(difference.values).max() < tolerance, (id, name)


def test_both_routes_to_h0_give_the_same_numbers(place):
    for route in ("auto", "scf1"):
        settings = json.dumps({"abacus": {**RECIPE, "h0_route": route}, "species": {"source": "embedded"}})
        nextham("h0", "crystals.extxyz", "-o", route, "--engine", "abacus", "--settings", settings)
    one, two = Store("auto"), Store("scf1")
    for id in one.ids:
        for name in ("overlap", "h0"):
            difference = one[id].operator(name) - two[id].operator(name)
            assert np.abs(difference.values).max() < 1e-9


def finished():
    return {path.parent.name for path in Path("results").glob("campaign/runs/*/*/finished.npz")}


def abacus_of(pid):
    """Return running SCFs below a process."""
    found = psutil.Process(pid).children(recursive=True)
    return [process for process in found if process.name() == "abacus" and process.cwd().endswith("abacus_scf")]


def wait_for(true, seconds=600.0):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found

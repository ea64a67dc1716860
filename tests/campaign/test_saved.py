"""Outcomes kept until the store is written: what is read back, what is computed again, and that it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engine import CALLS, FakeEngine, calls, write_crystals

from nextham.campaign import Computation, EngineSettings, RunFolders, Target, Task, run_structures
from nextham.data.settings import CheckSettings, StoreSettings
from nextham.data.store import Store
from nextham.exceptions import NexthamError

QUICK = ("a-1", "b-1", "c-1")
ALL = [*QUICK, "slow-1", "slow-2"]
OTHER = "the saved result is of another crystal, other settings, species files or version"


class Interrupted(FakeEngine):
    """Is stopped by Ctrl-C when a slow crystal comes."""

    def scf(self, structure, *, id, folder):
        if id.startswith("slow"):
            raise KeyboardInterrupt
        return super().scf(structure, id=id, folder=folder)


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_crystals(Path("crystals"), *ALL)


def run(output="store", *, engine=FakeEngine, recipe="good", task=Task.SCF, keep=False, **settings):
    """Return the summary, and what was computed for it."""
    CALLS.unlink(missing_ok=True)
    files = sorted(Path("crystals").iterdir())
    how = Computation(task, RunFolders(Path("runs"), keep))
    summary = run_structures(files, engine(recipe), Target(Path(output)), how, settings=EngineSettings(**settings))
    return summary, sorted(calls())


def interrupt(**how):
    with pytest.raises(KeyboardInterrupt):
        run(engine=Interrupted, **how)
    assert not Path("store").exists()


def facts(id):
    return Store("store").ledger.last()[id].facts


def test_a_record_read_back_is_the_one_that_would_have_been_written():
    interrupt()
    summary, computed = run()
    assert (summary.read_back, computed) == (3, ["slow-1", "slow-2"])
    assert facts("a-1") == {"read_back": True}
    assert not Path("runs").exists()
    run("whole")
    resumed, whole = Store("store"), Store("whole")
    assert sorted(resumed.ids) == sorted(whole.ids) == ALL
    for id in ALL:
        assert resumed.checksum(id) == whole.checksum(id)
        assert resumed.certificate(id) == whole.certificate(id)
        assert resumed.provenance(id) == whole.provenance(id)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": "another"},
        {"checks": CheckSettings(band_tolerance_ev=0.01)},
        {"store": StoreSettings(fraction_bits=30)},
        {"task": Task.H0},
    ],
)
def test_what_follows_from_other_settings_is_computed_again_and_told(change):
    interrupt()
    assert run(**change)[1] == ALL
    assert facts("a-1")["computed_again"] == OTHER
    assert "computed_again" not in facts("slow-2")


def test_a_changed_crystal_and_a_damaged_file_are_computed_again():
    interrupt()
    write_crystals(Path("crystals"), "b-1", "a-1")  # each with the other's positions
    damaged = Path("runs/c-1/finished.npz")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert run()[1] == ALL
    assert facts("a-1")["computed_again"] == OTHER
    assert facts("c-1")["computed_again"].startswith(
        "the saved result cannot be used: runs/c-1/finished.npz is damaged"
    )


def test_how_shards_are_written_does_not_matter():
    interrupt()
    assert run(store=StoreSettings(structures_per_shard=2))[1] == ["slow-1", "slow-2"]
    assert len(Store("store").shards) == 3


def test_what_did_not_converge_is_remembered_after_an_interruption_only():
    Path("crystals/c-1.vasp").rename("crystals/c-unconverged.vasp")
    interrupt()
    summary, computed = run()
    assert computed == ["slow-1", "slow-2"]
    assert [(entry.id, entry.cause, entry.log_tail) for entry in summary.failed] == [
        ("c-unconverged", "unconverged", "drho 0.1")
    ]
    assert facts("c-unconverged") == {"read_back": True, "formula": "AsGa"}
    assert not Path("runs").exists()
    assert "c-unconverged" in run("again")[1]


def test_a_campaign_without_any_record_forgets_its_failures():
    for path in Path("crystals").iterdir():
        path.rename(path.with_name(f"{path.stem}-unconverged.vasp"))
    for _ in range(2):
        with pytest.raises(NexthamError, match=r"no structure of 5 gave a record \(5 unconverged\)"):
            run()
        assert len(calls()) == 5


def test_kept_run_folders_do_not_hold_the_records():
    run(keep=True)
    assert not list(Path().rglob("finished.npz"))


def test_a_disk_that_refuses_to_keep_a_result_loses_nothing():
    Path("runs/a-1/finished.npz/in the way").mkdir(parents=True)
    summary, computed = run()
    assert (len(summary.stored), computed) == (5, ALL)
    assert "runs/a-1/finished.npz cannot be written" in facts("a-1")["not_saved"]

"""One bad structure never stops a campaign and is counted with its reason."""

from __future__ import annotations

import errno

import pytest

from nextham.campaign import DatasetSettings, Job, Rules, Target, collect
from nextham.data.ledger import Ledger
from nextham.data.settings import StoreSettings
from nextham.data.store import Store
from nextham.dft.engine import Cause, RunError, RunResult
from nextham.exceptions import InputError, NexthamError, WriteError


def fail(error: Exception):
    def run() -> RunResult:
        raise error

    return run


def test_each_kind_of_failure_is_counted_and_the_rest_goes_on(tmp_path, example):
    system = example("BeS-zb-0").system
    jobs = [
        Job("crashed", fail(RunError(Cause.CRASHED, "crashed: it crashed", log_tail="last words"))),
        Job("misread", fail(InputError("misread: not a file"))),
        Job("surprise", fail(KeyError("EFERMI"))),
        Job("good", lambda: RunResult(system.with_meta(id="good"))),
        Job("torn", lambda: RunResult(system.with_meta(id="torn", converged=False))),
        Job("known", fail(RunError(Cause.UNCONVERGED, "known: it did not converge")), formula="As2Ga2"),
    ]
    summary = collect(jobs, Target(tmp_path / "store"), Rules("scf", DatasetSettings()))
    assert summary.stored == ("good",)
    assert summary.causes == {"crashed": 1, "bad-input": 1, "unexpected": 1, "converged": 1, "unconverged": 1}
    entries = {entry.id: entry for entry in summary.failed}
    assert entries["crashed"].log_tail == "last words"
    assert entries["surprise"].message == (
        "surprise: unexpected KeyError: 'EFERMI'; please report it with the log tail"
    )
    assert "KeyError" in entries["surprise"].log_tail
    formulas = {id: entry.facts["formula"] for id, entry in entries.items() if "formula" in entry.facts}
    assert formulas == {"torn": "BeS", "known": "As2Ga2"}  # as far as the crystal is known
    ledger = Store(tmp_path / "store").ledger
    assert ledger is not None
    assert len(list(ledger.entries())) == len(jobs)


def test_nothing_left(tmp_path):
    jobs = [Job("a", fail(InputError("a: not a file")))]
    with pytest.raises(
        NexthamError, match=r"no structure of 1 gave a record \(1 bad-input\).*the first: a: not a file"
    ):
        collect(jobs, Target(tmp_path / "store"), Rules("import", DatasetSettings()))
    assert not (tmp_path / "store").exists()


def test_an_empty_list_of_jobs(tmp_path):
    with pytest.raises(NexthamError, match="there is no structure to write to"):
        collect([], Target(tmp_path / "store"), Rules("import", DatasetSettings()))
    collect([], Target(tmp_path / "store", allow_empty=True), Rules("import", DatasetSettings()))
    assert len(Store(tmp_path / "store")) == 0


def good(system, id):
    return Job(id, lambda: RunResult(system.with_meta(id=id)))


def test_what_the_system_refuses_in_one_run_stays_with_that_structure(tmp_path, example):
    jobs = [
        Job("gone", fail(FileNotFoundError(errno.ENOENT, "No such file or directory", "runs/gone/STRU"))),
        Job("shut", fail(PermissionError(errno.EACCES, "Permission denied", "runs/shut/STRU"))),
        good(example("BeS-zb-0").system, "good"),
    ]
    summary = collect(jobs, Target(tmp_path / "store"), Rules("import", DatasetSettings()))
    assert summary.stored == ("good",)
    assert [(entry.cause, entry.message) for entry in summary.failed] == [
        ("missing-file", "gone: runs/gone/STRU: No such file or directory; check the path"),
        ("bad-input", "shut: runs/shut/STRU: permission denied; choose another place or change the permissions"),
    ]


def test_a_full_disk_ends_the_campaign_in_one_sentence_and_keeps_the_ledger(tmp_path, example, monkeypatch):
    def full(path, *_):
        path.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nextham.data.shard_write.write_shard", full)
    system = example("BeS-zb-0").system
    jobs = [Job("bad", fail(InputError("bad: not a file"))), *(good(system, id) for id in "abcd")]
    target = Target(tmp_path / "store")
    settings = DatasetSettings(store=StoreSettings(structures_per_shard=2))
    with pytest.raises(WriteError) as raised:
        collect(jobs, target, Rules("import", settings))
    assert str(raised.value) == (
        f"{tmp_path}/store cannot be written: the disk is full; make room and start the command again"
    )
    assert list(tmp_path.iterdir()) == [target.ledger]
    assert [entry.id for entry in Ledger(target.ledger).entries()] == ["bad", "a"]


def test_the_ledger_of_a_killed_campaign_does_not_enter_the_store(tmp_path, example):
    target = Target(tmp_path / "store")
    stale = Ledger(target.ledger)
    for id in ("x", "y", "z"):
        stale.success(id, "import")
    stale.failure("a", "import", "crashed", "a: it crashed")
    collect([good(example("BeS-zb-0").system, "a")], target, Rules("import", DatasetSettings()))
    ledger = Store(target.path).ledger
    assert ledger is not None
    assert ledger.summary() == {"ok": 1}
    assert [entry.id for entry in ledger.entries()] == ["a"]
    assert not target.ledger.exists()


def test_a_refused_target_keeps_the_ledger_beside_it(tmp_path):
    target = Target(tmp_path / "store")
    target.path.mkdir()
    (target.path / "file").touch()
    Ledger(target.ledger).success("x", "import")
    with pytest.raises(InputError, match="exists already"):
        collect([Job("a", fail(InputError("a")))], target, Rules("import", DatasetSettings()))
    assert Ledger(target.ledger).summary() == {"ok": 1}

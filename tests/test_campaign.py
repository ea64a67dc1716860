"""One bad structure never stops a campaign and is counted with its reason."""

from __future__ import annotations

import pytest

from nextham.campaign import DatasetSettings, Target, collect
from nextham.data.store import Store
from nextham.dft.engine import Cause, RunError, RunResult
from nextham.exceptions import InputError, NexthamError


def fail(error: Exception):
    def run() -> RunResult:
        raise error

    return run


def test_each_kind_of_failure_is_counted_and_the_rest_goes_on(tmp_path, example):
    system = example("BeS-zb-0").system
    jobs = [
        ("crashed", fail(RunError(Cause.CRASHED, "crashed: it crashed", log_tail="last words"))),
        ("misread", fail(InputError("misread: not a file"))),
        ("surprise", fail(KeyError("EFERMI"))),
        ("good", lambda: RunResult(system.with_meta(id="good"))),
        ("torn", lambda: RunResult(system.with_meta(id="torn", converged=False))),
    ]
    summary = collect(jobs, Target(tmp_path / "store"), stage="scf", settings=DatasetSettings())
    assert summary.stored == ("good",)
    assert summary.causes == {"crashed": 1, "bad-input": 1, "unexpected": 1, "converged": 1}
    entries = {entry.id: entry for entry in summary.failed}
    assert entries["crashed"].log_tail == "last words"
    assert entries["surprise"].message == (
        "surprise: unexpected KeyError: 'EFERMI'; please report it with the log tail"
    )
    assert "KeyError" in entries["surprise"].log_tail
    ledger = Store(tmp_path / "store").ledger
    assert ledger is not None
    assert len(list(ledger.entries())) == len(jobs)


def test_nothing_left(tmp_path):
    jobs = [("a", fail(InputError("a: not a file")))]
    with pytest.raises(
        NexthamError, match=r"no structure of 1 gave a record \(1 bad-input\).*the first: a: not a file"
    ):
        collect(jobs, Target(tmp_path / "store"), stage="import", settings=DatasetSettings())
    assert not (tmp_path / "store").exists()


def test_an_empty_list_of_jobs(tmp_path):
    with pytest.raises(NexthamError, match="there is no structure to write to"):
        collect([], Target(tmp_path / "store"), stage="import", settings=DatasetSettings())
    collect([], Target(tmp_path / "store", allow_empty=True), stage="import", settings=DatasetSettings())
    assert len(Store(tmp_path / "store")) == 0

"""A chunk from structures to its store: kept, quarantined, tried again, and never computed twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_engine import FakeEngine, calls, note, write_crystals
from made_campaign import planned, run, standing, states

from nextham.campaign.asking import retry
from nextham.campaign.chunk import UnfinishedError
from nextham.campaign.history import History
from nextham.campaign.plan import Plan
from nextham.data.store import Store
from nextham.dft.engine import Cause, RunError
from nextham.exceptions import InputError, WriteError

pytestmark = pytest.mark.usefixtures("place")


class Failing(FakeEngine):
    """Fails by the cause that an id names."""

    def scf(self, structure, *, id, folder):
        for cause in Cause:
            if cause.value in id:
                note(id)
                raise RunError(cause, f"{id}: {cause.value}", log_tail="the end", attempts=[{"mixing_beta": 0.4}])
        return super().scf(structure, id=id, folder=folder)


def receipt(plan: Plan) -> str:
    return plan.folder.receipt("00000").read_text()


def test_a_chunk_becomes_a_store_with_its_ledger():
    plan = planned("a", "b", "c-unconverged")
    done = run(plan)
    assert str(done) == "chunk 00000: 2 of 3 structures (3 computed now; quarantined: 1 unconverged)"
    store = Store("results/chunks/00000")
    assert sorted(store.ids) == ["a", "b"]
    causes = {id: entry.cause for id, entry in store.ledger.last().items()}
    assert causes == {"a": "", "b": "", "c-unconverged": "unconverged"}
    assert store.ledger.last()["c-unconverged"].facts["formula"] == "AsGa"  # its id does not tell its elements
    assert not list(Path("results/campaign/runs").rglob("finished.npz"))
    assert states(plan) == {"a": "stored", "b": "stored", "c-unconverged": "quarantined"}


def test_a_finished_chunk_computes_nothing_and_its_receipt_stays():
    plan = planned("a", "b-unconverged")
    run(plan)
    before, written = receipt(plan), Path("results/chunks/00000/store.json").stat().st_mtime_ns
    plan.folder.receipt("00000").unlink()
    assert run(plan).computed == 0
    assert receipt(plan) == before
    assert Path("results/chunks/00000/store.json").stat().st_mtime_ns == written
    assert calls() == ["a", "b-unconverged"]


def test_what_may_pass_is_tried_again_a_few_times():
    plan = planned("a", "b-killed", "c-crashed")
    for attempt in (1, 2):
        if attempt == 1:
            with pytest.raises(UnfinishedError) as caught:
                run(plan, engine=Failing)
            assert str(caught.value) == (
                "chunk 00000: 2 of 3 structures are not finished (1 killed, 1 crashed, attempt 1 of 2 at most); the "
                "others are kept, run the workflow again. The first: b-killed: killed"
            )
            assert states(plan) == {"a": "finished", "b-killed": "retrying", "c-crashed": "retrying"}
            assert not Path("results/chunks/00000").exists()
        else:
            assert run(plan, engine=Failing).failed == {"killed": 1, "crashed": 1}
    assert sorted(calls()) == ["a", *["b-killed"] * 2, *["c-crashed"] * 2]
    last = Store("results/chunks/00000").ledger.last()["b-killed"]
    assert last.facts["attempt"] == 2
    assert last.attempts == ({"mixing_beta": 0.4},)
    assert last.log_tail == "the end"


@pytest.mark.parametrize("cause", ["unconverged", "timeout", "bad-input", "missing-file", "inconsistent-output"])
def test_what_would_come_again_is_quarantined_at_once(cause):
    plan = planned("a", f"b-{cause}")
    assert run(plan, engine=Failing).failed == {cause: 1}
    assert run(plan, engine=Failing).computed == 0


@pytest.mark.parametrize("cause", ["disk-full", "disk-limit"])
def test_want_of_room_is_no_fault_of_a_structure(cause):
    plan = planned("a", f"b-{cause}")
    for _ in range(4):
        with pytest.raises(UnfinishedError, match=rf"1 of 2 structures are not finished \(1 {cause}\)"):
            run(plan, engine=Failing)
    assert calls().count("a") == 1


def test_quarantined_structures_are_tried_again_where_somebody_asks():
    plan = planned("a", "b-unconverged", "c-timeout")
    run(plan, engine=Failing)
    assert retry(plan, causes=["timeout"], max_attempts=2) == ["c-timeout"]
    assert states(plan) == {"a": "stored", "b-unconverged": "quarantined", "c-timeout": "retrying"}
    assert not plan.folder.receipt("00000").exists()
    done = run(plan)  # it goes well now
    assert (done.stored, done.computed, dict(done.failed)) == (2, 1, {"unconverged": 1})
    assert calls() == ["a", "b-unconverged", "c-timeout", "c-timeout"]
    assert retry(plan, ids=["b-unconverged"], max_attempts=2) == ["b-unconverged"]
    with pytest.raises(InputError, match="a is not in quarantine; nextham campaign status lists what is"):
        retry(plan, ids=["a"], max_attempts=2)
    with pytest.raises(InputError, match=r"nothing is in quarantine by timeuot; nextham"):
        retry(plan, causes=["timeuot"], max_attempts=2)
    with pytest.raises(InputError, match=r"b-unconverged is not in quarantine"):  # it was asked for already
        retry(plan, ids=["b-unconverged"], max_attempts=2)


def test_another_try_gives_all_attempts_again():
    plan = planned("a-killed")
    for expected in (UnfinishedError, None):
        with pytest.raises(expected) if expected else no_error():
            run(plan, engine=Failing)
    retry(plan, max_attempts=2)
    with pytest.raises(UnfinishedError, match="attempt 1 of 2"):
        run(plan, engine=Failing)


def no_error():
    from contextlib import nullcontext

    return nullcontext()


def test_only_a_crystal_that_changed_is_computed_again():
    plan = planned("a", "b-unconverged", "c-unconverged")
    run(plan)
    Path("calls.txt").unlink()
    write_crystals(Path("crystals"), "x", "c-unconverged")  # of another place in the list: other positions
    plan = planned()
    assert not plan.folder.receipt("00000").exists()
    assert run(plan).computed == 1
    assert calls() == ["c-unconverged"]
    assert sorted(item.id for item in plan.items_of("00001")) == ["x"]


def test_a_structure_that_is_gone_leaves_the_store():
    run(planned("a", "b"))
    Path("crystals/b.vasp").unlink()
    assert run(planned()).computed == 0
    assert Store("results/chunks/00000").ids == ("a",)


def test_a_lost_store_is_computed_again_and_a_lost_ledger_is_not_missed():
    plan = planned("a", "b")
    run(plan)
    plan.folder.ledger("00000").unlink()
    plan.folder.receipt("00000").unlink()
    assert run(plan).computed == 0
    shutil.rmtree("results/chunks/00000")
    assert run(plan).computed == 2


def test_a_full_disk_while_packing_loses_nothing(monkeypatch):
    def full(path, *_):
        import errno

        path.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    plan = planned("a", "b")
    with monkeypatch.context() as patched:
        patched.setattr("nextham.data.shard_write.write_shard", full)
        with pytest.raises(WriteError) as caught:
            run(plan)
    assert str(caught.value) == (
        "results/chunks/00000 cannot be written: the disk is full; make room and start the command again"
    )
    assert sorted(path.name for path in Path("results/chunks").iterdir()) == []
    done = run(plan)
    assert (done.stored, done.computed) == (2, 0)
    assert calls() == ["a", "b"]


def test_what_was_in_flight_when_a_job_was_killed_comes_last():
    plan = planned("a", "b", "c")
    Path("results/campaign/runs/00000/a").mkdir(parents=True)
    run(plan)
    assert calls() == ["b", "c", "a"]


def test_history_of_a_chunk_that_never_began():
    plan = planned("a")
    history = History.of(plan.folder, "00000", 3)
    assert (history.last("a"), history.failures("a"), history.quarantined("a")) == (None, 0, None)
    assert standing(plan).left_s is None
    assert states(plan) == {"a": "pending"}

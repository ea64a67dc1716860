"""Room on the disk: the limit, and what becomes of runs."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_engine import FakeEngine, calls
from made_campaign import planned, run

from nextham.campaign import disk
from nextham.campaign.chunk import UnfinishedError
from nextham.campaign.disk import DiskLimit, used_bytes
from nextham.campaign.folder import CampaignFolder
from nextham.data.store import Store
from nextham.dft.engine import Cause, RunError
from nextham.exceptions import NexthamError

pytestmark = pytest.mark.usefixtures("place")


class Writing(FakeEngine):
    """Leaves a log, a large file and a link."""

    def scf(self, structure, *, id, folder):
        folder.mkdir(parents=True, exist_ok=True)
        Path("species.upf").write_text("content of the species file")
        (folder / "species.upf").symlink_to(Path("species.upf").absolute())
        (folder / "running.log").write_text("steps")
        (folder / "matrix.csr").write_bytes(bytes(2_000_000))
        return super().scf(structure, id=id, folder=folder)


@pytest.fixture(autouse=True)
def _fresh():
    disk._recent.cache_clear()


def left(plan):
    runs = plan.folder.runs("00000")
    return {str(path.relative_to(runs)) for path in runs.rglob("*") if path.is_file()}


def test_runs_are_deleted_by_default_and_of_a_failed_one_the_log_stays():
    plan = planned("a", "b-unconverged")
    run(plan, engine=Writing)
    assert left(plan) == {f"b-unconverged/{name}" for name in ("running.log", "species.upf")}


def test_runs_may_be_kept():
    plan = planned("a", "b-unconverged", runs="keep")
    run(plan, engine=Writing, runs="keep")
    names = ("running.log", "species.upf", "matrix.csr")
    assert left(plan) == {f"{id}/{name}" for id in ("a", "b-unconverged") for name in names}


def test_runs_may_become_archives_that_need_no_other_file():
    plan = planned("a", "b-unconverged", runs="archive")
    run(plan, engine=Writing, runs="archive")
    assert left(plan) == {"a.tar.xz", "b-unconverged.tar.xz"}
    Path("species.upf").unlink()
    with tarfile.open(plan.folder.runs("00000") / "a.tar.xz") as archive:
        assert archive.extractfile("a/species.upf").read() == b"content of the species file"
        assert {member.name for member in archive if member.isfile()} == {
            "a/species.upf",
            "a/running.log",
            "a/matrix.csr",
        }


def test_a_kill_between_store_and_archives_is_made_good(monkeypatch):
    plan = planned("a", runs="archive")
    with monkeypatch.context() as patched:
        patched.setattr("nextham.campaign.chunk.tidy", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(plan, engine=Writing, runs="archive")
    assert not plan.folder.receipt("00000").exists()
    assert run(plan, engine=Writing, runs="archive").computed == 0
    assert left(plan) == {"a.tar.xz"}
    assert calls() == ["a"]


def test_no_run_is_started_beyond_the_limit():
    plan = planned("a", "b", "c", runs="keep", disk_gb=0.003)
    with pytest.raises(UnfinishedError) as caught:
        run(plan, engine=Aging, runs="keep", disk_gb=0.003)  # 2 MB a run
    assert "1 of 3 structures are not finished (1 disk-limit)" in str(caught.value)
    assert str(caught.value).endswith(
        "c is not started: results holds 0.0 GB and campaign.disk_gb is 0.003; make room there (campaign.runs: delete "
        "keeps no runs) or raise it"
    )
    disk._recent.cache_clear()
    assert run(plan, engine=Writing, runs="keep", disk_gb=1).computed == 1
    assert calls() == ["a", "b", "c"]


class Aging(Writing):
    """... and time passes meanwhile."""

    def scf(self, structure, *, id, folder):
        disk._recent.cache_clear()
        return super().scf(structure, id=id, folder=folder)


def test_no_run_is_started_on_a_full_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(RunError, match=r"a is not started: the disk of .* is full; make room there") as caught:
        DiskLimit(CampaignFolder(tmp_path), None).check("a")
    assert caught.value.cause is Cause.DISK_FULL


def test_what_is_used_is_told_by_receipts_and_by_looking():
    plan = planned("a", "b", most=1, runs="keep")
    run(plan, engine=Writing, runs="keep")
    by_receipt = used_bytes(plan.folder)
    plan.folder.receipt("00000").rename("receipt")
    by_looking = used_bytes(plan.folder)
    assert by_receipt["runs"] == by_looking["runs"] > 2_000_000
    assert by_receipt["chunks"] == by_looking["chunks"] > 10_000
    (plan.folder.runs("00001") / "b").mkdir(parents=True)
    (plan.folder.runs("00001") / "b" / "file").write_bytes(bytes(5000))
    assert used_bytes(plan.folder)["runs"] == by_looking["runs"] + 5000


class Filling(FakeEngine):
    """Fills the disk up while the second structure is computed."""

    def scf(self, structure, *, id, folder):
        if id == "b":
            folder.mkdir(parents=True, exist_ok=True)
            free = disk.shutil.disk_usage(folder).free
            with (folder / "large").open("wb") as file:
                for _ in range((free - 100_000) // 100_000):
                    file.write(bytes(100_000))
        return super().scf(structure, id=id, folder=folder)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small disk")
def test_a_real_disk_that_fills_up_costs_the_structure_in_flight(monkeypatch, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=70m", "small", small], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.decode()}")
    try:
        monkeypatch.chdir(small)
        plan = planned("a", "b", "c")
        with pytest.raises(NexthamError, match=r"the disk (of results )?is full; make room"):
            run(plan, engine=Filling)
        assert not plan.folder.store("00000").exists()
        (plan.folder.runs("00000") / "b" / "large").unlink()
        assert run(plan).stored == 3
        assert sorted(set(calls())) == ["a", "b", "c"]
        assert calls().count("a") == 1
        assert Store(plan.folder.store("00000")).ids
    finally:
        monkeypatch.undo()
        subprocess.run(["umount", "-l", small], check=True)

"""Several processes are one with larger batches: two on the CPU, over gloo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_training import fit, rows, same, system, weights, write

from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.exceptions import NexthamError
from nextham.train import loop
from nextham.train.parallel import Ranks, alone, launch
from nextham.train.settings import FitSettings, TrainSettings

SPLIT = Split({"train": ("a", "b", "c", "e"), "val": ("d",)})


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return write(tmp_path_factory.mktemp("data") / "store", *map(system, "abcde"))


def close(one: list[dict[str, str]], other: list[dict[str, str]]) -> bool:
    assert [row.keys() for row in one] == [row.keys() for row in other]
    pairs = [(a[k], b[k]) for a, b in zip(one, other, strict=True) for k in a]
    return all(a == b or float(a) == pytest.approx(float(b), rel=1e-9) for a, b in pairs)


def test_two_processes_are_one_with_twice_the_batch(store, tmp_path):
    counts = store.manifest["n_pairs"]
    assert counts.nunique() == 1
    common = {"precision": "float64", "epochs": 3, "levels_from": 0.0, "levels_full": 0.1, "k_pool": 4}
    settings = fit(devices=2, **common)
    metrics = loop.train(store, SPLIT, settings=settings, out=tmp_path / "two")
    alone = loop.train(store, SPLIT, settings=fit(batch_pairs=2 * int(counts[0]), **common), out=tmp_path / "one")
    assert [row["steps"] for row in rows(tmp_path / "two")] == ["2", "4", "6"]
    assert close(rows(tmp_path / "two"), rows(tmp_path / "one"))
    assert metrics == pytest.approx(alone, rel=1e-9)
    apart, together = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert all(torch.allclose(apart[k], together[k], rtol=1e-8, atol=1e-12) for k in apart)


def test_processes_agree_when_a_budget_is_used_up(store, tmp_path):
    """Their clocks differ; one that took another step than the others would wait for them forever."""
    settings = fit(devices=2, epochs=None, budget_minutes=0.01, validate_every_epochs=10**6)
    loop.train(store, SPLIT, settings=settings, out=tmp_path / "run")
    assert float(rows(tmp_path / "run")[-1]["val_skill"]) < 1


class Pretended(Ranks):
    """One of several processes that are not there."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


def test_every_batch_is_in_one_share_and_shares_are_equally_long():
    batches = list("abcdefg")
    shares = [Pretended(rank, 3).share(batches) for rank in range(3)]
    assert shares == [list("adg"), list("bea"), list("cfb")]
    assert Pretended(4, 5).share(["a", "b"]) == ["a"]


def fail(ranks: Ranks) -> None:
    if ranks.rank == 1:
        raise NexthamError("the second process cannot go on")
    ranks.wait()


def test_error_of_one_process_is_told_in_its_sentence():
    with pytest.raises(NexthamError, match=r"^the second process cannot go on$"):
        launch(fail, options=fit(devices=2).train)


def torchrun(place: Path, settings: FitSettings, *words: str) -> subprocess.Popen[bytes]:
    command = "from nextham.cli import main; main()"
    (place / "cli.py").write_text(command)
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", place / "cli.py"]
    train = ["train", place / "store", "--split", place / "split.json", "-o", place / "run", *words]
    text = json.dumps(settings.model_dump(mode="json"))
    return subprocess.Popen([*start, *train, "--settings", text])


@pytest.mark.slow
def test_torchrun_killed_and_resumed_gives_the_losses_of_processes_that_were_not(store, tmp_path):
    settings = fit(devices=2, epochs=30, patience_epochs=28)
    loop.train(store, SPLIT, settings=settings, out=tmp_path / "whole")
    write(tmp_path / "store", *map(system, "abcde"))
    SPLIT.save(tmp_path / "split.json")
    running = torchrun(tmp_path, settings)
    while len(rows(tmp_path / "run")) < 4:
        assert running.poll() is None
        time.sleep(0.02)
    workers = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    assert len(workers) == 2
    for pid in (running.pid, *map(int, workers)):
        os.kill(pid, signal.SIGKILL)
    running.wait()
    assert len(rows(tmp_path / "run")) < 30
    assert torchrun(tmp_path, settings, "--resume").wait(timeout=120) == 0
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_a_single_process_asks_no_cluster(monkeypatch, recwarn):
    """Inside a Slurm job of several tasks, and where srun is only installed."""
    for name, value in {"NTASKS": "2", "JOB_NAME": "x", "PROCID": "1", "LOCALID": "1", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    ranks = alone(TrainSettings(device="cpu"))
    assert (ranks.rank, ranks.size, ranks.device.type) == (0, 1, "cpu")
    assert not recwarn.list

"""Locks: who lives is respected, who is gone is not, on this machine and on others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nextham.campaign import lock
from nextham.campaign.lock import Holder, held, holder, take
from nextham.exceptions import InputError

PATH = Path("lock.json")


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lock, "_POLL_S", 0.05)
    monkeypatch.setattr(lock, "_SILENT_S", 0.5)


def left_by(**facts):
    """Leave a lock of another."""
    who = Holder(**{"host": "node7", "pid": 4711, "began": 5, "since": "2026-01-01 00:00:00 UTC", **facts})
    PATH.write_text(json.dumps(vars(who)))
    return who


def test_a_lock_is_there_while_it_is_held_and_gone_afterwards():
    with held(PATH, "it"):
        assert holder(PATH).pid == os.getpid()
        assert holder(PATH).alive
    assert holder(PATH) is None
    assert list(Path().iterdir()) == []


def test_one_of_two_gets_it():
    with held(PATH, "the campaign in results"), pytest.raises(InputError) as caught:
        take(PATH, "the campaign in results")
    text = str(caught.value)
    assert text.startswith(f"the campaign in results is in use by process {os.getpid()} on ")
    assert text.endswith(": wait for it or end it, then start again (its lock is lock.json)")


def test_a_dead_process_of_this_machine_is_told_at_once(capsys):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    left_by(host=Holder.this().host, pid=done.pid)
    with held(PATH, "it"):
        assert holder(PATH).pid == os.getpid()
    assert f"it was left locked by process {done.pid} on " in capsys.readouterr().err


def test_a_later_process_of_the_same_number_is_another():
    assert not left_by(host=Holder.this().host, pid=os.getpid(), began=1).alive


def test_another_machine_that_is_silent_is_gone(capsys):
    left_by()
    with held(PATH, "it"):
        assert holder(PATH).pid == os.getpid()
    said = capsys.readouterr().err
    assert "watching for" in said
    assert "it was left locked by process 4711 on node7 (since 2026-01-01 00:00:00 UTC), which is gone" in said


def test_another_machine_that_shows_life_is_respected():
    left_by()
    stop = threading.Event()

    def beat():
        while not stop.wait(0.02):
            os.utime(PATH, (1.0, time.monotonic()))  # of a clock that has nothing to do with this one's

    other = threading.Thread(target=beat)
    other.start()
    try:
        with pytest.raises(InputError, match="it is in use by process 4711 on node7"):
            take(PATH, "it")
    finally:
        stop.set()
        other.join()


def test_who_waits_gets_it_when_it_is_free():
    first = take(PATH, "it")
    threading.Timer(0.3, first.release).start()
    start = time.monotonic()
    with held(PATH, "it", wait=True):
        assert time.monotonic() - start > 0.2


def test_a_holder_shows_life(monkeypatch):
    monkeypatch.setattr(lock, "_BEAT_S", 0.02)
    with held(PATH, "it"):
        before = PATH.stat().st_mtime_ns
        time.sleep(0.2)
        assert PATH.stat().st_mtime_ns > before


def test_a_lock_that_another_has_taken_stays_his():
    mine = take(PATH, "it")
    other = left_by()
    mine.release()
    assert holder(PATH) == other


def test_a_damaged_lock_is_watched_and_taken():
    PATH.write_text("{")
    with held(PATH, "it"):
        assert holder(PATH).pid == os.getpid()


def test_many_at_once_take_it_in_turn():
    inside, most = [], []

    def work():
        with held(PATH, "it", wait=True):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6

"""Calls in several processes: all results come, a death costs one call, nothing is left behind."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from nextham import workers
from nextham.workers import Died, Workers, cores, memory_bytes


def square(k: int) -> int:
    return k * k


def note(path: Path, k: int) -> int:
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")
    return k


def die(number: int) -> int:
    os.kill(os.getpid(), number)
    time.sleep(60)
    return 0


def fail() -> int:
    raise KeyError("a fault that the call does not tell")


def threads() -> list[str]:
    return [os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")]


def collected(calls, n):
    with Workers(calls, n) as made:
        return dict(made)


@pytest.mark.parametrize("n", [1, 2])
def test_all_results_come_with_their_numbers(n):
    assert collected([partial(square, k) for k in range(5)], n) == {k: k * k for k in range(5)}


def test_one_worker_is_this_process():
    seen: list[int] = []
    assert collected([lambda: seen.append(1)], 4) == {0: None}  # what cannot be pickled
    assert seen == [1]


def test_one_worker_apart_may_die():
    with Workers([partial(die, signal.SIGKILL), partial(square, 2)], 1, apart=True) as made:
        assert dict(made) == {0: Died(-signal.SIGKILL), 1: 4}


@pytest.mark.parametrize(
    ("lethal", "exitcode", "killed"),
    [
        (partial(die, signal.SIGKILL), -signal.SIGKILL, True),
        (partial(die, signal.SIGTERM), 143, True),
        (partial(die, signal.SIGSEGV), -signal.SIGSEGV, False),
        (partial(os._exit, 3), 3, False),
        (fail, 1, False),
    ],
)
def test_a_death_costs_one_call(lethal, exitcode, killed):
    calls = [lethal, *(partial(square, k) for k in range(1, 5))]
    found = collected(calls, 2)
    assert found == {0: Died(exitcode), **{k: k * k for k in range(1, 5)}}
    assert found[0].killed is killed


def test_deaths_of_all_processes_and_of_the_last_call():
    calls = [partial(square, 3), *[partial(die, signal.SIGKILL)] * 3]
    assert collected(calls, 2) == {0: 9, **dict.fromkeys((1, 2, 3), Died(-signal.SIGKILL))}


def test_few_finished_results_wait(tmp_path):
    path = tmp_path / "calls"
    with Workers([partial(note, path, k) for k in range(12)], 2) as made:
        next(iter(made))
        time.sleep(1.0)
        assert len(path.read_text().splitlines()) <= 4  # one is here, each process has made one and begins no other


def test_leaving_early_ends_the_processes(tmp_path):
    path = tmp_path / "calls"
    calls = [partial(note, path, 0), *[partial(time.sleep, 60)] * 3]
    with Workers(calls, 2) as made:
        next(iter(made))
    (pid,) = path.read_text().split()
    assert not Path("/proc", pid).exists()


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert collected([threads] * 2, 2) == {0: ["4", "4", "1"], 1: ["4", "4", "1"]}
    assert os.environ["OMP_NUM_THREADS"] == "8"
    assert "MKL_NUM_THREADS" not in os.environ


def test_cores_are_those_of_the_cpu_set_the_quota_and_the_chosen_threads(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(workers, "_QUOTA", tmp_path / "cpu.max")
    assert cores() == 12
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cores() == 12
    (tmp_path / "cpu.max").write_text("650000 100000\n")
    assert cores() == 6
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cores() == 3


def test_memory_is_that_of_the_machine_or_of_its_container(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "_MEMORY", tmp_path / "memory.max")
    whole = memory_bytes()
    assert 2**28 < whole < 2**50
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_bytes() == whole
    (tmp_path / "memory.max").write_text(f"{2**27}\n")
    assert memory_bytes() == 2**27


def test_processes_end_with_a_killed_parent(tmp_path):
    script = (
        "import sys\nfrom functools import partial\nfrom pathlib import Path\n"
        "from nextham.workers import Workers\nimport test_workers\n"
        "with Workers([partial(test_workers.long, Path(sys.argv[1]), k) for k in (0, 1)], 2) as made:\n    list(made)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env={**os.environ, "PYTHONPATH": path})
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    pids = [file.name for file in tmp_path.iterdir()]
    process.kill()
    process.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids))


def end_slowly(k: int) -> int:
    atexit.register(time.sleep, 0.5)
    return k


@pytest.mark.parametrize("used", ["list(made)", "next(iter(made))"])
def test_processes_that_end_are_not_disturbed(used):
    script = (
        "from functools import partial\nfrom nextham.workers import Workers\nimport test_workers\n"
        "calls = [partial(test_workers.end_slowly, k) for k in range(4)]\n"
        f"with Workers(calls, 2) as made:\n    {used}\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", script]
    env = {**os.environ, "PYTHONPATH": path}
    for _ in range(3):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert done.stderr == ""


def long(folder: Path, _: int) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(120)


def alive(pid: str) -> bool:
    try:
        return "Z" not in Path("/proc", pid, "stat").read_text().split()[2]
    except OSError:
        return False


def wait_until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)

"""A store appears whole or not at all, whatever stops its writer."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nextham.core import LCAOSystem, OrbitalBasis
from nextham.data.settings import StoreSettings
from nextham.data.store import Store, StoreWriter
from nextham.exceptions import WriteError
from nextham.files import partial_of, whole
from nextham.testing import synthetic_system, zincblende

SMALL = StoreSettings(structures_per_shard=2, chunk_numbers=1024, fraction_bits=None)


def make(id: str) -> LCAOSystem:
    return synthetic_system(zincblende(), OrbitalBasis.parse("Ga:1s1p As:1s1p"), id=id, cutoff_ang=4.0)


def write(path: Path, *systems: LCAOSystem) -> None:
    with StoreWriter(path, settings=SMALL) as writer:
        for system in systems:
            writer.add(system)


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with StoreWriter(tmp_path / "store", settings=SMALL) as writer:
            for k in range(3):  # a shard is on disk by then
                writer.add(make(f"a{k}"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_the_old_store(tmp_path: Path) -> None:
    path = tmp_path / "store"
    write(path, make("old"))
    script = (
        "import sys, time; from nextham.core import OrbitalBasis; from nextham.data.store import StoreWriter\n"
        "from nextham.testing import synthetic_system, zincblende\n"
        "system = synthetic_system(zincblende(), OrbitalBasis.parse('Ga:1s As:1s'), cutoff_ang=3.0)\n"
        "with StoreWriter(sys.argv[1], overwrite=True) as writer:\n"
        "    writer.add(system); writer._flush(); print('half way', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half way\n"
        os.kill(process.pid, signal.SIGKILL)
    assert Store(path).ids == ("old",)
    with StoreWriter(path, overwrite=True) as writer:
        writer.add(make("new"))
    assert Store(path).ids == ("new",)


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_a_process_that_nobody_waited_for_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()  # until it ends
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        folder = left(tmp_path / "store", process.pid)
        write(tmp_path / "store", make("a"))
        assert not folder.exists()


def left(path: Path, pid: int, host: str = "", ending: str = "") -> Path:
    """A folder as a writer of that process leaves it when it is killed."""
    found = path.with_name(f".{path.name}.partial-{host or socket.gethostname()}-{pid}-0123abcd{ending}")
    found.mkdir()
    (found / "file").write_text("half")
    return found


def test_what_dead_writers_left_is_removed_and_what_living_or_foreign_ones_write_stays(tmp_path: Path) -> None:
    path = tmp_path / "store"
    pid = dead_pid()
    gone = [left(path, pid), left(path, pid, ending=".old")]
    stays = [left(path, os.getpid()), left(path, pid, host="elsewhere-7"), left(tmp_path / "store2", pid)]
    path.mkdir()  # or .old would be the store
    write(path, make("a"))
    assert not any(folder.exists() for folder in gone)
    assert all((folder / "file").is_file() for folder in stays)
    assert partial_of(path).name.startswith(f".store.partial-{socket.gethostname()}-{os.getpid()}-")


def test_a_store_comes_back_whose_replacement_was_killed_between_two_renames(tmp_path: Path) -> None:
    path = tmp_path / "store"
    write(path, make("old"))
    path.rename(tmp_path / f".store.partial-{socket.gethostname()}-{dead_pid()}-0123abcd.old")
    with pytest.raises(RuntimeError), StoreWriter(path, overwrite=True):
        raise RuntimeError
    assert Store(path).ids == ("old",)
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "store"
    with pytest.raises(WriteError) as raised:
        write(path, make("a"))
    assert str(raised.value) == (
        f"{path} cannot be written: a part of this path is a file, not a folder; choose another place"
    )


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text("old")

    def stopped() -> None:
        with whole(path) as part:
            part.write_text("ne")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WriteError) as raised:
        stopped()
    assert str(raised.value) == f"{path} cannot be written: the disk is full; make room and start the command again"
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]
    assert path.read_text() == "old"
    with whole(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"

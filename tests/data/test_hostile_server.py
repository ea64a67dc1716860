"""Whatever a server does, a download is right, or it is not there and one sentence says why; never a wrong store."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving import Fault, Served, serving

from nextham.data import ranged, remote, transfer
from nextham.data.download import Request, download
from nextham.data.patience import Patience
from nextham.data.selection import Selection
from nextham.data.store import Store
from nextham.data.transfer import Traffic
from nextham.data.verify import verify
from nextham.exceptions import InputError, NexthamError

pytest_plugins = ["published_store"]

ALL, PART = Selection(), Selection(ids=("GaAs-1", "GaAs-3"))
NUMBERS = r"shard-\d+\.zarr/(overlap|h0|correction)/c/.*"


def attempt(server: Served, out: Path, selection: Selection = ALL, retries: int = 3) -> Traffic:
    traffic = Traffic(patience=Patience(retries=retries, first_s=0.01))
    download(Request(source=server.url, out=out, selection=selection), traffic)
    return traffic


def assert_right(out: Path, source: Store, selection: Selection = ALL) -> None:
    store = Store(out)
    assert store.ids == (selection.ids or source.ids)
    assert [store.record(id).sha256 for id in store.ids] == [source.checksum(id) for id in store.ids]
    assert verify(store) == []
    assert not list(out.parent.glob(".*"))


def complaint(server: Served, out: Path, selection: Selection = ALL, retries: int = 2) -> str:
    with pytest.raises(NexthamError) as raised:
        attempt(server, out, selection, retries)
    assert not out.exists()
    return str(raised.value)


# --- what passes ---------------------------------------------------------------------------------------------------

PASSING = {
    "connections break off": Fault(NUMBERS, 2, cut=0.4),
    "connections break off at once": Fault(times=1, cut=0.0),
    "a byte is another one": Fault(NUMBERS, 1, flip=0.5),
    "a byte of the descriptions is another one": Fault(r"shard.*json|manifest.*|store.json", 1, flip=0.3),
    "files are shortened": Fault(NUMBERS, 2, shorten=0.5),
    "500": Fault(times=2, status=500),
    "429": Fault(times=1, status=429, retry_after="0"),
    "503": Fault(NUMBERS, 3, status=503),
    "more is promised than comes": Fault(NUMBERS, 1, promise=10),
    "more comes": Fault(NUMBERS, 1, extend=10),
    "redirects": Fault(NUMBERS, 1, location="/{path}"),
}


QUICK = {
    ALL: ("connections break off", "a byte is another one", "files are shortened", "500", "more comes"),
    PART: ("connections break off", "a byte is another one", "429"),
}


@pytest.mark.parametrize(
    ("name", "selection"),
    [
        pytest.param(name, which, marks=() if name in QUICK[which] else pytest.mark.slow, id=f"{label}-{name}")
        for name in PASSING
        for which, label in ((ALL, "all"), (PART, "part"))
    ],
)
def test_what_passes(server: Served, source: Store, tmp_path: Path, name: str, selection: Selection) -> None:
    fault = PASSING[name]
    fault.seen.clear()
    server.faults = [fault]
    traffic = attempt(server, tmp_path / "out", selection)
    assert_right(tmp_path / "out", source, selection)
    assert fault.seen
    if name in ("connections break off", "a byte is another one", "503", "more is promised than comes"):
        assert traffic.retries or selection is PART


def test_a_connection_that_always_breaks_off_brings_it_in_pieces(server: Served, source: Store, tmp_path: Path) -> None:
    server.faults = [Fault(NUMBERS, cut=0.5, byte_per_s=10**6)]
    server.forget()
    biggest = max(path.stat().st_size for path in source.path.rglob("c/*") if path.is_file())
    with pytest.raises(InputError):  # halves of halves: the last byte never comes
        attempt(server, tmp_path / "out")
    assert server.sent < 1.1 * sum(shard["bytes"] for shard in source.shards)  # nothing twice
    server.faults = []
    server.forget()
    attempt(server, tmp_path / "out")
    assert server.sent < 0.2 * biggest  # mostly the manifest
    assert_right(tmp_path / "out", source)


@pytest.mark.parametrize("selection", [ALL, PART], ids=["all", "part"])
def test_no_parts_of_files(
    server: Served, source: Store, tmp_path: Path, selection: Selection, capfd: pytest.CaptureFixture[str]
) -> None:
    ranged._tell_once.cache_clear()
    server.ranges = False
    server.faults = [Fault(NUMBERS, 1, cut=0.6)]
    attempt(server, tmp_path / "out", selection)
    assert_right(tmp_path / "out", source, selection)
    said = capfd.readouterr().err
    assert ("127.0.0.1 gives whole files only" in said) == (selection is PART)
    assert "nextham download is faster" not in said


@pytest.mark.slow
def test_a_slow_server_is_waited_for(server: Served, source: Store, tmp_path: Path) -> None:
    server.faults = [Fault("manifest.parquet", byte_per_s=60_000)]
    attempt(server, tmp_path / "out", PART)
    assert_right(tmp_path / "out", source, PART)


def test_a_silent_server_is_asked_again(
    server: Served, source: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_SILENCE_S", 0.3)
    remote._filesystem.cache_clear()
    server.faults = [Fault("shard-00000.zarr/h0/c/0", 1, silent=True)]
    traffic = attempt(server, tmp_path / "out")
    remote._filesystem.cache_clear()
    assert traffic.retries == 1
    assert_right(tmp_path / "out", source)


# --- what does not pass --------------------------------------------------------------------------------------------

KEPT = "; what was fetched is kept, run the command again to go on"
H0 = "shard-00001.zarr/h0/c/0"
FAILING: dict[str, tuple[Fault, str]] = {
    "it is lost": (Fault(H0, status=404), "{url}/{path} does not exist; check the address"),
    "it is forbidden": (
        Fault(H0, status=403),
        "127.0.0.1 does not give {url}/{path} to everybody; ask who publishes it for access",
    ),
    "the server is down": (
        Fault(H0, status=500),
        "{url}/{path} could not be read in 3 attempts (the server answers 500)",
    ),
    "it is damaged there": (
        Fault(H0, flip=0.2),
        "{url}/{path} is not what files.json says (its sha256 is another one): it is damaged there, "
        "tell who publishes it",
    ),
    "it is longer there": (
        Fault(H0, extend=5),
        "{url}/{path} is not what files.json says (more than its {size} bytes came): it is damaged there, "
        "tell who publishes it",
    ),
    "a file of this machine": (
        Fault(H0, location="file:///etc/hostname"),
        "{url}/{path} is redirected in circles, or to what is no address of a web server",
    ),
    "in circles": (
        Fault(H0, location="/{path}"),
        "{url}/{path} is redirected in circles, or to what is no address of a web server",
    ),
}


def _slow_but(names: set[str], *quick: str) -> list[Any]:
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in sorted(names)]


@pytest.mark.parametrize(
    "name", _slow_but(set(FAILING), "it is lost", "it is damaged there", "a file of this machine", "the server is down")
)
def test_what_does_not_pass(server: Served, source: Store, published: Path, tmp_path: Path, name: str) -> None:
    fault, sentence = FAILING[name]
    server.faults = [fault]
    size = (published / H0).stat().st_size
    said = sentence.format(url=server.url, path=H0, size=size)
    assert complaint(server, tmp_path / "out") == said + KEPT
    server.faults = []
    server.forget()
    attempt(server, tmp_path / "out")
    assert {path for path, _ in server.asked if "/h0/c/" in path} == {H0}  # all else was there
    assert_right(tmp_path / "out", source)


@pytest.mark.parametrize(
    "name", _slow_but({"it is lost", "the server is down", "it is damaged there"}, "it is damaged there")
)
def test_what_does_not_pass_in_a_part(server: Served, source: Store, tmp_path: Path, name: str) -> None:
    server.faults = [FAILING[name][0]]
    said = complaint(server, tmp_path / "out", PART)
    assert "shard-00001.zarr" in said
    assert said.endswith(KEPT)
    server.faults = []
    attempt(server, tmp_path / "out", PART)
    assert_right(tmp_path / "out", source, PART)


def test_of_many_failures_one_is_told(server: Served, tmp_path: Path) -> None:
    server.faults = [Fault("shard-00001.*", status=404)]
    assert re.search(
        r"does not exist; check the address \(and \d+ more like this\); what", complaint(server, tmp_path / "out")
    )


def test_no_network(tmp_path: Path, traffic: Traffic) -> None:
    with serving(tmp_path) as server:
        gone = server.url
    begin = time.monotonic()
    with pytest.raises(InputError) as raised:
        download(Request(source=gone, out=tmp_path / "out"), traffic)
    assert time.monotonic() - begin < 20
    assert str(raised.value).startswith("127.0.0.1 cannot be reached (")
    assert str(raised.value).endswith("); check the network and the address")
    with pytest.raises(InputError, match=r"^no-such-host.invalid cannot be reached \("):
        download(Request(source="https://no-such-host.invalid/data", out=tmp_path / "out"), traffic)
    assert list(tmp_path.iterdir()) == []


# --- lists that lie ------------------------------------------------------------------------------------------------


def edited(published: Path, folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    shutil.copytree(published, folder)
    index = json.loads((folder / "files.json").read_text())
    edit(index)
    (folder / "files.json").write_text(json.dumps(index))
    return folder


def _add(path: str) -> Callable[[dict[str, Any]], object]:
    return lambda index: index["files"].append({"path": path, "size": 1, "sha256": "0" * 64})


LYING: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "../../.ssh/authorized_keys": (_add("../../.ssh/authorized_keys"), "is refused: files.8.path: '../../.ssh"),
    "/etc/passwd": (_add("/etc/passwd"), "is refused: files.8.path: '/etc/passwd' is not a name of a file in a store"),
    "splits/../x.json": (_add("splits/../x.json"), "is not a name of a file in a store"),
    "a name in a shard": (_add("shard-00000.zarr/../../x"), "is not a name of a file in a store"),
    "hidden": (_add(".bashrc"), "is not a name of a file in a store"),
    "twice": (_add("store.json"), "'store.json' is listed twice"),
    "not in its shard": (
        lambda index: index["shards"][0]["files"][0].update(path="shard-00001.zarr/zarr.json"),
        "'shard-00001.zarr/zarr.json' is not in shard-00000.zarr",
    ),
    "another sum": (
        lambda index: index["shards"][0]["files"][0].update(sha256="0" * 64),
        "the files of shard-00000.zarr do not agree with its sha256",
    ),
    "a negative size": (lambda index: index["files"][0].update(size=-1), "files.0.size: Input should be greater"),
    "no size": (lambda index: index["files"][0].pop("size"), "files.0.size: Field required"),
    "no manifest": (lambda index: index["files"].pop(1), "manifest.parquet is not listed"),
    "a shard less": (lambda index: index["shards"].pop(), "files.json and store.json list other shards"),
    "too large": (lambda index: index["files"][0].update(size=10), "more than its 10 bytes came"),
    "a newer version": (
        lambda index: index.update(index_version=2, code_version="7.0.0"),
        "files.json has version 2, written by nextham 7.0.0; this is nextham ",
    ),
}


@pytest.mark.parametrize("name", LYING)
def test_an_index_that_lies(published: Path, tmp_path: Path, name: str) -> None:
    edit, expected = LYING[name]
    with serving(edited(published, tmp_path / "web", edit)) as server:
        assert expected in complaint(server, tmp_path / "out", retries=1)
    assert {path.name for path in tmp_path.iterdir()} == {"web"}


def test_an_index_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    for content in ("", "<html>", "[]", '{"index_version": 1}'):
        (tmp_path / "web" / "files.json").write_text(content)
        with serving(tmp_path / "web") as server:
            said = complaint(server, tmp_path / "out")
        assert said.startswith((f"{server.url}/files.json is damaged (", f"{server.url}/files.json is refused: "))


def test_a_store_of_a_newer_version(source: Store, published: Path, tmp_path: Path, traffic: Traffic) -> None:
    import hashlib

    web = tmp_path / "web"
    shutil.copytree(published, web)
    content = json.loads((web / "store.json").read_text()) | {"schema_version": 2, "code_version": "7.0.0"}
    (web / "store.json").write_text(json.dumps(content))
    index = json.loads((web / "files.json").read_text())
    size, digest = (web / "store.json").stat().st_size, hashlib.sha256((web / "store.json").read_bytes()).hexdigest()
    index["files"][0] |= {"size": size, "sha256": digest}
    (web / "files.json").write_text(json.dumps(index))
    with serving(web) as server:
        said = complaint(server, tmp_path / "out")
        assert "has version 2 of the layout, written by nextham 7.0.0; this is nextham" in said
        assert said.endswith("which reads version 1: upgrade nextham")
        with pytest.raises(InputError, match="has version 2 of the layout"):
            Store(server.url)


# --- this side -----------------------------------------------------------------------------------------------------


class Full:
    """A file on a disk that is full after a megabyte."""

    written = 0

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, block: bytes) -> int:
        Full.written += len(block)
        if Full.written > 10**6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written: int = self.file.write(block)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_a_full_disk(server: Served, source: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = transfer._opened
    monkeypatch.setattr(transfer, "_opened", lambda path: Full(plain(path)))
    said = complaint(server, tmp_path / "out")
    assert said.endswith("cannot be written: the disk is full; make room and start the command again")
    monkeypatch.undo()
    server.forget()
    attempt(server, tmp_path / "out")
    assert server.sent < 0.6 * sum(shard["bytes"] for shard in source.shards)
    assert_right(tmp_path / "out", source)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="all"),
        pytest.param(["--ids", "GaAs-0,GaAs-1,GaAs-2,GaAs-3,GaAs-6"], id="part", marks=pytest.mark.slow),
    ],
)
def test_killed_and_started_again(server: Served, source: Store, tmp_path: Path, options: list[str]) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-c",
        "from nextham.cli import main; main()",
        "download",
        server.url,
        "-o",
        str(out),
        "-j",
        "2",
        *options,
    ]
    server.faults = [Fault(NUMBERS, byte_per_s=400_000)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    while server.sent < 9 * 10**5:
        time.sleep(0.02)
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = server.sent
    server.faults = []
    assert not out.exists()
    server.forget()
    subprocess.run(command, check=True, capture_output=True)
    assert verify(Store(out)) == []
    flying = 2 * max(path.stat().st_size for path in source.path.rglob("c/*") if path.is_file())
    assert server.sent < sum(shard["bytes"] for shard in source.shards) - before + flying

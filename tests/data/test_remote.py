"""A store behind an address is the store: the same numbers, few requests, one sentence where it cannot be had."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Fault, Served, serving
from typer.testing import CliRunner

from nextham.cli import app
from nextham.data import patience, ranged, remote
from nextham.data.download import Request, download
from nextham.data.remote import RemotePath, located
from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.data.transfer import Traffic
from nextham.data.verify import verify
from nextham.exceptions import InputError

pytest_plugins = ["published_store"]

NUMBERS = r"shard-\d+\.zarr/(overlap|h0|correction)/c/.*"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between attempts are short."""
    monkeypatch.setattr(patience.Patience, "wait_s", lambda *_: 0.01)


@pytest.fixture
def far(server: Served) -> Store:
    return Store(server.url)


def assert_same(far: Store, source: Store) -> None:
    assert far.ids == source.ids
    assert [far.record(id).sha256 for id in far.ids] == [source.checksum(id) for id in source.ids]


def test_it_is_the_store(far: Store, source: Store, server: Served) -> None:
    assert_same(far, source)
    assert far.manifest.equals(source.manifest)
    assert far.ledger is not None
    assert far.ledger.summary() == {"unconverged": 1}
    assert far.provenance("GaAs-1") == source.provenance("GaAs-1")
    assert (far["GaAs-1"].operators["h0"] == source["GaAs-1"].operators["h0"]).all()
    assert verify(far) == []
    assert repr(far).startswith(f"Store({server.url}, 8 structures, ")


def test_few_requests_and_few_bytes(far: Store, source: Store, server: Served) -> None:
    server.forget()
    far.read("GaAs-0", ("overlap",))
    opening = [path for path, _ in server.asked if "/c/" not in path or path.split("/")[1] not in ("overlap", "h0")]
    assert len(opening) < 30
    assert not any("/h0/c/" in path for path, _ in server.asked)
    server.forget()
    far.record("GaAs-1")
    assert all(part for _, part in server.asked)  # parts of files alone
    chunks = source.shards[0]["bytes"] / 3
    assert server.sent < 1.6 * chunks
    server.forget()
    far.record("GaAs-1")
    assert server.asked == []  # neighbours share chunks, so what was just read is kept


def test_requests_go_at_the_same_time(server: Served) -> None:
    server.latency_s = 0.05
    Store(server.url).record(0)
    assert server.busiest > 4


@pytest.mark.parametrize(
    "fault",
    [
        Fault(times=1, status=503),
        Fault(NUMBERS, 2, cut=0.3),
        Fault(NUMBERS, 1, flip=0.5),
        Fault(NUMBERS, 1, shorten=0.5),
    ],
    ids=["503", "cut", "flip", "shorten"],
)
def test_what_passes(server: Served, source: Store, fault: Fault) -> None:
    server.faults = [fault]
    assert_same(Store(server.url), source)
    assert fault.seen


def test_a_server_without_parts_of_files(server: Served, source: Store, capfd: pytest.CaptureFixture[str]) -> None:
    ranged._tell_once.cache_clear()
    server.ranges = False
    assert_same(Store(server.url), source)
    assert capfd.readouterr().err == (
        "127.0.0.1 gives whole files only, so each part that is read costs its file; nextham download is faster\n"
    )
    assert server.sent < 1.3 * sum(shard["bytes"] for shard in source.shards)  # each once


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault("shard-00000.zarr/h0/c/0", status=500), "{url}/shard-00000.zarr/h0/c/0 could not be read in 6 attempts "
         "(the server answers 500)"),
        (Fault("shard-00000.zarr/h0/c/0", status=404), "{url}: the h0 of GaAs-0 cannot be read from shard-00000.zarr "
         "(numbers are missing or NaN); the shard is damaged: fetch or pack it again"),
        (Fault("shard-00000.zarr/zarr.json", status=404), "{url}: its index cannot be read from shard-00000.zarr ("),
        (Fault("shard-00000.zarr/h0/c/0", flip=0.5), "{url}: the h0 of GaAs-0 cannot be read from shard-00000.zarr ("),
        (Fault("shard-00000.zarr/pair_R/c/.*", flip=0.5), "{url}: its index cannot be read from shard-00000.zarr ("),
        (Fault("store.json", status=404), "{url}/store.json does not exist; check the address"),
        (Fault("store.json", status=401), "127.0.0.1 does not give {url}/store.json to everybody; ask who"),
    ],
    ids=["500", "lost", "lost index", "flipped", "flipped index", "no store", "closed"],
)  # fmt: skip
def test_what_does_not_pass(server: Served, fault: Fault, sentence: str) -> None:
    server.faults = [fault]
    with pytest.raises(InputError) as raised:
        Store(server.url).record(0)
    assert str(raised.value).startswith(sentence.format(url=server.url))


def test_no_network(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        gone = server.url
    with pytest.raises(InputError, match=r"^127.0.0.1 cannot be reached \(.*\); check the network and the address$"):
        Store(gone)


def test_addresses() -> None:
    assert located("a/b") == Path("a/b")
    assert located("file:///a/b%20c") == Path("/a/b c")
    assert located("https://x.org/a/") == RemotePath("https://x.org/a")
    assert str(RemotePath("https://ada:secret@x.org/a")) == "https://x.org/a"
    assert RemotePath("hf://datasets/o/n/sub").real == "https://huggingface.co/datasets/o/n/resolve/main/sub"
    assert RemotePath("hf://datasets/o/n@v1/sub").real == "https://huggingface.co/datasets/o/n/resolve/v1/sub"
    assert RemotePath("hf://datasets/o/n@refs/pr/1").real == "https://huggingface.co/datasets/o/n/resolve/refs%2Fpr%2F1"

    def refused(place: str) -> str:
        with pytest.raises(InputError) as raised:
            located(place)
        return str(raised.value)

    assert refused("ftp://x/a") == "ftp://x/a: ftp is not a way to a store; there are file, http, https, s3, hf"
    assert refused("https://x/a?b=1") == "https://x/a?b=1 is not the address of a folder; give it without ? and #"
    assert refused("hf://models/x") == (
        "hf://models/x is not a dataset on the hub; write hf://datasets/ORGANISATION/NAME[@REVISION]"
    )
    assert refused("file://host/a") == "file://host/a names a file of another machine; write file:///folder"


@pytest.mark.parametrize(
    ("package", "address", "extra"), [("fsspec", "https://x/a", "remote"), ("s3fs", "s3://x/a", "s3")]
)
def test_without_the_packages(monkeypatch: pytest.MonkeyPatch, package: str, address: str, extra: str) -> None:
    remote._filesystem.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"need more packages: pip install 'nextham\[{extra}\]'"):
        Store(address)


def test_no_way_back_from_encryption() -> None:
    remote._check_scheme(RemotePath("http://x.org/a"), "http://y.org/a")
    remote._check_scheme(RemotePath("hf://datasets/o/n"), "https://cdn.org/a")
    with pytest.raises(InputError, match=r"is redirected to y\.org without encryption; it is not followed"):
        remote._check_scheme(RemotePath("https://x.org/a"), "http://y.org/a")


# --- processes -----------------------------------------------------------------------------------------------------


def test_it_opens_in_another_process(far: Store, source: Store) -> None:
    assert_same(pickle.loads(pickle.dumps(far)), source)


def _read(store: Store, id: str, done: multiprocessing.Queue[str]) -> None:
    done.put(store.record(id).sha256)


def test_a_forked_process_has_its_own_connection(far: Store, source: Store) -> None:
    far.record("GaAs-0")
    context = multiprocessing.get_context("fork")
    done: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=_read, args=(far, "GaAs-2", done), daemon=True)
    process.start()
    assert done.get(timeout=120) == source.checksum("GaAs-2")
    process.join()
    assert far.record("GaAs-1").sha256 == source.checksum("GaAs-1")


def test_nothing_is_said_at_the_end(server: Served) -> None:
    code = f"from nextham.data.store import Store; print(Store({server.url!r}).record(0).id)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("GaAs-0\n", "")


# --- the hub, and S3 -----------------------------------------------------------------------------------------------


@pytest.fixture
def hub(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server with the addresses of the Hugging Face hub."""
    folder = tmp_path / "hub" / "datasets" / "group" / "small" / "resolve" / "v1"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(published)
    with serving(tmp_path / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "secret")
        remote._filesystem.cache_clear()
        ranged._opened.cache_clear()
        yield server
    remote._filesystem.cache_clear()
    ranged._opened.cache_clear()


def test_the_hub(hub: Served, published: Path, source: Store, tmp_path: Path, traffic: Traffic) -> None:
    """It hands files over to another host, which must not see the token."""
    with serving(published) as storage:
        hub.faults = [Fault(location=f"{storage.url}/{{name}}")]
        address = "hf://datasets/group/small@v1"
        assert_same(Store(address), source)
        download(Request(source=address, out=tmp_path / "out"), traffic)
        assert verify(Store(tmp_path / "out")) == []
        assert all(headers["authorization"] == "Bearer secret" for headers in hub.headers)
        assert storage.headers
        assert not any("authorization" in headers for headers in storage.headers)
    hub.faults = [Fault(status=401)]
    with pytest.raises(InputError, match="set HF_TOKEN to a token that may read it"):
        Store(address)


def test_s3(server: Served, published: Path, source: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    from fsspec.config import conf

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3" / "bucket").symlink_to(published)
    with serving(tmp_path / "s3") as s3:
        monkeypatch.setitem(conf, "s3", {"endpoint_url": s3.url})
        remote._filesystem.cache_clear()
        assert_same(Store("s3://bucket"), source)
        traffic = Traffic(patience=patience.Patience(retries=2, first_s=0.01))
        download(Request(source="s3://bucket", out=tmp_path / "out"), traffic)
    remote._filesystem.cache_clear()
    assert verify(Store(tmp_path / "out")) == []


# --- the commands --------------------------------------------------------------------------------------------------


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_commands_read_addresses(server: Served, source: Store, tmp_path: Path) -> None:
    assert json.loads(run("info", server.url, "--json")) == json.loads(run("info", source.path, "--json"))
    assert json.loads(run("show", server.url, "GaAs-1", "--json")) == json.loads(
        run("show", source.path, "GaAs-1", "--json")
    )
    run("split", server.url, "-o", tmp_path / "s.json")
    assert sum(len(ids) for ids in Split.load(tmp_path / "s.json").ids.values()) == 8
    assert f"{server.url}: 8 structures, all checksums agree" in run("verify", server.url)
    run("export", server.url, "-o", tmp_path / "abacus", "--id", "GaAs-1")
    assert (tmp_path / "abacus" / "GaAs-1").is_dir()


@pytest.mark.slow
def test_a_baseline_is_scored_by_address(server: Served, source: Store, tmp_path: Path) -> None:
    from nextham_bench.cli import app as bench

    for name, reference in (("far", server.url), ("near", source.path)):
        words = [
            "score",
            "--reference",
            reference,
            "--baseline",
            "h0",
            "--no-bands",
            "--split",
            tmp_path / "s.json",
            "-o",
        ]
        Split({"test": ("GaAs-0", "GaAs-3")}).save(tmp_path / "s.json")
        result = CliRunner().invoke(bench, [*map(str, words), str(tmp_path / f"{name}.json")])
        assert result.exit_code == 0, result.output
    far, near = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("far", "near"))
    assert far["gauge_mae"] == near["gauge_mae"]
    assert far["reference"]["sha256"] == near["reference"]["sha256"]


@pytest.mark.slow
def test_a_network_is_fed_and_asked_by_address(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import small_training as small

    near = small.write(tmp_path / "store", *map(small.system, "abcd"))
    with serving(tmp_path / "store") as server:
        rows = [
            small.run(store, tmp_path / name, settings=small.fit(epochs=1))
            for name, store in (("near", near), ("far", Store(server.url)))
        ]
        assert rows[0] == rows[1]
        run("predict", server.url, "--checkpoint", tmp_path / "far" / "best", "-o", tmp_path / "predicted")
    assert Store(tmp_path / "predicted").ids == near.ids

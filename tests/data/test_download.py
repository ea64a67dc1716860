"""A download is the published store or a right part of it; again, and only what is missing or damaged is fetched."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from serving import Served, serving

from nextham.data.cards import CardSettings
from nextham.data.download import Request, download, plan
from nextham.data.publish import Request as Publication
from nextham.data.publish import publish
from nextham.data.selection import Selection
from nextham.data.store import Store
from nextham.data.transfer import Traffic
from nextham.data.verify import verify
from nextham.exceptions import InputError

pytest_plugins = ["published_store"]

GALLIUM = ("GaAs-0", "GaAs-1", "GaAs-2", "GaAs-3", "GaAs-6", "GaAs-7")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fetched(server: Served, out: Path, traffic: Traffic, **selection: Any) -> Store:
    """Download and look at what must hold of any download."""
    report = download(Request(source=server.url, out=out, selection=Selection(**selection)), traffic)
    store = Store(out)
    assert verify(store) == []
    assert report.structures == len(store)
    assert report.bytes_on_disk == sum(len(c) for n, c in contents(out).items() if n not in _UNCOUNTED)
    assert not list(out.parent.glob(".*"))
    return store


_UNCOUNTED = ("files.json", "SHA256SUMS", "download.json")


def assert_part(store: Store, source: Store, ids: tuple[str, ...], stored: set[str] | None = None) -> None:
    """Compare numbers, and the manifest, with the store that was published."""
    assert store.ids == ids
    for id in ids:
        mine, theirs = store.record(id), source.record(id)
        wanted = set(theirs.stored) & (stored or set(theirs.stored))
        assert set(mine.stored) == wanted
        for name in wanted:
            assert mine.stored[name].mask == theirs.stored[name].mask
            assert (mine.stored[name].values == theirs.stored[name].values).all()
        assert (mine.structure, mine.pairs, mine.meta) == (theirs.structure, theirs.pairs, theirs.meta)
        assert mine.certificate == theirs.certificate
    place = ["shard", "row", "sha256", "operators", "rows"]
    expected = source.manifest.set_index("id").loc[list(ids)]
    assert store.manifest.set_index("id").drop(columns=place).equals(expected.drop(columns=place))
    for row in store.manifest.itertuples():
        assert store.shards[[s["name"] for s in store.shards].index(row.shard)]["ids"][row.row] == row.id
        assert row.sha256 == store.checksum(row.id)
        assert set(json.loads(row.rows)) == set(row.operators.split()) == set(store.stored_of(row.id))


def test_all_of_it(server: Served, published: Path, tmp_path: Path, traffic: Traffic) -> None:
    fetched(server, tmp_path / "out", traffic)
    found = contents(tmp_path / "out")
    assert json.loads(found.pop("download.json"))["source"] == server.url
    assert found == contents(published)
    paths = [path for path, _ in server.asked]
    assert len(paths) == len(set(paths))  # nothing twice
    assert server.sent < 1.001 * sum(map(len, found.values()))


def test_from_a_folder_and_by_file_address(published: Path, tmp_path: Path, traffic: Traffic) -> None:
    for name, address in (("a", str(published)), ("b", f"file://{published}")):
        download(Request(source=address, out=tmp_path / name), traffic)
        assert contents(tmp_path / name).keys() == contents(published).keys() | {"download.json"}
    download(Request(source=published, out=tmp_path / "c", selection=Selection(ids=("SiO-4",))), traffic)
    assert Store(tmp_path / "c").ids == ("SiO-4",)


@pytest.mark.parametrize("split", ["main", pytest.param("", marks=pytest.mark.slow), "file"])
def test_a_subset(
    server: Served, source: Store, split_file: Path, tmp_path: Path, traffic: Traffic, split: str
) -> None:
    name = str(split_file) if split == "file" else split
    store = fetched(server, tmp_path / "out", traffic, split=name, subset="test")
    assert_part(store, source, ("SiO-4", "GaAs-7"))
    assert [shard["name"] for shard in store.shards] == ["shard-00001.zarr", "shard-00002.zarr"]


def test_elements(server: Served, source: Store, tmp_path: Path, traffic: Traffic) -> None:
    """The first shard is whole, file by file; two structures of the second are read by parts of files."""
    store = fetched(server, tmp_path / "out", traffic, elements=("Ga", "As"))
    assert_part(store, source, GALLIUM)
    assert str(store.basis) == "As:2s2p1d Ga:2s2p1d"
    asked = {path for path, _ in server.asked}
    assert "shard-00000.zarr/h0/c/0" in asked
    assert all(bytes for path, bytes in server.asked if path.startswith("shard-00001.zarr/h0/c/"))
    assert source.shards[0]["sha256"] == store.shards[0]["sha256"]


def test_fields(server: Served, source: Store, tmp_path: Path, traffic: Traffic) -> None:
    store = fetched(server, tmp_path / "out", traffic, elements=("Ga", "As"), fields=("overlap", "h0"))
    assert_part(store, source, GALLIUM, {"overlap", "h0"})
    assert not any("correction/c/" in path for path, _ in server.asked)
    assert store.operators_of("GaAs-0") == ("overlap", "h0")


@pytest.mark.slow
def test_the_hamiltonian_brings_what_it_is_made_of(
    server: Served, source: Store, tmp_path: Path, traffic: Traffic
) -> None:
    store = fetched(server, tmp_path / "out", traffic, fields=("hamiltonian",))
    assert_part(store, source, source.ids, {"h0", "correction", "hamiltonian"})
    for id in source.ids:
        same = store.read(id, ("hamiltonian",)).operator("hamiltonian").values
        assert (same == source.read(id, ("hamiltonian",)).operator("hamiltonian").values).all()


def test_so_many_gigabytes(server: Served, source: Store, tmp_path: Path, traffic: Traffic) -> None:
    first = source.shards[0]["bytes"]
    limit = 1.2 * first
    store = fetched(server, tmp_path / "out", traffic, max_gb=limit / 1e9)
    assert store.ids[:3] == source.ids[:3]
    assert 3 <= len(store) < 8
    assert sum(map(len, contents(tmp_path / "out").values())) < 1.1 * limit
    with pytest.raises(InputError) as raised:
        fetched(server, tmp_path / "none", traffic, max_gb=1e-6)
    assert str(raised.value) == f"not even one structure of {server.url} has room in 1e-06 GB; allow more"


def test_the_plan_writes_nothing_and_knows_the_cost(server: Served, tmp_path: Path, traffic: Traffic) -> None:
    everything = plan(Request(source=server.url, out=tmp_path / "out"), traffic)
    part = plan(Request(source=server.url, out=tmp_path / "out", selection=Selection(ids=("GaAs-3",))), traffic)
    assert list(tmp_path.iterdir()) == []
    assert everything.whole
    assert everything.traffic == everything.size == everything.source.index.size
    server.forget()
    download(Request(source=server.url, out=tmp_path / "out", selection=Selection(ids=("GaAs-3",))), traffic)
    index = sum(file.size for file in part.source.index.files)
    assert 0.4 < (part.traffic - index) / (server.sent - index) < 1.6
    assert 0.6 < part.size / sum(map(len, contents(tmp_path / "out").values())) < 1.2


# --- again ---------------------------------------------------------------------------------------------------------


def test_a_whole_store_is_not_fetched_again(server: Served, tmp_path: Path, traffic: Traffic) -> None:
    fetched(server, tmp_path / "out", traffic)
    before = contents(tmp_path / "out")
    server.forget()
    fetched(server, tmp_path / "out", traffic)
    assert {path for path, _ in server.asked} == {"files.json", "store.json", "manifest.parquet"}
    assert contents(tmp_path / "out") == before


def test_only_what_is_damaged_is_fetched_again(
    server: Served, published: Path, tmp_path: Path, traffic: Traffic
) -> None:
    out = tmp_path / "out"
    fetched(server, out, traffic)
    (out / "notes.txt").write_text("mine")
    flipped = out / "shard-00000.zarr" / "h0" / "c" / "0"
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(bytes(content))
    (out / "shard-00001.zarr" / "overlap" / "c" / "0").unlink()
    (out / "shard-00002.zarr" / "h0" / "c" / "7").write_text("not of the store")
    shutil.rmtree(out / "shard-00002.zarr" / "cells")
    (out / "README.md").write_text("other")
    problems = verify(Store(out))
    assert all(any(name in problem for problem in problems) for name in ("00000.zarr", "00001.zarr", "00002.zarr"))
    assert f"{out}: README.md is not what was published; fetch it again" in problems
    server.forget()
    report = download(Request(source=server.url, out=out), traffic)
    assert {path for path, _ in server.asked} - {"files.json", "store.json", "manifest.parquet"} == {
        "shard-00000.zarr/h0/c/0",
        "shard-00001.zarr/overlap/c/0",
        "shard-00002.zarr/cells/zarr.json",
        "shard-00002.zarr/cells/c/0/0/0",
        "README.md",
    }
    assert set(report.mended) == {"shard-00000.zarr/h0/c/0", "README.md"}
    assert verify(Store(out)) == []
    found = contents(out)
    assert (found.pop("notes.txt"), bool(found.pop("download.json"))) == (b"mine", True)
    assert found == contents(published)


def test_a_lost_shard_of_a_part_is_made_again(server: Served, source: Store, tmp_path: Path, traffic: Traffic) -> None:
    out = tmp_path / "out"
    fetched(server, out, traffic, elements=("Ga", "As"))
    (out / "mine.json").write_text("{}")
    shutil.rmtree(out / "shard-00002.zarr")
    server.forget()
    request = Request(source=server.url, out=out, selection=Selection(elements=("Ga", "As")))
    assert download(request, traffic).mended == []  # it was lost, not damaged
    assert {path.split("/")[0] for path, _ in server.asked if "zarr" in path} == {"shard-00002.zarr"}
    (out / "shard-00001.zarr" / "h0" / "c" / "0").write_bytes(b"x")
    assert download(request, traffic).mended == ["shard-00001.zarr"]
    assert_part(Store(out), source, GALLIUM)
    assert verify(Store(out)) == []
    assert (out / "mine.json").is_file()


def test_another_selection_replaces_only_on_demand(
    server: Served, source: Store, published: Path, tmp_path: Path, traffic: Traffic
) -> None:
    out = tmp_path / "out"
    fetched(server, out, traffic, elements=("Ga", "As"))
    with pytest.raises(InputError) as raised:
        fetched(server, out, traffic)
    assert str(raised.value) == (
        f"{out} holds something else than this selection of {server.url}; choose another name or pass --overwrite"
    )
    server.forget()
    download(Request(source=server.url, out=out, overwrite=True), traffic)
    assert contents(out).keys() == contents(published).keys() | {"download.json"}
    assert verify(Store(out)) == []
    assert not any(path.startswith("shard-00000.zarr") for path, _ in server.asked)  # it was there
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo").touch()
    with pytest.raises(InputError, match="exists already and is not a store; choose another name"):
        download(Request(source=server.url, out=tmp_path / "notes", overwrite=True), traffic)


def test_of_a_new_version_what_is_new_is_fetched(source: Store, tmp_path: Path, traffic: Traffic) -> None:
    publish(source, Publication(tmp_path / "web", CardSettings(version="1.0.0")))
    with serving(tmp_path / "web") as server:
        fetched(server, tmp_path / "out", traffic)
        publish(source, Publication(tmp_path / "web", CardSettings(version="2.0.0"), overwrite=True))
        server.forget()
        download(Request(source=server.url, out=tmp_path / "out", overwrite=True), traffic)
        assert {path for path, _ in server.asked if "zarr" in path} == set()
    assert "2.0.0" in (tmp_path / "out" / "CITATION.cff").read_text()


# --- what is refused -----------------------------------------------------------------------------------------------


def refused(source: object, out: Path, traffic: Traffic, **options: Any) -> str:
    selection = Selection(**{name: options.pop(name) for name in list(options) if name not in ("sha256", "jobs")})
    with pytest.raises(InputError) as raised:
        download(Request(source=str(source), out=out, selection=selection, **options), traffic)
    assert not out.exists()
    assert not list(out.parent.glob(".*"))
    return str(raised.value)


def test_selections_that_make_no_sense(server: Served, tmp_path: Path, traffic: Traffic) -> None:
    def said(**selection: Any) -> str:
        return refused(server.url, tmp_path / "out", traffic, **selection)

    assert said(ids=("GaAs-9",)).startswith(
        f"split wanted lists GaAs-9, which {server.url} does not hold; did you mean"
    )
    assert said(elements=("Xx",)) == "'Xx' is not an element symbol"
    assert said(elements=("Fe",)) == f"no structure of {server.url} satisfies all conditions; nothing is downloaded"
    assert said(fields=("hamiltonain",)) == "there is no field hamiltonain; did you mean hamiltonian?"
    assert said(split="main", subset="tset") == "there is no split 'tset'; there are train, test"
    assert (
        said(split="other") == f"there is no split file other, and no split of that name in {server.url}: it has main"
    )


def test_another_dataset_than_the_one_cited(server: Served, published: Path, tmp_path: Path, traffic: Traffic) -> None:
    own = hashlib.sha256((published / "files.json").read_bytes()).hexdigest()
    assert refused(server.url, tmp_path / "out", traffic, sha256="0" * 64) == (
        f"{server.url}: the sha256 of files.json is {own}, not {'0' * 64}; it is another version of the dataset, or "
        "not the publisher's"
    )
    download(Request(source=server.url, out=tmp_path / "out", sha256=own.upper()), traffic)


def test_a_store_that_was_not_published(source: Store, tmp_path: Path, traffic: Traffic) -> None:
    assert refused(source.path, tmp_path / "out", traffic) == (
        f"{source.path} was not published: it has no files.json; give the folder or address that nextham publish made"
    )
    with serving(source.path) as server:
        said = refused(server.url, tmp_path / "out", traffic)
    assert said == f"{server.url}/files.json does not exist; check the address"


def test_two_at_once(server: Served, tmp_path: Path, traffic: Traffic) -> None:
    folder = tmp_path / ".out.download"
    folder.mkdir()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError) as raised:
            download(Request(source=server.url, out=tmp_path / "out"), traffic)
    assert str(raised.value) == f"another nextham download writes {tmp_path / 'out'}; wait until it is done"
    fetched(server, tmp_path / "out", traffic)


def test_too_small_a_disk(server: Served, tmp_path: Path, traffic: Traffic, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 5 * 10**7))
    said = refused(server.url, tmp_path / "out", traffic)
    assert said.endswith("but its disk has 50 MB left; make room, choose another place, or a part with --max-gb")


def test_a_link_out_of_the_store(server: Served, tmp_path: Path, traffic: Traffic) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    fetched(server, out, traffic)
    (out / "shard-00000.zarr" / "h0").rename(elsewhere)
    (out / "shard-00000.zarr" / "h0").symlink_to(elsewhere)
    (elsewhere / "c" / "0").write_bytes(b"x")
    with pytest.raises(InputError) as raised:
        download(Request(source=server.url, out=out), traffic)
    assert str(raised.value) == f"{out}/shard-00000.zarr/h0/c leads out of {out}; remove this link"
    assert (elsewhere / "c" / "0").read_bytes() == b"x"

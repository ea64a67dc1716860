"""What is published is complete, checksummed by every file, and describes itself to people and machines."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

from nextham.data.cards import CardSettings, citation
from nextham.data.columns import COLUMNS
from nextham.data.index import Index
from nextham.data.publish import Request, publish
from nextham.data.splits import Split
from nextham.data.store import Store, merge_stores
from nextham.data.verify import verify
from nextham.exceptions import InputError

pytest_plugins = ["published_store"]


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_file_has_its_checksum(published: Path, source: Store) -> None:
    lines = (published / "SHA256SUMS").read_text().splitlines()
    sums = {path: digest for digest, path in (line.split("  ") for line in lines)}
    assert set(sums) == files_of(published) - {"SHA256SUMS"}
    for path, digest in sums.items():
        assert hashlib.sha256((published / path).read_bytes()).hexdigest() == digest
    index = json.loads((published / "files.json").read_text())
    entries = index["files"] + [file for shard in index["shards"] for file in shard["files"]]
    assert {e["path"]: e["sha256"] for e in entries} == {p: d for p, d in sums.items() if p != "files.json"}
    assert all((published / e["path"]).stat().st_size == e["size"] for e in entries)
    assert [s["sha256"] for s in index["shards"]] == [s["sha256"] for s in source.shards]


def test_it_is_the_store(published: Path, source: Store) -> None:
    store = Store(published)
    assert [store.record(id).sha256 for id in store.ids] == [source.checksum(id) for id in source.ids]
    assert store.ledger is not None
    assert store.ledger.summary() == {"unconverged": 1}
    assert Split.load(published / "splits" / "main.json")["test"] == ("SiO-4", "GaAs-7")
    assert verify(store) == []


def test_shards_are_links_unless_copies_are_wanted(published: Path, source: Store, tmp_path: Path) -> None:
    name = "shard-00000.zarr/h0/c/0"
    assert (published / name).samefile(source.path / name)
    publish(source, Request(tmp_path / "copied", CardSettings(), copy=True, ledger=False))
    copied = tmp_path / "copied"
    assert not (copied / name).samefile(source.path / name)
    assert not (copied / "ledger.jsonl").exists()
    assert not (copied / "LICENSE").exists()
    assert "license: unknown" in (copied / "README.md").read_text()
    assert "names no licence" in (copied / "README.md").read_text()
    assert Index.read(copied)[0].name == "copied"


def test_the_card(published: Path, source: Store) -> None:
    text = (published / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    facts = yaml.safe_load(header)
    assert facts["license"] == "cc-by-4.0"
    assert facts["size_categories"] == ["n<1K"]
    (config,) = facts["configs"]
    assert (published / config["data_files"][0]["path"]).is_file()
    for words in ("# A small dataset", "| structures | 8 |", "As Ga O Si", "1 x unconverged", "`splits/main.json`"):
        assert words in body
    assert "nextham download https://example.org/small" in body
    assert set(re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE)) == set(source.manifest.columns)


def test_every_column_is_explained(source: Store) -> None:
    assert set(source.manifest.columns) <= set(COLUMNS)


def test_a_licence_that_the_hub_does_not_know(source: Store, tmp_path: Path) -> None:
    own = tmp_path / "terms.txt"
    own.write_text("Ask Ada.")
    publish(source, Request(tmp_path / "out", CardSettings(license="LicenseRef-Ada"), license_file=own))
    facts = yaml.safe_load((tmp_path / "out" / "README.md").read_text().split("---\n")[1])
    assert (facts["license"], facts["license_name"], facts["license_link"]) == ("other", "licenseref-ada", "LICENSE")
    assert (tmp_path / "out" / "LICENSE").read_text() == "Ask Ada."


def test_the_citation() -> None:
    card = CardSettings(
        name="x", title="X", authors=("Lovelace, Ada", "The group"), doi="10.5281/zenodo.1", date="2026-01-02"
    )
    found = yaml.safe_load(citation(card))
    assert found["authors"] == [{"family-names": "Lovelace", "given-names": "Ada"}, {"name": "The group"}]
    assert (found["type"], found["doi"], str(found["date-released"])) == ("dataset", "10.5281/zenodo.1", "2026-01-02")
    assert found["url"] == "https://doi.org/10.5281/zenodo.1"


def test_croissant_is_valid_and_gives_the_manifest(published: Path, source: Store) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=published / "croissant.json")
    assert dataset.metadata.issues.errors == set()
    assert dataset.metadata.issues.warnings == set()
    rows = list(dataset.records("structures"))
    assert [row["structures/id"].decode() for row in rows] == list(source.ids)
    assert [row["structures/n_pairs"] for row in rows] == list(source.manifest["n_pairs"])
    described = {file.id: file.sha256 for file in dataset.metadata.file_objects}
    assert described["store.json"] == hashlib.sha256((published / "store.json").read_bytes()).hexdigest()
    assert [each.id for each in dataset.metadata.file_sets] == [shard["name"] for shard in source.shards]


# --- what is refused -----------------------------------------------------------------------------------------------


def refused(store: Store, request: Request) -> str:
    with pytest.raises(InputError) as raised:
        publish(store, request)
    assert not [path.name for path in request.out.parent.iterdir() if "partial" in path.name]
    return str(raised.value)


def test_a_damaged_store_is_not_published(source: Store, tmp_path: Path) -> None:
    merge_stores([source.path], tmp_path / "store")
    file = next((tmp_path / "store" / "shard-00000.zarr" / "h0" / "c").iterdir())
    content = bytearray(file.read_bytes())
    content[10] ^= 1
    file.write_bytes(bytes(content))
    said = refused(Store(tmp_path / "store"), Request(tmp_path / "out"))
    assert said.startswith(
        f"{tmp_path / 'store'} is damaged, so it is not published: {tmp_path / 'store'}: the files of"
    )
    assert not (tmp_path / "out").exists()


def test_a_split_of_other_data(source: Store, tmp_path: Path) -> None:
    Split({"test": ("Si-9",)}).save(tmp_path / "s.json")
    said = refused(source, Request(tmp_path / "out", splits=(tmp_path / "s.json",)))
    assert said.startswith(f"split test lists Si-9, which {source.path} does not hold")
    Split({"test": ()}).save(tmp_path / ".s.json")
    said = refused(source, Request(tmp_path / "out", splits=(tmp_path / ".s.json",)))
    assert said == "the split .s.json needs a name of letters, digits, . _ - that ends in .json"


def test_folders_in_use(source: Store, published: Path, tmp_path: Path) -> None:
    assert refused(source, Request(published)) == f"{published} exists already; choose another name or pass --overwrite"
    said = refused(source, Request(source.path, overwrite=True))
    assert said == f"{source.path} is in the store itself; choose a folder beside it"
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo").touch()
    said = refused(source, Request(tmp_path / "notes", overwrite=True))
    assert said == f"{tmp_path / 'notes'} is no published store, so it is not overwritten; choose another name"
    publish(source, Request(tmp_path / "again"))
    publish(source, Request(tmp_path / "again", CardSettings(version="2.0.0"), overwrite=True))
    assert "version: 2.0.0" in (tmp_path / "again" / "CITATION.cff").read_text()


def test_a_missing_licence(source: Store, tmp_path: Path) -> None:
    request = Request(tmp_path / "out", license_file=tmp_path / "LICENSE")
    assert refused(source, request) == f"there is no licence {tmp_path / 'LICENSE'}"

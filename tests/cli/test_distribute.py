"""``nextham publish`` and ``nextham download`` as people type them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from serving import serving
from typer.testing import CliRunner

from nextham import console
from nextham.cli import app
from nextham.core import OrbitalBasis
from nextham.data.settings import StoreSettings
from nextham.data.splits import Split
from nextham.data.store import Store, StoreWriter
from nextham.exceptions import InputError
from nextham.testing import synthetic_system, zincblende


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    basis = OrbitalBasis.parse("Ga:1s1p As:1s1p")
    with StoreWriter(folder / "store", settings=StoreSettings(structures_per_shard=2)) as writer:
        for k in range(4):
            writer.add(synthetic_system(zincblende(a_ang=5.5 + 0.1 * k), basis, id=f"GaAs-{k}", cutoff_ang=3.0))
    Split({"train": ("GaAs-0", "GaAs-1"), "test": ("GaAs-2",)}).save(folder / "main.json")
    card = {"license": "CC-BY-4.0", "url": "hf://datasets/group/small"}
    said = run(
        "publish", folder / "store", "-o", folder / "web", "--split", folder / "main.json", "--card", json.dumps(card)
    )
    assert f"{folder / 'web'}: 2 shards, " in said
    assert f"hf upload group/small {folder / 'web'} . --repo-type dataset" in said
    return folder / "web"


def test_publish_says_it_to_programs(web: Path, tmp_path: Path) -> None:
    facts = json.loads(run("publish", web, "-o", tmp_path / "again", "--no-ledger", "--json"))
    assert facts["shards"] == 2
    index = json.loads((tmp_path / "again" / "files.json").read_text())
    assert facts["files"] == len(index["files"]) + sum(len(shard["files"]) for shard in index["shards"])


def test_a_misspelt_card(web: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        run("publish", web, "-o", tmp_path / "out", "--card", '{"licence": "MIT"}')
    assert str(raised.value) == "the given settings: licence is not a setting; did you mean license?"
    with pytest.raises(InputError, match=r"^the given settings: url: must begin with https://, s3:// or hf://$"):
        run("publish", web, "-o", tmp_path / "out", "--card", '{"url": "example.org"}')


def test_download(web: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = run("download", web, "-o", out)
    assert said.startswith(f"{out}: 4 structures, all checksums agree; ")
    (out / "shard-00001.zarr" / "zarr.json").write_text("{}")
    said = run("download", web, "-o", out)
    assert said.startswith(f"mended: shard-00001.zarr/zarr.json\n{out}: 4 structures")
    assert " were here" in said
    assert json.loads(run("info", out, "--json"))["downloaded from"] == str(web)


def test_a_part_by_a_list_of_ids(web: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("# mine\nGaAs-3\n\nGaAs-0\n")
    report = json.loads(run("download", web, "-o", tmp_path / "a", "--ids", f"@{tmp_path / 'ids.txt'}", "--json"))
    assert report["structures"] == 2
    assert Store(tmp_path / "a").ids == ("GaAs-0", "GaAs-3")
    run("download", web, "-o", tmp_path / "b", "--ids", "GaAs-1, GaAs-2", "--fields", "overlap, h0")
    assert Store(tmp_path / "b").operators_of("GaAs-2") == ("overlap", "h0")


def test_the_plan(web: Path, tmp_path: Path) -> None:
    options = ("--split", "main", "--subset", "test", "--dry-run")
    said = run("download", web, "-o", tmp_path / "out", *options)
    assert said.startswith(f"1 of 4 structures of {web}\n  shard-00001.zarr  1 of 2 structures, about ")
    plan = json.loads(run("download", web, "-o", tmp_path / "out", *options, "--json"))
    assert (plan["structures"], plan["whole_shards"], plan["partial_shards"]) == (1, 0, 1)
    assert plan["operators"] == ["correction", "h0", "overlap"]
    assert plan["shards"][0]["name"] == "shard-00001.zarr"
    assert "  shard-00000.zarr  whole, " in run("download", web, "-o", tmp_path / "out", "--dry-run")
    assert list(tmp_path.iterdir()) == []


def test_one_sentence_and_status_one(
    web: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(web) as server:
        monkeypatch.setattr(sys, "argv", ["nextham", "download", f"{server.url}/x", "-o", str(tmp_path / "out")])
        with pytest.raises(SystemExit) as left:
            console.run(app, "nextham")
    assert left.value.code == 1
    assert capsys.readouterr().err == f"nextham: {server.url}/x/files.json does not exist; check the address\n"
    with pytest.raises(InputError, match="is no name for a store; choose a folder that is not there yet"):
        run("download", web, "-o", ".")


def test_bytes_are_counted_in_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_PLAIN_INTERVAL_S", 0.0)
    with console.transfer("downloading x", 2_000_000) as moved:
        moved(500_000)
    said = capsys.readouterr().err
    assert said.startswith("downloading x: 0.5/2.0 MB, ")
    assert ", ETA " in said

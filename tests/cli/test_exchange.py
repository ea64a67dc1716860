"""The commands between other programs' files and stores."""

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from calls import call
from typer.testing import CliRunner

import nextham.campaign  # noqa: F401  (a part of it is replaced below)
from nextham.cli import exchange
from nextham.data.store import Store
from nextham.data.writer import StoreWriter
from nextham.exceptions import InputError, NexthamError

sys.path.append(str(Path(__file__).parents[1] / "exchange"))
from published_files import published_fields, write


@pytest.fixture(scope="module")
def app():
    made = typer.Typer(pretty_exceptions_enable=False)
    exchange.register(made)
    return made


@pytest.fixture(scope="module")
def files(alsb, tmp_path_factory):
    """Two good files, one cut short, and a Fermi level."""
    folder = tmp_path_factory.mktemp("published")
    fields = published_fields(alsb)
    for name in ("mp-1", "mp-2"):
        write(fields, folder / f"{name}.pth")
    write(7.25, folder / "efermi_mp-1.pth")
    (folder / "mp-3.pth").write_bytes((folder / "mp-1.pth").read_bytes()[:-500])
    return folder


@pytest.fixture(scope="module")
def store(alsb, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "store"
    with StoreWriter(path) as writer:
        writer.add(alsb)
    return path


def test_published_files_become_a_store_and_a_bad_one_a_line_in_its_ledger(app, files, tmp_path):
    told = call(app, "import-published", files, "-o", tmp_path / "store")
    assert "failed: mp-3: " in told
    assert "2 of 3 structures" in told
    store = Store(tmp_path / "store")
    assert set(store.ids) == {"mp-1", "mp-2"}
    assert store.ledger.summary() == {"ok": 2, "truncated-output": 1}
    assert store["mp-1"].meta[0].fermi_energy_ev == 7.25
    assert "labels" in store.certificate("mp-2").passed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store"]  # nothing else is left
    row = store.manifest.set_index("id").loc["mp-1"]
    assert (row["pair_cutoff_ang"], row["notes"]) == (8.0, "energies were made with 1 Ry = 13.605698 eV")


@pytest.mark.slow  # processes of their own, twice
def test_an_interrupted_import_goes_on(app, files, tmp_path, monkeypatch):
    collecting = sys.modules["nextham.campaign.collect"]
    written = collecting._written
    seen = []

    def stop_after_one(*words):
        seen.append(words)
        if len(seen) > 1:
            raise KeyboardInterrupt
        return written(*words)

    monkeypatch.setattr(collecting, "_written", stop_after_one)
    CliRunner().invoke(app, ["import-published", str(files), "-o", str(tmp_path / "store")])
    assert not (tmp_path / "store").exists()
    assert list((tmp_path / "store.records").glob("mp-*/finished.npz"))
    monkeypatch.setattr(collecting, "_written", written)
    told = json.loads(call(app, "import-published", files, "-o", tmp_path / "store", "--json"))
    assert told["read_back"] >= 1
    assert set(told["stored"]) == {"mp-1", "mp-2"}
    assert not (tmp_path / "store.records").exists()


def test_a_dry_run_tells_what_files_hold(app, files, tmp_path):
    told = json.loads(call(app, "import-published", files, "-o", tmp_path / "store", "--dry-run", "--json"))
    assert set(told) == {"mp-1", "mp-2"}
    assert told["mp-1"]["formula"] == "AlSb"
    assert told["mp-1"]["edges"] > 100
    assert not (tmp_path / "store").exists()
    assert "2 of 3 files" in call(app, "import-published", files, "-o", tmp_path / "store", "--dry-run")


def test_a_dry_run_of_bad_files_alone_fails(app, tmp_path):
    (tmp_path / "x.pth").write_text("no")
    words = ("import-published", tmp_path / "x.pth", "-o", tmp_path / "store", "--dry-run")
    assert call(app, *words, fails=NexthamError) == "none of 1 files can be opened"


def test_what_is_asked_wrongly(app, files, tmp_path):
    asked = ("import-published", files / "mp-1.pth", files / "mp-2.pth", "-o", tmp_path / "store")
    assert "--id names one structure, but 2 files are given" in call(app, *asked, "--id", "x", fails=InputError)
    assert "there is no" in call(app, "import-published", tmp_path / "no.pth", "-o", tmp_path / "s", fails=InputError)
    (tmp_path / "empty").mkdir()
    message = call(app, "import-published", tmp_path / "empty", "-o", tmp_path / "s", fails=InputError)
    assert "holds no .pth file" in message
    twice = ("import-published", files / "mp-1.pth", files / "mp-1.pth", "-o", tmp_path / "s")
    assert "are both called mp-1; rename one" in call(app, *twice, fails=InputError)
    message = call(app, "import-published", files / "mp-3.pth", "-o", tmp_path / "s", fails=NexthamError)
    assert "no structure of 1 gave a record (1 truncated-output)" in message


@pytest.mark.parametrize("format", ["deeph", pytest.param("deeph-dock", marks=pytest.mark.slow)])
def test_to_deeph_and_back(app, store, alsb, tmp_path, format):
    call(app, "export", store, "-o", tmp_path / "out", "--format", format)
    assert "1 of 1 structures" in call(app, "import-deeph", tmp_path / "out", "-o", tmp_path / "back")
    id = alsb.ids[0]
    found, kept = Store(tmp_path / "back")[id], Store(store)[id]
    assert found.pairs == kept.pairs
    for name in kept.operators:
        np.testing.assert_array_equal(found.operators[name], kept.operators[name])


def test_the_same_files_are_not_written_twice_unasked(app, store, tmp_path):
    for format in ("deeph", "hamgnn"):
        call(app, "export", store, "-o", tmp_path / format, "--format", format)
        message = call(app, "export", store, "-o", tmp_path / format, "--format", format, fails=InputError)
        assert "already; choose another folder or pass --overwrite" in message
        call(app, "export", store, "-o", tmp_path / format, "--format", format, "--overwrite")


def test_a_structure_that_cannot_be_exported_is_told(app, alsb, tmp_path):
    with StoreWriter(tmp_path / "store") as writer:
        writer.add(alsb)
        writer.add(alsb.without("hamiltonian").with_meta(id="no-h"))
    message = call(app, "export", tmp_path / "store", "-o", tmp_path / "out", "--format", "hamgnn", fails=NexthamError)
    assert message == f"1 of 2 structures of {tmp_path / 'store'} were not exported"
    assert (tmp_path / "out" / "structures.txt").read_text() == f"{alsb.ids[0]}\n"


def test_a_damaged_folder_of_deeph(app, store, alsb, tmp_path):
    call(app, "export", store, "-o", tmp_path / "out", "--format", "deeph")
    with h5py.File(tmp_path / "out" / alsb.ids[0] / "overlaps.h5", "r+") as file:
        del file["[0, 0, 0, 1, 1]"]
    message = call(app, "import-deeph", tmp_path / "out", "-o", tmp_path / "back", fails=NexthamError)
    assert "no structure of 1 gave a record" in message

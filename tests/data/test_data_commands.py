"""The commands that people use on stores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from nextham.cli import data, split
from nextham.core import OrbitalBasis
from nextham.data.certificate import Certificate
from nextham.data.splits import Split
from nextham.data.store import Store, StoreWriter
from nextham.exceptions import InputError
from nextham.testing import synthetic_system, zincblende

app = typer.Typer()
data.register(app)
split.register(app)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    basis = OrbitalBasis.parse("Ga:2s2p1d As:1s1p")
    with StoreWriter(tmp_path / "store") as writer:
        for k in range(4):
            system = synthetic_system(zincblende(a_ang=5.5 + 0.1 * k), basis, id=f"GaAs-{k}", cutoff_ang=3.0)
            writer.add(
                system, certificate=Certificate(passed=("finite",), skipped={"bands": "none"} if k else {}, gap_ev=0.5)
            )
        writer.ledger.failure("Fe-0", "scf", "unconverged", "Fe-0 did not converge")
    return tmp_path / "store"


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_info(store: Path) -> None:
    facts = json.loads(run("info", store, "--json"))
    assert facts["structures"] == 4
    assert facts["elements"] == ["As", "Ga"]
    assert facts["orbital basis"] == "As:1s1p Ga:2s2p1d"
    assert facts["operators"] == {"overlap h0 hamiltonian": 4}
    assert facts["certified"] == 4
    assert facts["certified without"] == {"bands": 3}
    assert facts["ledger"] == {"unconverged": 1}
    assert facts["bytes per structure"] == pytest.approx(facts["bytes"] / 4, abs=1)
    assert "As:1s1p Ga:2s2p1d" in run("info", store)


def test_show(store: Path) -> None:
    facts = json.loads(run("show", store, "GaAs-2", "--json"))
    assert facts["crystal"]["formula"] == "AsGa"
    assert facts["certificate"]["gap_ev"] == 0.5
    assert facts["operators"]["h0"].startswith("393 numbers a row; Re h_0 ≤ ")
    assert facts["run"]["engine"] == "synthetic"
    assert set(facts["on-site levels of H (eV)"]) == {"Ga0", "As1"}
    text = run("show", store, "GaAs-2")
    assert "gap_ev" in text
    assert Store(store).checksum("GaAs-2")[:20] in text
    with pytest.raises(InputError, match="has no structure GaAs-9; did you mean GaAs-"):
        run("show", store, "GaAs-9")


def test_pack_and_verify(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    assert run("pack", store, "-o", out, "--settings", '{"structures_per_shard": 3}').endswith(
        f"{out}: 4 structures from 1 stores\n"
    )
    assert len(Store(out).shards) == 2
    assert f"{out}: 4 structures, all checksums agree" in run("verify", out)
    with pytest.raises(InputError) as raised:
        run("pack", store, "-o", out)
    assert str(raised.value) == f"{out} exists already; choose another name or pass --overwrite"
    with pytest.raises(InputError) as raised:
        run("pack", store, store, "-o", tmp_path / "twice")
    assert str(raised.value) == f"GaAs-0 is in {tmp_path / 'twice'} already; ids must differ"
    file = out / "shard-00001.zarr" / "overlap" / "c" / "0"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(InputError, match="packed has 2 problems"):
        run("verify", out)


def test_split(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "split.json"
    settings = '{"fractions": {"train": 0.5, "val": 0.25, "test": 0.25}, "audit": false}'
    assert run("split", store, "-o", out, "--settings", settings) == f"{out}: train 2, val 1, test 1\n"
    assert len(Split.load(out)["train"]) == 2
    assert json.loads(run("info", store, "--split", out, "--json"))["split"] == {"train": 2, "val": 1, "test": 1}
    with pytest.raises(InputError) as raised:
        run("split", store, "-o", out, "--settings", '{"seeds": 1}')
    assert str(raised.value) == "the given settings: seeds is not a setting; did you mean seed?"

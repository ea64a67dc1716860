import json
import shutil
from pathlib import Path

import pytest
import typer
from calls import call
from typer.testing import CliRunner

from nextham.cli import abacus, exchange, main
from nextham.data.store import Store
from nextham.dft.abacus.csr import read_csr
from nextham.exceptions import InputError, NexthamError

EXAMPLES = Path(__file__).parents[2] / "examples" / "abacus-runs"
BES, SI = (str(EXAMPLES / f"case-{name}.tar.xz") for name in ("BeS-zb-0", "Si-dia-1"))


@pytest.fixture(scope="module")
def app():
    made = typer.Typer(pretty_exceptions_enable=False)
    abacus.register(made)
    exchange.register(made)
    return made


@pytest.fixture
def broken(tmp_path):
    """An archive that ends early."""
    path = tmp_path / "case-broken.tar.xz"
    path.write_bytes(Path(BES).read_bytes()[:20000])
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_run_goes_to_the_ledger_and_the_rest_goes_on(app, tmp_path, broken, workers):
    output = call(app, "import-abacus", BES, broken, SI, "-o", tmp_path / "store", "--workers", workers)
    assert "failed: broken: " in output
    assert f"{tmp_path}/store: 2 of 3 structures (failed: 1 truncated-output)" in output
    store = Store(tmp_path / "store")
    assert set(store.ids) == {"BeS-zb-0", "Si-dia-1"}
    assert store.ledger.summary() == {"ok": 2, "truncated-output": 1}
    assert "bands" in store.certificate("BeS-zb-0").passed


def test_skipped_checks_are_counted(app, tmp_path):
    shutil.unpack_archive(BES, tmp_path, filter="data")
    case = tmp_path / "case-BeS-zb-0"
    log = case / "abacus_scf/OUT.ABACUS/running_scf.log"
    log.write_text(log.read_text().replace("STATE ENERGY(eV) AND OCCUPATIONS", "OTHER"))
    assert call(app, "import-abacus", case, SI, "-o", tmp_path / "store") == (
        f"{tmp_path}/store: 2 of 2 structures (1 without the check of bands)\n"
    )
    told = json.loads(call(app, "import-abacus", case, "-o", tmp_path / "other", "--json"))
    assert told["skipped"] == {"bands": 1}


def test_a_name_with_blanks(app, tmp_path):
    copy = shutil.copy(BES, tmp_path / "case-Be S.tar.xz")
    assert call(app, "import-abacus", copy, "-o", tmp_path / "store", fails=NexthamError).endswith(
        "'Be S' cannot name a structure: an id becomes the name of a folder, so it has letters, digits and . _ + = "
        "( ) - only, and does not start with a dot; rename the folder or file, or give an --id"
    )
    call(app, "import-abacus", copy, "--id", "BeS", "-o", tmp_path / "store")


def test_json_lists_what_became_of_each(app, tmp_path, broken):
    told = json.loads(call(app, "import-abacus", broken, "-o", tmp_path / "store", "--allow-empty", "--json"))
    assert told["stored"] == []
    assert [(f["id"], f["cause"]) for f in told["failed"]] == [("broken", "truncated-output")]


def test_nothing_is_left_where_every_run_failed(app, tmp_path, broken):
    message = call(app, "import-abacus", broken, "-o", tmp_path / "store", fails=NexthamError)
    assert "no structure of 1 gave a record (1 truncated-output)" in message
    assert not (tmp_path / "store").exists()


def test_explicit_folders(app, tmp_path):
    shutil.unpack_archive(BES, tmp_path, filter="data")
    case = tmp_path / "case-BeS-zb-0"
    both = ("--h0-dir", case / "abacus_geths", "--scf-dir", case / "abacus_scf")
    call(app, "import-abacus", *both, "--id", "mine", "-o", tmp_path / "store")
    assert Store(tmp_path / "store").ids == ("mine",)
    required = ("--require", "overlap", "--require", "h0")
    call(app, "import-abacus", "--h0-dir", case / "abacus_geths", *required, "-o", tmp_path / "h0")
    assert set(Store(tmp_path / "h0").operators_of("BeS-zb-0")) == {"overlap", "h0"}
    message = call(app, "import-abacus", "--h0-dir", case / "abacus_geths", "-o", tmp_path / "no", fails=NexthamError)
    assert "lacks the hamiltonian" in message


def test_what_is_asked_wrongly(app, tmp_path):
    out = ("-o", tmp_path / "store")
    told = call(app, "import-abacus", *out, fails=InputError)
    assert told == "give run folders or archives, or --h0-dir and --scf-dir of one structure"
    told = call(app, "import-abacus", BES, SI, "--id", "x", *out, fails=InputError)
    assert told == "--id names one structure, but 2 runs are given; leave it out"
    assert call(app, "import-abacus", "nowhere", *out, fails=InputError) == "there is no nowhere"
    copy = shutil.copy(BES, tmp_path)
    assert (
        call(app, "import-abacus", BES, copy, *out, fails=InputError)
        == f"{copy} and {BES} are both called BeS-zb-0; rename one"
    )
    told = call(app, "import-abacus", BES, *out, "--settings", "{stor: {}}", fails=InputError)
    assert told == "the given settings: stor is not a setting; did you mean store?"


def test_export_gives_one_folder_per_structure(app, tmp_path):
    call(app, "import-abacus", BES, SI, "-o", tmp_path / "store")
    call(app, "export", tmp_path / "store", "-o", tmp_path / "out")
    names = ["STRU", "data-H0R-sparse_SPIN0.csr", "data-HR-sparse_SPIN0.csr", "data-SR-sparse_SPIN0.csr"]
    for id in ("BeS-zb-0", "Si-dia-1"):
        assert sorted(p.name for p in (tmp_path / "out" / id).iterdir()) == names
    words = ("--format", "abacus-3.11", "--id", "BeS-zb-0", "--operator", "hamiltonian", "--json")
    told = json.loads(call(app, "export", tmp_path / "store", "-o", tmp_path / "new", *words))
    assert [Path(p).name for p in told["BeS-zb-0"]] == ["STRU", "hrs1_nao.csr"]
    assert read_csr(tmp_path / "new/BeS-zb-0/hrs1_nao.csr")[0] == 40
    message = call(app, "export", tmp_path / "store", "-o", tmp_path / "x", "--id", "BeS-zb-1", fails=InputError)
    assert "BeS-zb-1" in message


def test_export_writes_over_nothing_unasked(app, tmp_path):
    call(app, "import-abacus", BES, "-o", tmp_path / "store")
    words = ("export", tmp_path / "store", "-o", tmp_path / "out")
    folder = tmp_path / "out" / "BeS-zb-0"
    folder.mkdir(parents=True)
    (folder / "INPUT").write_text("mine")
    (folder / "STRU").write_text("old")
    told = call(app, *words, fails=InputError)
    assert told == f"{folder} holds files already; choose another folder or pass --overwrite"
    assert (folder / "STRU").read_text() == "old"
    call(app, *words, "--overwrite")
    assert (folder / "STRU").read_text().startswith("ATOMIC_SPECIES")
    assert (folder / "INPUT").read_text() == "mine"
    assert len(list(folder.iterdir())) == 5
    assert [p.name for p in folder.parent.iterdir()] == ["BeS-zb-0"]


def test_export_tells_a_damaged_record_and_goes_on(app, tmp_path):
    small = ("--settings", "{store: {structures_per_shard: 1}}")
    call(app, "import-abacus", BES, SI, "-o", tmp_path / "store", *small)
    file = tmp_path / "store" / "shard-00000.zarr" / "h0" / "c" / "0"
    file.write_bytes(file.read_bytes()[:100])
    result = CliRunner().invoke(app, ["export", str(tmp_path / "store"), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert str(result.exception) == f"1 of 2 structures of {tmp_path}/store were not exported"
    assert f"{tmp_path}/out: 1 structures" in result.stdout
    assert "failed: " in result.stderr
    assert "the shard is damaged: fetch or pack it again" in result.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["Si-dia-1"]


@pytest.mark.parametrize("command", ["import-abacus", "export"])
def test_a_place_that_cannot_be_written(app, tmp_path, command, monkeypatch, capsys):
    call(app, "import-abacus", BES, "-o", tmp_path / "store")
    (tmp_path / "file").touch()
    source = BES if command == "import-abacus" else str(tmp_path / "store")
    for place, reason in (
        (tmp_path / "file" / "x", "a part of this path is a file, not a folder; choose another place"),
        (Path("/proc/x"), "No such file or directory; check the path"),
    ):
        monkeypatch.setattr("sys.argv", ["nextham", command, source, "-o", str(place)])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 1
        named = place if command == "import-abacus" else place / "BeS-zb-0"
        assert capsys.readouterr().err.splitlines()[-1] == f"nextham: {named} cannot be written: {reason}"

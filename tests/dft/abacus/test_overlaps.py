"""S(R) against ABACUS's binding: a stand-in with its interface, the real one where there is one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fake_pyabacus import write_binding
from typer.testing import CliRunner

from nextham.cli import app
from nextham.data.store import StoreWriter
from nextham.dft.abacus import binding
from nextham.exceptions import InputError

SILICON = "Si\n5.431\n0 .5 .5\n.5 0 .5\n.5 .5 0\nSi\n2\nDirect\n0 0 0\n.26 .25 .24\n"
LIGHT = "lcao: {ecutwfc_ry: 20}"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a crystal, and no pyabacus loaded before or after."""
    monkeypatch.chdir(tmp_path)
    Path("Si.vasp").write_text(SILICON)
    forget()
    yield tmp_path
    forget()


def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyabacus"]:
        del sys.modules[name]


def verify(*words):
    done = CliRunner().invoke(app, ["verify", *map(str, words), "--pyabacus"])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_a_crystal_has_the_overlaps_of_the_binding(place, monkeypatch):
    monkeypatch.syspath_prepend(write_binding(place / "lib"))
    said = verify("Si.vasp")
    assert said.startswith("Si: max |S - S(pyabacus)| ")
    assert said.endswith("Si.vasp: S of 1 structures is that of ABACUS's two-centre integrals within 1e-06\n")


def test_a_difference_is_told_with_its_place(place, monkeypatch):
    monkeypatch.syspath_prepend(write_binding(place / "lib", shift=1e-5))
    with pytest.raises(InputError, match=r"Si.vasp: S of 1 of 1 structures differs by more than 1e-06"):
        verify("Si.vasp")
    assert "within 0.0001" in verify("Si.vasp", "--tolerance", "1e-4")


def test_a_store_is_compared_with_the_very_files_it_was_made_with(place, monkeypatch, example):
    monkeypatch.syspath_prepend(write_binding(place / "lib"))
    done = CliRunner().invoke(app, ["h0", "Si.vasp", "-o", "store", "--settings", LIGHT], catch_exceptions=False)
    assert done.exit_code == 0
    assert "store: S of 1 structures" in verify("store")
    Path("mine").mkdir()
    with pytest.raises(InputError, match=r"Si has the orbitals \S+ for Si, which mine does not hold; name the folder"):
        verify("store", "--species", "mine")
    name = next(iter(Path(binding.__file__).parents[1].glob("species/set/**/Si*.orb"))).name
    (Path("mine") / name).write_text("other orbitals")
    with pytest.raises(InputError, match=r"is not the file of Si: its SHA-256 differs; name another with --species"):
        verify("store", "--species", "mine")
    with StoreWriter("runs") as writer:
        writer.add(example("BeS-zb-0").system)
    with pytest.raises(InputError, match=r"BeS-zb-0 has the orbitals Be_gga\S+ for Be, which \S+ does not hold"):
        verify("runs")


def test_without_the_binding_there_is_one_sentence(place):
    if binding.why_no_integrals() is None:
        pytest.skip("ABACUS's binding is installed")
    with pytest.raises(InputError) as caught:
        verify("Si.vasp")
    assert str(caught.value) == (
        "S cannot be compared with ABACUS's integrals: ABACUS's Python binding (pyabacus) is not installed; build it "
        "from python/pyabacus of its source tree"
    )


def test_the_package_of_that_name_on_pypi_is_told_apart(place, monkeypatch):
    (place / "lib" / "pyabacus").mkdir(parents=True)
    (place / "lib" / "pyabacus" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(place / "lib")
    with pytest.raises(
        InputError, match="PyPI's driver of Tausand coincidence counters, another package; uninstall it"
    ):
        verify("Si.vasp")


@pytest.mark.abacus
def test_the_real_binding_agrees(place):
    if (reason := binding.why_no_integrals()) is not None:
        pytest.skip(reason)
    assert "is that of ABACUS's two-centre integrals within 1e-06" in verify("Si.vasp")

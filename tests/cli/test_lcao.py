"""nextham h0 and nextham scf with the embedded engine and the embedded species: a crystal to a certified store."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from nextham.cli import app
from nextham.data.checks import certify
from nextham.data.ledger import Ledger
from nextham.data.store import Store
from nextham.dft.lcao.engine import LCAOEngine
from nextham.dft.lcao.settings import LCAOSettings
from nextham.dft.species.source import embedded_species
from nextham.exceptions import InputError, NexthamError
from nextham.physics.bands import eigenproblem, monkhorst_pack
from nextham.testing import zincblende

CUTOFF = 40.0  # enough for orbitals of 100 Ry to agree within 5 meV, and three times faster
BN = "BN\n3.615\n0 .5 .5\n.5 0 .5\n.5 .5 0\nB N\n1 1\ndirect\n0 0 0\n.25 .25 .25\n"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "BN.vasp").write_text(BN)
    return tmp_path


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    """Tables do not go to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTHAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def settings(**section):
    return json.dumps({"lcao": {"ecutwfc_ry": CUTOFF, **section}})


def test_h0_of_a_crystal_without_any_other_file(place):
    done = invoke("h0", place / "BN.vasp", "-o", place / "store", "--settings", settings())
    assert done.exit_code == 0, done.output
    assert f"{place}/store: 1 of 1 structures" in done.stdout
    system = Store(place / "store")["BN"]
    assert set(system.operators) == {"overlap", "h0"}
    assert (system.meta[0].engine, system.meta[0].h0_definition) == ("lcao", "atomic-density-step0")
    assert not (place / "store.runs").exists()


def test_scf_makes_a_certified_store_whose_bands_are_the_levels_of_the_scf(place):
    words = ("--settings", settings(), "--kspacing", 0.3, "--keep-runs")
    done = invoke("scf", place / "BN.vasp", "-o", place / "store", *words)
    assert done.exit_code == 0, done.output
    system = Store(place / "store")["BN"]
    assert system.meta[0].kmesh == (6, 6, 6)
    assert "drho" in (place / "store.runs" / "BN" / "lcao.log").read_text()
    assert Ledger(place / "store" / "ledger.jsonl").last()["BN"].facts["scf_steps"] > 1

    engine = LCAOEngine(LCAOSettings(ecutwfc_ry=CUTOFF, kspacing_inv_bohr=0.3))
    again = engine.scf(system.structure(), id="BN", folder=place / "again")
    certificate = certify(system, levels=again.levels)  # the levels that the SCF itself ended with
    assert {"bands", "time-reversal", "electron-count", "overlap-positive"} <= set(certificate.passed)
    levels = eigenproblem(system, again.levels.k).energies
    # Higher levels feel the store's rounding: S(k) has eigenvalues down to 3e-5.
    np.testing.assert_allclose(levels[:, :16], again.levels.energies[:, :16], atol=1e-5)
    energies = eigenproblem(system, monkhorst_pack((2, 2, 2))).energies
    gap = energies[:, 8].min() - energies[:, 7].max()
    assert 4.0 < gap < 6.5  # PBE: 4.5 between Γ and X, 4.9 to 5.1 with so few k points and short-ranged orbitals
    np.testing.assert_allclose(energies[:, ::2], energies[:, 1::2], atol=0.05)  # nearly no spin-orbit coupling


def test_a_missing_element_is_named_and_the_rest_goes_on(place):
    (place / "FeO.vasp").write_text(BN.replace("B N", "Fe O").replace("BN", "FeO"))
    done = invoke("h0", place, "-o", place / "store", "--settings", settings(), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["stored"] == ["BN"]
    assert [(f["id"], f["cause"]) for f in found["failed"]] == [("FeO", "missing-file")]
    assert Ledger(place / "store" / "ledger.jsonl").last()["FeO"].message == (
        "FeO: the embedded species set has no Fe; it has H B C N O F Na Mg Al Si P S Cl Ga Ge As Se Br In Sn Sb Te I "
        "Tl Pb Bi; lock a folder with fully relativistic UPF and .orb files of every element (nextham species lock "
        "DIR) and name it in species.source (--species)"
    )


def test_folders_of_species_replace_the_embedded_set(place):
    (place / "species").mkdir()
    for name in ("B.upf", "B.orb"):
        (place / "species" / name).symlink_to(embedded_species().folder / name)
    folders = ("--pseudo-dir", place / "species", "--orbital-dir", place / "species")
    done = invoke("h0", place / "BN.vasp", "-o", place / "store", *folders)
    assert isinstance(done.exception, NexthamError)
    assert f"BN: {place}/species holds no pseudopotential (*.upf) of N" in str(done.exception)
    done = invoke("h0", place / "BN.vasp", "-o", place / "store", "--pseudo-dir", place / "species")
    assert str(done.exception).startswith("orbital_dir is not set; name the folder with one .orb file per element")


def test_dry_run_tells_species_mesh_and_memory_and_computes_nothing(place):
    words = ("scf", place / "BN.vasp", "-o", place / "store", "--dry-run", "--settings", settings(), "--kspacing", 0.3)
    text = invoke(*words).stdout
    assert "=== BN: scf\ncrystal   BN: 2 atoms, 26 orbitals without spin (B:2s2p1d N:2s2p1d)" in text
    assert f"species   B: {embedded_species().folder}/B.upf" in text
    assert "k mesh    6 x 6 x 6, 112 k points to solve" in text
    assert "memory    about 0." in text
    assert "GB of at most 8 GB" in text
    assert "ecutwfc_ry: 40.0" in text
    plan = json.loads(invoke(*words, "--json").stdout)["inputs"]["BN"]["scf"]
    assert plan["kmesh"] == [6, 6, 6]
    assert plan["settings"]["kspacing_inv_bohr"] == 0.3
    assert [path.name for path in place.iterdir()] == ["BN.vasp"]


def test_dry_run_tells_what_would_be_refused(place):
    words = ("-o", place / "store", "--dry-run", "--settings", settings(max_memory_gb=0.1))
    done = invoke("h0", place / "BN.vasp", *words)
    assert isinstance(done.exception, InputError)
    assert "BN (BN) needs about 0.4 GB" in str(done.exception)


def test_settings_of_another_engine_are_not_passed_over(place):
    done = invoke("scf", place / "BN.vasp", "-o", place / "store", "--settings", '{"abacus": {"command": "abacus"}}')
    assert str(done.exception) == (
        "the settings have a section abacus, but the engine is lcao: add --engine abacus, "
        "or a section lcao (lcao: {} for its defaults)"
    )


@pytest.fixture
def _one_thread(monkeypatch):
    """Sums over several threads have other last digits."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_one_thread")
def test_two_at_a_time_and_after_an_interruption_give_what_one_gives(place, monkeypatch):
    (place / "BN2.vasp").write_text(BN.replace("3.615", "3.7"))
    words = ("scf", place, "--settings", settings(), "--kspacing", 0.5)
    assert invoke(*words, "-o", place / "one").exit_code == 0
    done = invoke(*words, "-o", place / "two", "--workers", 2)
    assert done.exit_code == 0, done.output

    compute = LCAOEngine.scf
    computed = []

    def interrupted(self, structure, *, id, folder):
        if id == "BN2":
            raise KeyboardInterrupt
        computed.append(id)
        return compute(self, structure, id=id, folder=folder)

    monkeypatch.setattr(LCAOEngine, "scf", interrupted)
    assert invoke(*words, "-o", place / "store").exit_code != 0
    (place / "BN2.vasp").unlink()
    words = ("scf", place / "BN.vasp", "--settings", settings(max_memory_gb=4), "--kspacing", 0.5)
    done = invoke(*words, "-o", place / "store")
    assert "1 of 1 structures (1 finished before an interruption)" in done.output
    assert computed == ["BN"]

    one, two, resumed = (Store(place / name) for name in ("one", "two", "store"))
    for store, id in ((two, "BN"), (two, "BN2"), (resumed, "BN")):
        assert store.certificate(id).passed == one.certificate(id).passed
        for name, values in one[id].operators.items():
            np.testing.assert_allclose(store[id].operators[name], values, rtol=0, atol=2e-10)


def test_a_fingerprint_is_of_all_that_the_numbers_follow_from_and_of_nothing_else(place):
    structure = zincblende("B", "N", a_ang=3.615)

    def of(crystal=structure, **changes):
        return LCAOEngine(LCAOSettings(**changes)).fingerprint(crystal, id="BN")

    other = [
        of(kspacing_inv_bohr=0.2),
        of(scf_thr=1e-8),
        of(zincblende("B", "N")),
        of(zincblende("B", "P", a_ang=3.615)),
    ]
    assert len({of(), *other}) == 5
    folder = embedded_species().folder
    assert of() == of(max_memory_gb=1.0) == of(pseudo_dir=str(folder), orbital_dir=str(folder))
    for name in ("B.upf", "B.orb", "N.upf", "N.orb"):
        shutil.copy(folder / name, place / name)
    (place / "N.orb").write_text((place / "N.orb").read_text() + "\n")
    assert of(pseudo_dir=str(place), orbital_dir=str(place)) != of()

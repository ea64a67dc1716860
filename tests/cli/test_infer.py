"""nextham predict as a user runs it: stores, crystals, supercells, ensembles, ABACUS's files, bands, mistakes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from made_up_species import SHELLS, SPECIES, orb_text, upf_text
from typer.testing import CliRunner

from nextham.cli import app
from nextham.core import OrbitalBasis
from nextham.data.ledger import Ledger
from nextham.data.splits import Split
from nextham.data.store import Store, StoreWriter
from nextham.dft.abacus.csr import read_csr
from nextham.exceptions import InputError, NexthamError
from nextham.model import checkpoint
from nextham.model.settings import ModelSettings
from nextham.physics.nearnull import damped
from nextham.physics.symmetry import supercell
from nextham.predict import predicted

SI_C = "SiC\n3.1\n1.0 .05 0\n.1 1.02 0\n0 .08 .97\nSi C\n1 1\ndirect\n.02 .03 .05\n.53 .46 .55\n"


def save_checkpoint(path, basis, h0_definition, *, seed=0, **more):
    torch.manual_seed(seed)
    shape = ModelSettings(channels=4, lmax=2, n_blocks=1, n_heads=2, width=16)
    card = checkpoint.Card(shape, basis, h0_definition, **more)
    checkpoint.save(path, checkpoint.build(card).double().state_dict(), card)
    return path


@pytest.fixture
def stored(synthetic, tmp_path):
    """A store of three structures and a checkpoint."""
    with StoreWriter(tmp_path / "store") as writer:
        for id in ("a", "b", "c"):
            writer.add(synthetic.with_meta(id=id))
    Split({"train": ("a",), "val": ("b",), "test": ("c",)}).save(tmp_path / "split.json")
    save_checkpoint(tmp_path / "model", synthetic.basis, "synthetic")
    return tmp_path


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A crystal, its species' files and a checkpoint."""
    monkeypatch.setenv("NEXTHAM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "SiC.vasp").write_text(SI_C)
    for name, what in SPECIES.items():
        (tmp_path / f"{name}.upf").write_text(upf_text(name, **what))
        (tmp_path / f"{name}.orb").write_text(orb_text(name, shells=SHELLS[name]))
    save_checkpoint(tmp_path / "model", OrbitalBasis.parse("Si:2s1p1d C:1s1p"), "atomic-density-step0")
    return tmp_path


PLAIN = ("--overlap-floor", "0")  # what the network gives, as it is; of two values the last counts


def nextham(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def from_store(place, *words, out="out", model="model"):
    return nextham("predict", place / "store", "--checkpoint", place / model, "-o", place / out, *PLAIN, *words)


def from_crystal(place, *words, out="out", crystal="SiC.vasp"):
    settings = json.dumps({"lcao": {"ecutwfc_ry": 10.0}})
    folders = ("--pseudo-dir", place, "--orbital-dir", place, "--settings", settings)
    return nextham(
        "predict", place / crystal, "--checkpoint", place / "model", "-o", place / out, *folders, *PLAIN, *words
    )


def test_all_of_a_store_those_of_a_split_and_those_named(stored):
    from_store(stored, out="all")
    from_store(stored, "--split", stored / "split.json", out="test")
    from_store(stored, "--id", "b", "--id", "a", out="two")
    assert [Store(stored / name).ids for name in ("all", "test", "two")] == [("a", "b", "c"), ("c",), ("b", "a")]
    assert Store(stored / "all").operators_of("a") == ("hamiltonian",)
    network, _ = checkpoint.load(stored / "model")
    expected = predicted(Store(stored / "store")["a"], network).operators["hamiltonian"]
    assert np.abs(Store(stored / "all")["a"].operators["hamiltonian"] - expected).max() < 1e-9


def test_near_null_directions_are_damped_where_it_is_not_turned_off(stored):
    plain = from_store(stored, "--id", "a", "--json", out="plain")
    from_store(stored, "--id", "a", "--overlap-floor", "0.003")
    assert not json.loads(plain)["structures"]["a"]["damped"]
    assert Ledger(stored / "out" / "ledger.jsonl").last()["a"].facts["damped"]
    system = Store(stored / "store")["a"]
    corrections = [
        Store(stored / name)["a"].operator("hamiltonian") - system.operator("h0") for name in ("plain", "out")
    ]
    assert np.abs((damped(system, corrections[0]) - corrections[1]).values).max() < 1e-9
    assert np.abs((corrections[0] - corrections[1]).values).max() > 1e-5


def test_a_bad_structure_is_told_and_the_rest_goes_on(stored, synthetic):
    h0 = np.array(synthetic.operators["h0"])
    h0[0, 0] = np.inf
    with StoreWriter(stored / "store", overwrite=True) as writer:
        writer.add(synthetic.with_operator("h0", h0).with_meta(id="broken"))
        writer.add(synthetic.with_meta(id="good"))
    found = json.loads(from_store(stored, "--json"))
    assert list(found["structures"]) == ["good"]
    assert found["structures"]["good"]["atoms"] == 2
    assert [entry["id"] for entry in found["failed"]] == ["broken"]
    ledger = Ledger(stored / "out" / "ledger.jsonl").last()
    assert "the h0 of broken is not a number at atoms 0, 0" in ledger["broken"].message
    assert ledger["good"].ok
    with pytest.raises(NexthamError, match=r"no structure of 1 could be predicted; all reasons are in .*bad.ledger"):
        from_store(stored, "--id", "broken", out="bad")
    assert not (stored / "bad").exists()


def test_a_supercell_of_a_store_is_the_prediction_folded(stored, synthetic):
    from_store(stored, "--id", "a", "--supercell", "2", "1", "2", "--max-memory-gb", "0.01")
    network, _ = checkpoint.load(stored / "model")
    found = Store(stored / "out")["a-2x1x2"]
    expected = supercell(predicted(Store(stored / "store")["a"], network), (2, 1, 2))
    assert found.pairs == expected.pairs
    for name, values in expected.operators.items():
        assert np.abs(found.operators[name] - values).max() < 1e-9


def test_several_checkpoints_tell_their_spread(stored, synthetic):
    save_checkpoint(stored / "second", synthetic.basis, "synthetic", seed=1)
    words = ("--checkpoint", stored / "second", "--id", "a")
    found = json.loads(from_store(stored, *words, "--json"))
    assert found["uncertainty_mev"] == found["structures"]["a"]["uncertainty_mev"] > 0.1
    assert Ledger(stored / "out" / "ledger.jsonl").last()["a"].facts["uncertainty_mev"] == found["uncertainty_mev"]
    assert f"± {found['uncertainty_mev']:.3g} meV on average" in from_store(stored, *words, out="again")


def test_a_bare_crystal_gets_s_and_h0_a_prediction_and_bands(bare):
    text = from_crystal(bare, "--bands", bare / "bands.svg")
    assert f"{bare}/out: 1 of 1 structures" in text
    system = Store(bare / "out")["SiC"]
    assert set(system.operators) == {"overlap", "h0", "hamiltonian"}
    network, _ = checkpoint.load(bare / "model")
    assert np.abs(predicted(system, network).operators["hamiltonian"] - system.operators["hamiltonian"]).max() < 1e-8
    assert (system.meta[0].engine, system.meta[0].n_electrons) == ("nextham", 8.0)
    assert (bare / "bands.svg").read_text().startswith("<?xml")


def test_supercells_of_crystals_as_abacus_files(bare):
    from_crystal(bare, "--supercell", "1", "1", "2", "--format", "abacus")
    folder = bare / "out" / "SiC-1x1x2"
    names = {"STRU", "data-H0R-sparse_SPIN0.csr", "data-HR-sparse_SPIN0.csr", "data-SR-sparse_SPIN0.csr"}
    assert {file.name for file in folder.iterdir()} == names
    blocks = list(read_csr(folder / "data-HR-sparse_SPIN0.csr"))
    assert len(blocks) > 1
    assert Ledger(bare / "out" / "ledger.jsonl").last()["SiC-1x1x2"].facts["atoms"] == 4
    with pytest.raises(InputError, match="SiC-1x1x2 holds files already; choose another folder or pass --overwrite"):
        from_crystal(bare, "--supercell", "1", "1", "2", "--format", "abacus")


def test_crystals_that_cannot_be_predicted_do_not_stop_the_others(bare):
    folder = bare / "crystals"
    folder.mkdir()
    (folder / "good.vasp").write_text(SI_C)
    (folder / "empty.cif").write_text("")
    (folder / "GeC.vasp").write_text(SI_C.replace("Si C", "Ge C"))
    found = json.loads(from_crystal(bare, "--json", crystal="crystals"))
    assert list(found["structures"]) == ["good"]
    reasons = {entry["id"]: entry["message"] for entry in found["failed"]}
    assert "empty.cif is empty" in reasons["empty"]
    assert "no pseudopotential (*.upf) of Ge" in reasons["GeC"]


def test_shells_other_than_the_checkpoints_are_named_before_h0_is_computed(bare, monkeypatch):
    monkeypatch.setattr("nextham.dft.lcao.engine.LCAOEngine.h0", None)
    save_checkpoint(bare / "model", OrbitalBasis.parse("Si:2s2p1d C:1s1p"), "atomic-density-step0")
    sentence = "SiC has 2s1p1d orbitals on Si, but the model was trained with 2s2p1d"
    with pytest.raises(NexthamError, match=sentence):
        from_crystal(bare)
    with pytest.raises(NexthamError, match=sentence):
        from_crystal(bare, "--dry-run")


def test_other_pseudopotentials_than_those_trained_on_need_a_word(bare):
    basis = OrbitalBasis.parse("Si:2s1p1d C:1s1p")
    trained = {"Si": ["UPF 000000000000 and ORB 000000000000"]}
    save_checkpoint(bare / "model", basis, "atomic-density-step0", species=trained)
    with pytest.raises(NexthamError, match="trained with UPF 000000000000 and ORB 000000000000; use those files"):
        from_crystal(bare)
    from_crystal(bare, "--other-species")
    assert len(Store(bare / "out")) == 1


def test_dry_run_tells_sizes_and_memory_and_writes_nothing(bare):
    before = sorted(bare.iterdir())
    text = from_crystal(bare, "--supercell", "2", "2", "2", "--dry-run")
    assert "SiC-2x2x2" in text
    assert "16 atoms     112 orbitals" in text
    assert "1 structures would be predicted" in text
    facts = json.loads(from_crystal(bare, "--dry-run", "--json"))["structures"]["SiC"]
    assert facts["atoms"] == 2
    assert facts["edges"] == facts["edges_at_once"] > 0
    assert sorted(path for path in bare.iterdir() if path.name != "cache") == before


def test_mistakes_with_a_store(stored):
    for words, sentence in (
        (("--id", "d"), "has no structure d"),
        (("--species", "embedded"), "--species has no meaning here: a store has its S and H0; leave it out"),
        (("--bands", "bands.pdf"), "bands cannot be drawn to bands.pdf"),
    ):
        with pytest.raises(InputError, match=sentence):
            from_store(stored, *words)
    with pytest.raises(InputError, match="store is a store: predict it alone, or give crystals only"):
        from_store(stored, stored / "split.json")
    assert not (stored / "out").exists()


def test_mistakes_with_crystals(bare):
    with pytest.raises(InputError, match="--split has no meaning here: a split is of a store"):
        from_crystal(bare, "--split", bare / "split.json")
    with pytest.raises(InputError, match="no file holds a structure x; there are SiC"):
        from_crystal(bare, "--id", "x")
    assert not (bare / "out").exists()


def test_another_h0_definition_is_refused_before_anything_is_written(stored, synthetic):
    with StoreWriter(stored / "foreign") as writer:
        writer.add(synthetic.with_meta(h0_definition="something else"))
    with pytest.raises(InputError, match="foreign has the H0 definition 'something else', but the checkpoint corrects"):
        nextham("predict", stored / "foreign", "--checkpoint", stored / "model", "-o", stored / "out")
    assert not (stored / "out").exists()

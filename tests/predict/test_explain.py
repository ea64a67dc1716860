from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from nextham.cli import app
from nextham.data.store import StoreWriter
from nextham.exceptions import InputError, NexthamError
from nextham.model import checkpoint
from nextham.model.settings import ModelSettings
from nextham.physics.align import aligned
from nextham.predict import predicted
from nextham.predict.explain import explain
from nextham.testing import magnetic

SMALL = ModelSettings(channels=4, lmax=3, width=16)


def card_of(system, settings=SMALL):
    return checkpoint.Card(settings, system.basis, "synthetic")


def network(system, settings=SMALL):
    torch.manual_seed(0)
    return checkpoint.build(card_of(system, settings)).double().eval()


@pytest.mark.parametrize("target", ["spin-scalar", "pauli-magnetic"])
def test_sums_are_those_of_the_matrices_element_by_element(synthetic, target):
    system = magnetic(synthetic) if target == "pauli-magnetic" else synthetic
    model = network(system, SMALL.model_copy(update={"target": target}))
    found = explain([system, system], model)
    for breakdown in found.sums.values():
        total = sum(breakdown.values())
        weight = system.pairs.multiplicity[system.operator("overlap").pair_of_value]
        assert total[0] == 2 * weight.sum()
        if target == "spin-scalar":  # |h_0| alone
            h, s = predicted(system, model).operator("hamiltonian"), system.operator("overlap")
            pairs = [(1, h - system.operator("h0")), (2, h - system.operator("hamiltonian")), (3, system.correction)]
            for column, matrix in pairs:
                size = np.abs(aligned(matrix, s)[0].values[0])
                assert total[column] == pytest.approx(2 * (weight * size).sum(), rel=1e-9)
    onsite = found.sums["distance"]["on-site"]
    assert onsite[0] == 2 * sum(n**2 for n in system.n_orb)
    shares = [row["share_percent"] for row in found.rows("shells").values()]
    assert sum(shares) == pytest.approx(100)
    assert set(found.sums["shells"]) == {f"{a}-{b}" for k, a in enumerate("spdf") for b in "spdf"[k:]}


def test_attention_is_what_atoms_hear(synthetic):
    """With every logit at zero, α = envelope / (1 + Σ envelope)."""
    model = network(synthetic)
    with torch.no_grad():
        for block in model.blocks:
            block.query.weight.zero_()
            block.query.bias.zero_()
            block.gates[2].weight[-block.n_heads :] = 0
            block.gates[2].bias[-block.n_heads :] = 0
    found = explain([synthetic], model)
    attention = found.attention()
    assert not any(label.startswith(">") for label in attention)  # beyond the graph cutoff
    heard = np.array(list(attention.values()))
    assert (heard > 0).all()
    assert np.allclose(heard[:, 0], heard[:, 1])
    assert 0.5 < heard[:, 0].sum() < 1


@pytest.fixture
def place(tmp_path, synthetic):
    """A checkpoint, and stores with and without H."""
    checkpoint.save(tmp_path / "best", network(synthetic).state_dict(), card_of(synthetic))
    for name, system in (("store", synthetic), ("bare", synthetic.without("hamiltonian"))):
        with StoreWriter(tmp_path / name) as writer:
            writer.add(system)
    return tmp_path


def nextham(*words: object) -> str:
    done = CliRunner().invoke(app, ["explain", *map(str, words)])
    if isinstance(done.exception, NexthamError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_tables_json_and_figure(place):
    words = ("--checkpoint", place / "best")
    text = nextham(place / "store", *words, "--plot", place / "explained.svg")
    for part in ("attention by distance", "nobody", "correction by pair of shells", "p-d", "of H0 meV", "100 meV"):
        assert part in text
    assert (place / "explained.svg").read_text().startswith("<?xml")
    facts = json.loads(nextham(place / "store", *words, "--json"))
    assert set(facts) == {"attention", "distance", "shells", "size"}
    assert facts["distance"]["on-site"]["error_mev"] > 0


def test_without_a_hamiltonian_no_errors_are_told(place):
    facts = json.loads(nextham(place / "bare", "--checkpoint", place / "best", "--json"))
    assert set(facts) == {"attention", "distance", "shells"}
    assert set(facts["distance"]["on-site"]) == {"elements", "share_percent", "size_mev"}
    nextham(place / "bare", "--checkpoint", place / "best", "--plot", place / "explained.png")


def test_mistakes(place, synthetic):
    with pytest.raises(InputError, match=r"a figure cannot be written to .*x\.txt; call it \*\.png, \*\.svg, \*\.pdf"):
        nextham(place / "store", "--checkpoint", place / "best", "--plot", place / "x.txt")
    with StoreWriter(place / "other") as writer:
        writer.add(synthetic.with_meta(h0_definition="another"))
    with pytest.raises(InputError, match="other has the H0 definition 'another', but the checkpoint corrects"):
        nextham(place / "other", "--checkpoint", place / "best")

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from made_networks import SWITCHES, network, suited

from nextham.exceptions import InputError
from nextham.model import checkpoint
from nextham.model.settings import ModelSettings
from nextham.predict import predicted


@pytest.fixture
def saved(synthetic, tmp_path):
    card = checkpoint.Card(ModelSettings(lmax=2, n_blocks=1), synthetic.basis, "synthetic", metrics={"val_skill": 0.5})
    torch.manual_seed(0)
    model = checkpoint.build(card)
    checkpoint.save(tmp_path / "best", model.state_dict(), card)
    return tmp_path / "best", model, card


def test_loaded_network_predicts_the_same_number_for_number(saved, synthetic):
    path, model, card = saved
    loaded, read = checkpoint.load(path)
    assert read == card
    one, two = (predicted(synthetic, m).operators["hamiltonian"] for m in (model, loaded))
    assert np.array_equal(one, two)


def test_card_says_what_the_numbers_mean(saved):
    card = json.loads((saved[0] / "checkpoint.json").read_text())
    assert card["units"] == {"energy": "eV", "length": "angstrom"}
    assert card["elements"] == ["Ga", "As"]
    assert card["basis"] == "As:2s2p1d Ga:2s2p2d1f"
    assert card["h0_definition"] == "synthetic"


def test_saving_again_replaces_and_leaves_nothing_behind(saved):
    path, model, card = saved
    checkpoint.save(path, model.state_dict(), card)
    assert [p.name for p in path.parent.iterdir()] == ["best"]


def edit(path, **changes):
    file = path / "checkpoint.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schema_version": 9}, "is a checkpoint of version 9, this program reads version 1; use nextham"),
        ({"units": {"energy": "Ry"}}, "gives the units {'energy': 'Ry'}, this program works in"),
        ({"settings": {"chanels": 4}}, "settings.chanels is not a setting; did you mean channels?"),
        ({"settings": {"lmax": 2, "n_blocks": 1, "target": "pauli"}}, "model.safetensors does not fit the settings in"),
        ({"settings": {"target": "vector"}}, "settings.target: Input should be 'spin-scalar', 'pauli' or"),
        ({"settings": {"lmax": 3}}, "model.safetensors does not fit the settings in checkpoint.json; copy or train"),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused(saved, changes, sentence):
    edit(saved[0], **changes)
    with pytest.raises(InputError) as refused:
        checkpoint.load(saved[0])
    assert sentence in str(refused.value)


def test_other_h0_and_missing_files_are_refused(saved, tmp_path):
    path, _, card = saved
    with pytest.raises(InputError) as refused:
        card.check_h0("atomic-density-step0", "results/dataset")
    assert str(refused.value) == (
        "results/dataset has the H0 definition 'atomic-density-step0', but the checkpoint corrects 'synthetic'; "
        "compute H0 that way or train on this definition"
    )
    with pytest.raises(
        InputError, match=r"is not a checkpoint: it has no checkpoint\.json; give the folder best or last"
    ):
        checkpoint.load(tmp_path)
    (path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.load(path)


def test_checkpoint_older_than_the_switches_loads(saved, synthetic):
    path, model, card = saved
    settings = json.loads((path / "checkpoint.json").read_text())["settings"]
    edit(path, settings={k: v for k, v in settings.items() if k not in ("delta", "ensemble")})
    loaded, read = checkpoint.load(path)
    assert read.settings == card.settings
    one, two = (predicted(synthetic, m).operators["hamiltonian"] for m in (model, loaded))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_survives_in_a_checkpoint(synthetic, tmp_path, name):
    settings = SWITCHES[name]
    system = suited(synthetic, settings)
    model = network(system, settings)
    checkpoint.save(tmp_path / "best", model.state_dict(), checkpoint.Card(settings, system.basis, "synthetic"))
    loaded, card = checkpoint.load(tmp_path / "best")
    assert card.settings == settings
    one, two = (predicted(system, m).operators["hamiltonian"] for m in (model, loaded))
    assert np.array_equal(one, two)

"""One checkpoint, or the mean and spread of several."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nextham.exceptions import InputError
from nextham.model import checkpoint
from nextham.model.settings import ModelSettings
from nextham.physics.align import aligned
from nextham.predict import Predictor, predicted
from nextham.predict.one import with_correction


@pytest.fixture(scope="module")
def checkpoints(synthetic, tmp_path_factory):
    place = tmp_path_factory.mktemp("checkpoints")
    for seed in range(3):
        torch.manual_seed(seed)
        card = checkpoint.Card(ModelSettings(lmax=2, n_blocks=1), synthetic.basis, "synthetic")
        checkpoint.save(place / str(seed), checkpoint.build(card).double().state_dict(), card)
    return [place / str(seed) for seed in range(3)]


def test_one_checkpoint_predicts_what_its_network_does(checkpoints, synthetic):
    network, _ = checkpoint.load(checkpoints[0])
    made = Predictor(checkpoints[:1], floor=0.0)(synthetic)
    assert made.uncertainty_mev is None
    assert np.array_equal(made.system.operators["hamiltonian"], predicted(synthetic, network).operators["hamiltonian"])
    assert (made.system.meta[0].engine, made.system.meta[0].scf_steps) == ("nextham", None)


def test_several_checkpoints_are_aligned_averaged_and_their_spread_is_told(checkpoints, synthetic):
    made = Predictor(checkpoints, floor=0.0)(synthetic)
    systems = [predicted(synthetic, checkpoint.load(path)[0]) for path in checkpoints]
    overlap = synthetic.operator("overlap")
    first = systems[0].operator("hamiltonian")
    moved = [first.values] + [
        (first + aligned(s.operator("hamiltonian") - first, overlap)[0]).values for s in systems[1:]
    ]
    assert np.abs(made.system.operators["hamiltonian"] - np.mean(moved, axis=0)).max() < 1e-12
    counted = synthetic.pairs.multiplicity[overlap.pair_of_value] * overlap.support[overlap.pair_of_value]
    deviation = np.std([m[0] for m in moved], axis=0, ddof=1)
    assert made.uncertainty_mev == pytest.approx(1e3 * (counted * deviation).sum() / counted.sum())
    assert made.uncertainty_mev > 1


def test_an_energy_shift_is_no_uncertainty(checkpoints, synthetic, monkeypatch):
    overlap = synthetic.operators["overlap"][0]
    shifts = iter([0.0, 0.3])
    monkeypatch.setattr("nextham.predict.predictor.correction", lambda *_, **__: next(shifts) * overlap[None])
    made = Predictor(checkpoints[:2])(synthetic)
    assert made.uncertainty_mev == pytest.approx(0.0, abs=1e-9)
    assert np.allclose(
        made.system.operators["hamiltonian"],
        with_correction(synthetic, 0 * overlap[None], ModelSettings()).operators["h0"],
    )


def test_what_the_checkpoints_do_not_know_is_refused(checkpoints, synthetic, alsb):
    made = Predictor(checkpoints[:1])
    with pytest.raises(InputError, match="AlSb-zb-1 contains Al, which the model was not trained on"):
        made(alsb)
    with pytest.raises(InputError, match="synthetic has the H0 definition 'other', but the checkpoint corrects"):
        made(synthetic.with_meta(h0_definition="other"))
    with pytest.raises(InputError, match="name a checkpoint"):
        Predictor([])
    with pytest.raises(InputError, match="device 'nowhere' is not there"):
        Predictor(checkpoints[:1], device="nowhere")


def test_a_correction_that_is_not_finite_is_no_prediction(checkpoints, synthetic, monkeypatch):
    monkeypatch.setattr("nextham.predict.predictor.correction", lambda *_, **__: np.array([np.nan]))
    with pytest.raises(InputError, match="the correction of synthetic is not finite"):
        Predictor(checkpoints[:1])(synthetic)


def test_species_files_that_were_not_trained_on_are_refused_unless_asked_for(checkpoints, synthetic, tmp_path):
    network, card = checkpoint.load(checkpoints[0])
    trained = {"Ga": ["UPF 0000aaaa0000 and ORB 0000bbbb0000"]}
    fields = {name: getattr(card, name) for name in ("settings", "basis", "h0_definition")}
    checkpoint.save(tmp_path / "model", network.state_dict(), checkpoint.Card(**fields, species=trained))

    def having(upf, orb):
        files = {"pseudopotentials": {"Ga": f"Ga.upf{upf}", "As": "As.upf"}, "orbitals": {"Ga": f"Ga.orb{orb}"}}
        return synthetic.with_meta(**files)

    same = having("@sha256:0000aaaa00001111", "@sha256:0000bbbb00002222")
    other = having("@sha256:0000cccc00001111", "@sha256:0000bbbb00002222")
    assert Predictor([tmp_path / "model"])(same)
    assert Predictor([tmp_path / "model"])(having("", ""))  # nothing is known
    assert Predictor([tmp_path / "model"], other_species=True)(other)
    with pytest.raises(InputError, match=r"synthetic has Ga with UPF 0000cccc0000 .*trained with UPF 0000aaaa0000"):
        Predictor([tmp_path / "model"])(other)


def test_networks_that_learn_different_things_have_no_mean(checkpoints, synthetic, tmp_path):
    card = checkpoint.Card(ModelSettings(target="pauli", delta=False, descriptors=()), synthetic.basis, "synthetic")
    checkpoint.save(tmp_path / "model", checkpoint.build(card).state_dict(), card)
    made = Predictor([tmp_path / "model"])
    assert made.operators == ("overlap",)
    assert made(synthetic.without("h0", "hamiltonian")).system.operators["hamiltonian"].shape[0] == 4
    with pytest.raises(InputError, match="learn different things"):
        Predictor([checkpoints[0], tmp_path / "model"])

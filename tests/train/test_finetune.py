"""Going on from a checkpoint: new elements, new orbitals, another engine."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_training import BASIS, MODEL, SPLIT, fit, interrupted_at, rows, run, same, system, weights, write

from nextham.core import OrbitalBasis
from nextham.data.splits import Split
from nextham.exceptions import InputError
from nextham.model import checkpoint
from nextham.model.extend import inherit, shells_of
from nextham.model.settings import ModelSettings
from nextham.model.vocabulary import Kind
from nextham.predict import predicted
from nextham.testing import synthetic_system, zincblende
from nextham.train import loop
from nextham.train.settings import FitSettings
from nextham.train.task import Start, prepare

WIDER = OrbitalBasis.parse("Al:1s2p As:2s1p In:2s1p1d1f")
NEW = Split({"train": ("new", "more")})


def trained(place):
    """A store, and the checkpoint of a network that was trained on it."""
    store = write(place / "store", *map(system, "abcd"))
    run(store, place / "run")
    return store, place / "run" / "best"


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("known"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Crystals with elements, shells and degrees that the checkpoint does not know."""
    crystals = [(("In", "As"), "new"), (("Al", "As"), "more")]
    made = [synthetic_system(zincblende(*pair), WIDER, id=id, cutoff_ang=4.5) for pair, id in crystals]
    return write(tmp_path_factory.mktemp("other") / "store", *made)


def extended(known, other):
    task = prepare(other, NEW, FitSettings(train=fit().train), start=Start(known[1]))
    torch.manual_seed(0)
    network = checkpoint.build(task.card, statistics=task.statistics)
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    inherit(network, task.start)
    return task, network, fresh


def test_extended_network_predicts_known_structures_as_before(known, other):
    task, network, _ = extended(known, other)
    assert str(task.card.basis) == "Al:1s2p As:2s1p Ga:1s1p1d In:2s1p1d1f"
    old, _ = checkpoint.load(known[1])
    for id in "ad":
        before, after = (predicted(system(id), n.float()).operators["hamiltonian"] for n in (old, network))
        assert abs(before - after).max() < 1e-6 * abs(before).max()


def test_new_rows_start_from_the_most_similar_known_ones(known, other):
    task, network, fresh = extended(known, other)
    old, new = task.start.state_dict(), network.state_dict()
    name = "onsite_readout.features.shell.weight"
    old_rows, new_rows = shells_of(task.start.vocabulary), shells_of(network.vocabulary)
    assert torch.equal(new[name][new_rows[33, 0, 1]], old[name][old_rows[33, 0, 1]])
    like = old[name][[old_rows[31, 0, 0], old_rows[33, 0, 0]]].mean(dim=0)  # first s shells of Ga and As
    assert torch.equal(new[name][new_rows[49, 0, 0]], like)
    same_l = old[name][[old_rows[31, 1, 0], old_rows[33, 1, 0]]].mean(dim=0)  # nobody knew a second p shell
    assert torch.equal(new[name][new_rows[13, 1, 1]], same_l)
    assert torch.equal(new[name][new_rows[49, 3, 0]], old[name].mean(dim=0))  # nor an f shell
    assert torch.equal(new["element.weight"][3], old["element.weight"].mean(dim=0))
    kinds, known_kinds = network.vocabulary.kinds, task.start.vocabulary.kinds
    name, pd, fp = "hopping_readout.scales.target", Kind(0, 1, 2, 1, 1), Kind(0, 3, 1, 2, 2)
    assert new[name][kinds[pd]] == old[name][known_kinds[pd]]
    assert new[name][kinds[fp]] == fresh[name][kinds[fp]] == task.statistics.hopping_target[kinds[fp]]
    name = "onsite_embedding.scales.mean"
    gallium, indium = new_rows[31, 0, 0], new_rows[49, 0, 0]
    assert new[name][gallium, gallium] == old[name][old_rows[31, 0, 0], old_rows[31, 0, 0]]
    assert new[name][indium, indium] == task.statistics.onsite_mean[indium, indium] != 0


def test_fine_tuning_starts_lower_and_says_what_it_started_from(known, other, tmp_path):
    store, start = known
    settings = FitSettings(train=fit(epochs=2, learning_rate=1e-3, p_weight=0, pq_weight=0).train)
    loop.finetune(store, SPLIT, Start(start), settings=settings, out=tmp_path / "on")
    scratch = run(store, tmp_path / "scratch", settings=settings.model_copy(update={"model": MODEL}))
    assert float(rows(tmp_path / "on")[0]["train_mev"]) < float(scratch[0]["train_mev"])
    loop.finetune(other, NEW, Start(start), settings=settings, out=tmp_path / "other")
    card = checkpoint.read_card(tmp_path / "other" / "best")
    assert card.training["started_from"] == str(start)
    assert card.training["started_from_sha256"] == checkpoint.weights_sha256(start)
    assert card.settings == MODEL
    model, _ = checkpoint.load(tmp_path / "other" / "best")
    assert {w.dtype for w in model.parameters()} == {torch.float32}


def test_fine_tuning_resumes_its_own_training_alone(known, other, tmp_path):
    settings, start = FitSettings(train=fit().train), Start(known[1])
    loop.finetune(other, NEW, start, settings=settings, out=tmp_path / "whole")
    with interrupted_at(epoch=3):
        loop.finetune(other, NEW, start, settings=settings, out=tmp_path / "killed")
    loop.finetune(other, NEW, start, settings=settings, out=tmp_path / "killed", resume=True)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert same(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    last = dataclasses.replace(start, checkpoint=tmp_path / "whole" / "last")  # other weights
    with pytest.raises(InputError, match="holds a training with other settings, split or data"):
        loop.finetune(other, NEW, last, settings=settings, out=tmp_path / "killed", resume=True)


def test_what_does_not_fit_the_checkpoint_is_refused(known, other, tmp_path):
    _, start = known
    settings = FitSettings(train=fit().train)
    elsewhere = FitSettings(train=fit().train, model=ModelSettings(channels=8))
    with pytest.raises(InputError) as refused:
        loop.finetune(other, NEW, Start(start), settings=elsewhere, out=tmp_path / "run")
    assert str(refused.value) == (
        f"the settings ask for another network than {start} has; leave the section model out, "
        "fine-tuning keeps the network"
    )
    foreign = write(tmp_path / "foreign", system("a").with_meta(h0_definition="another"))
    split = Split({"train": ("a",)})
    with pytest.raises(InputError) as refused:
        loop.finetune(foreign, split, Start(start), settings=settings, out=tmp_path / "run")
    assert str(refused.value) == (
        f"{tmp_path}/foreign has the H0 definition 'another', but {start} corrects 'synthetic'; "
        "compute H0 that way, or pass --other-h0 to learn the new correction"
    )
    task = prepare(foreign, split, settings, start=Start(start, other_h0=True))
    assert task.card.h0_definition == "another"
    larger = OrbitalBasis.parse("Ga:2s2p1d As:2s1p")
    grown = write(tmp_path / "grown", synthetic_system(zincblende(), larger, id="a"))
    with pytest.raises(InputError) as refused:
        prepare(grown, split, settings, start=Start(start))
    assert str(refused.value) == (
        f"the training structures have 2s2p1d orbitals on Ga, but {start} was trained with 1s1p1d; "
        "fine-tune on the same orbitals"
    )
    assert BASIS.label(31) == "1s1p1d"

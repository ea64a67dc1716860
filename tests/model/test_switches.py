"""Every switch of the network keeps every exact property, on a real system with f orbitals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from made_networks import (
    MOVES,
    SWITCHES,
    TOLERANCE_EV,
    hamiltonian,
    labelled,
    magnetised,
    network,
    suited,
    time_reversed,
)

from nextham.core import SpinLayout
from nextham.core.blocks import widened
from nextham.exceptions import InputError
from nextham.model.batch import Batch
from nextham.model.layers import HANDOVER_ANG, interval_shares
from nextham.model.settings import ModelSettings
from nextham.model.vocabulary import Vocabulary
from nextham.physics import symmetry

EVERY = pytest.mark.parametrize("name", SWITCHES)


@pytest.fixture(scope="module")
def made(alsb):
    """System, network and prediction of each switch, made once."""
    found = {}

    def make(name):
        if name not in found:
            settings = SWITCHES[name]
            system = suited(alsb, settings)
            model = network(system, settings)
            found[name] = system, model, hamiltonian(system, model)
        return found[name]

    return make


@pytest.mark.parametrize("move", MOVES)
@EVERY
def test_prediction_moves_with_the_crystal(made, name, move):
    system, model, prediction = made(name)
    after = hamiltonian(MOVES[move](system), model).operator("hamiltonian")
    expected = MOVES[move](prediction).operator("hamiltonian")
    assert np.abs((after - expected).values).max() < TOLERANCE_EV
    assert np.abs(prediction.correction.values).max() > 0.05


@EVERY
def test_prediction_is_hermitian_and_follows_time_reversal(made, name):
    system, model, prediction = made(name)
    h = prediction.operator("hamiltonian")
    rounding = 1e-14 * max(1.0, np.abs(h.values).max())
    assert symmetry.onsite_antihermitian(h) < rounding
    backwards = hamiltonian(time_reversed(system), model).operator("hamiltonian")
    expected = time_reversed(prediction).operator("hamiltonian")
    assert np.abs((backwards - expected).values).max() < rounding
    magnetic = SWITCHES[name].target == "pauli-magnetic"
    assert h.layout is (SpinLayout.FULL if magnetic else SpinLayout.TIME_REVERSAL)


@EVERY
def test_every_parameter_gets_a_gradient(synthetic, name):
    settings = SWITCHES[name]
    system = suited(synthetic, settings)
    model = network(system, settings)
    output = model(labelled(system, settings))
    assert (output.traces is not None) is settings.trace_grad
    (output.correction.abs().sum() + sum(t.abs().sum() for t in output.traces or ())).backward()
    size = {
        name: float("-inf") if p.grad is None else float(p.grad.abs().max()) for name, p in model.named_parameters()
    }
    floor = 1e-9 * max(size.values())  # what vanishes by symmetry has gradients of rounding size
    assert [name for name, s in size.items() if s < floor] == []


@EVERY
def test_spin_parts_of_a_target_are_all_predicted(made, name):
    system, model, _ = made(name)
    with torch.no_grad():
        rows = model(labelled(system, model.settings)).correction
    assert len(rows) == {"spin-scalar": 1, "pauli": 4, "pauli-magnetic": 8}[model.settings.target]
    assert (rows.abs().amax(dim=1) > 1e-4).all()


def test_magnetism_comes_from_h0_alone(alsb):
    system = magnetised(alsb)
    model = network(system, ModelSettings(target="pauli-magnetic"))
    h = widened(hamiltonian(alsb, model).operators["hamiltonian"], SpinLayout.FULL)
    assert np.abs(h[1:].real).max() == np.abs(h[0].imag).max() == 0
    assert np.abs(h[1:].imag).max() > 0.01


# Distance shells of AlSb lie at the cutoffs and borders, so that scaling the crystal carries pairs across.
CROSSINGS = {
    "graph cutoff": lambda d: {"graph_cutoff_ang": d, "correction_cutoff_ang": 8.0},
    "correction cutoff": lambda d: {"graph_cutoff_ang": d, "correction_cutoff_ang": d},
    "middle of a handover": lambda d: {"ensemble": (d,)},
    "end of a handover": lambda d: {"ensemble": (d - HANDOVER_ANG, 7.0)},
}


@pytest.mark.parametrize("crossing", CROSSINGS)
@pytest.mark.parametrize("name", ["default", "no descriptors", "pauli", "no delta", "magnetic"])
def test_prediction_is_continuous_where_a_pair_crosses(alsb, name, crossing):
    shells = np.unique(np.round(alsb.distances[alsb.operator("overlap").support], 6))
    distance = float(shells[(shells > 4.0) & (shells < 6.0)][-1])
    settings = ModelSettings(**SWITCHES[name].model_dump(exclude={*CROSSINGS["graph cutoff"](0), "ensemble"}))
    settings = ModelSettings(**(settings.model_dump() | CROSSINGS[crossing](distance)))
    system = suited(alsb, settings)
    model = network(system, settings)

    def change(factor: float) -> float:
        found = [
            hamiltonian(
                dataclasses.replace(system, positions=system.positions * f, cells=system.cells * f), model
            ).operators["hamiltonian"]
            for f in (1 + factor, 1 - factor)
        ]
        return np.abs(found[0] - found[1]).max()

    assert change(1e-7) < max(0.02 * change(1e-5), 1e-9)


def test_shares_of_intervals_add_up_and_meet_smoothly():
    d = torch.linspace(0, 8, 8001, dtype=torch.float64)
    share = interval_shares(d, (1.0, 2.0, 4.0))
    assert (share.sum(dim=1) - 1).abs().max() < 1e-15
    assert share.min() >= -1e-15
    assert share[0].tolist() == [1, 0, 0, 0]
    assert share[-1].tolist() == [0, 0, 0, 1]
    assert share[4000].tolist() == [0, 0, 0.5, 0.5]
    slope = share.diff(dim=0) / 1e-3
    assert slope.abs().max() < 2.0
    assert slope.diff(dim=0).abs().max() < 0.01


def test_each_interval_has_its_own_weights(alsb):
    model = network(alsb, ModelSettings(ensemble=(4.0,)))
    before = hamiltonian(alsb, model)
    with torch.no_grad():
        for weights in (model.hopping_readout.features, *model.hopping_readout.own.values()):
            n = weights.bias.shape[1] // 2
            weights.weight[:, :, n:] += 1.0
    change = (hamiltonian(alsb, model).operator("hamiltonian") - before.operator("hamiltonian")).support
    supported = alsb.operator("overlap").support & ~alsb.pairs.onsite & (alsb.distances < 7.5)
    assert not change[alsb.distances <= 4.0 - HANDOVER_ANG].any()
    assert change[supported & (alsb.distances > 4.0 - HANDOVER_ANG)].all()


def test_without_delta_the_prediction_is_the_output_of_the_network(alsb):
    settings = SWITCHES["no delta, no H0"]
    model = network(alsb, settings)
    assert settings.operators == ("overlap",)
    h = hamiltonian(alsb.without("h0"), model).operators["hamiltonian"]
    with torch.no_grad():
        assert np.array_equal(h, model(labelled(alsb, settings)).correction.numpy())


@pytest.mark.parametrize("name", ["default", "no delta", "magnetic", "magnetic, no delta"])
def test_statistics_give_every_component_of_the_target_unit_size(alsb, name):
    settings = SWITCHES[name]
    system = suited(alsb, settings)
    model, batch = network(system, settings), labelled(system, settings)
    blocks, readout = batch.onsite, model.onsite_readout
    of_kind = torch.tensor([k.component for k in model.vocabulary.kinds])
    squares = torch.zeros(2, 4, dtype=torch.float64)
    for group in blocks.groups:
        y = group.encode(batch.target)
        if not settings.delta:
            y = y - readout._centre(blocks, group)[group.path_of_component]
        kind = blocks.kind[group.paths][group.path_of_component]
        component = of_kind[kind]
        squares[0].index_add_(0, component, ((y / readout.scales.target[kind]) ** 2).mean(dim=0))
        squares[1].index_add_(0, component, torch.ones_like(component, dtype=torch.float64))
    sizes = (squares[0] / squares[1]).sqrt()[squares[1] > 0]
    assert ((sizes > 0.3) & (sizes < 2)).all(), sizes


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"delta": False}, "delta: false needs target: pauli"),
        ({"target": "pauli-magnetic", "descriptors": ["overlap"]}, "pauli-magnetic needs h0 among descriptors"),
        ({"ensemble": [4.0, 2.0]}, "the borders of ensemble must ascend between 0 and correction_cutoff_ang"),
        ({"ensemble": [8.0]}, "the borders of ensemble must ascend"),
        ({"target": "vector"}, "'spin-scalar', 'pauli' or 'pauli-magnetic'"),
    ],
)
def test_settings_that_cannot_be_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        ModelSettings(**given)


@pytest.mark.parametrize(
    ("target", "delta", "sentence"),
    [
        ("spin-scalar", True, "the correction of synthetic depends on spin (up to "),
        ("pauli", True, "the correction of synthetic breaks time reversal (up to "),
        ("pauli", False, "the hamiltonian of synthetic breaks time reversal (up to "),
    ],
)
def test_labels_beyond_the_target_are_refused(synthetic_magnetic, target, delta, sentence):
    settings = ModelSettings(target=target, delta=delta)
    vocabulary = Vocabulary(synthetic_magnetic.basis, target)
    with pytest.raises(InputError) as refused:
        Batch.build(synthetic_magnetic, vocabulary, settings=settings, dtype=torch.float64, labels=True)
    assert str(refused.value).startswith(sentence)
    assert f"which a {target} model cannot learn; set target to pauli-magnetic, or leave magnetic" in str(refused.value)


def test_missing_h0_is_refused_only_where_it_is_read(synthetic):
    bare = synthetic.without("h0", "hamiltonian")
    for settings in (SWITCHES["default"], SWITCHES["no delta"]):
        with pytest.raises(InputError, match="synthetic carries no h0; it carries overlap"):
            hamiltonian(bare, network(synthetic, settings))

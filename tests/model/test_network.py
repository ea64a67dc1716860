from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch

from nextham.core import LCAOSystem, OrbitalBasis, Structure
from nextham.exceptions import InputError
from nextham.model.batch import Batch, Vocabulary
from nextham.model.network import NextHAM
from nextham.model.settings import ModelSettings
from nextham.model.statistics import Statistics
from nextham.physics import symmetry
from nextham.predict import predicted
from nextham.testing import synthetic_system

TINY = ModelSettings()
TOLERANCE_EV = 1e-8


def network(system: LCAOSystem, settings: ModelSettings = TINY) -> NextHAM:
    """Random weights, statistics of the system itself, float64."""
    vocabulary = Vocabulary(system.basis)
    batch = Batch.build(system, vocabulary, settings=settings, dtype=torch.float64, labels=True)
    torch.manual_seed(3)
    return NextHAM(settings, vocabulary, Statistics.measure(lambda: [batch], vocabulary)).double()


@pytest.fixture(scope="module")
def model(alsb) -> NextHAM:
    return network(alsb)


def hamiltonian(system: LCAOSystem, model: NextHAM) -> LCAOSystem:
    return predicted(system.without("hamiltonian"), model)


@cache
def turn(seed: int) -> np.ndarray:
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return q * np.linalg.det(q)


MOVES = {
    "rotation": lambda s: symmetry.rotated(s, turn(1)),
    "inversion": lambda s: symmetry.rotated(s, -np.eye(3)),
    "mirror": lambda s: symmetry.rotated(s, -turn(2)),
    "permutation": lambda s: symmetry.permuted(s, np.arange(len(s.numbers))[::-1]),
    "home cell": lambda s: symmetry.rehomed(s, [[1, 0, -1], [0, 2, 0]]),
    "supercell": lambda s: symmetry.supercell(s, (2, 1, 1)),
    "translation": lambda s: dataclasses.replace(s, positions=s.positions + np.array([0.3, -1.0, 0.2])),
}


@pytest.mark.parametrize("move", MOVES)
def test_prediction_moves_with_the_crystal(alsb, model, move):
    after = hamiltonian(MOVES[move](alsb), model).operator("hamiltonian")
    expected = MOVES[move](hamiltonian(alsb, model)).operator("hamiltonian")
    assert np.abs((after - expected).values).max() < TOLERANCE_EV
    assert np.abs(hamiltonian(alsb, model).correction.values).max() > 0.05


def test_moved_crystal_is_another_input(alsb, model):
    assert np.abs(symmetry.rotated(alsb, turn(1)).operators["h0"] - alsb.operators["h0"]).max() > 0.1


def test_structures_of_a_batch_do_not_see_each_other(alsb, synthetic):
    systems = [alsb, symmetry.rotated(alsb, turn(4))]
    model = network(alsb)
    together = hamiltonian(LCAOSystem.concat(systems), model)
    for k, system in enumerate(systems):
        alone = hamiltonian(system, model)
        assert np.abs(together[k].operators["hamiltonian"] - alone.operators["hamiltonian"]).max() < TOLERANCE_EV


def test_atom_without_neighbours_is_predicted():
    alone = synthetic_system(
        Structure.from_fractional(["Si"], [[0, 0, 0]], 20 * np.eye(3)), OrbitalBasis.parse("Si:2s2p1d")
    )
    correction = hamiltonian(alone, network(alone)).correction
    assert correction.support.tolist() == [True]


def test_prediction_is_hermitian_and_keeps_time_reversal(alsb, model):
    system = hamiltonian(alsb, model)
    assert symmetry.onsite_antihermitian(system.correction) < 1e-14
    assert system.operator("hamiltonian").layout is alsb.operator("h0").layout
    assert np.abs(system.correction.values[1:]).max() == 0


def test_every_irrep_of_every_shell_pair_is_reached(alsb, model):
    correction = hamiltonian(alsb, model).correction
    batch = Batch.build(alsb, model.vocabulary, settings=TINY, dtype=torch.float64, labels=False)
    values = torch.from_numpy(correction.values[0].copy())
    natural = torch.tensor([(k.l_i + k.l_j + k.l) % 2 == 0 for k in model.vocabulary.kinds])
    for blocks in (batch.onsite, batch.hopping):
        same, unnatural = blocks.shell_i == blocks.shell_j, natural[blocks.kind] == 0
        forbidden = same & unnatural if blocks is batch.onsite else torch.zeros_like(same)
        weak = unnatural if blocks is batch.onsite else forbidden  # a local potential has none on site
        for group in blocks.groups:
            size = (values[group.index] @ group.transform.T).abs().amax(dim=0)
            assert (size[~weak[group.paths][group.path_of_component]] > 1e-9).all()
            assert (size[forbidden[group.paths][group.path_of_component]] < 1e-12).all()  # antisymmetric blocks


@pytest.mark.parametrize("trace_grad", [True, False])
def test_every_parameter_gets_a_gradient(alsb, trace_grad):
    model = network(alsb, ModelSettings(trace_grad=trace_grad))
    batch = Batch.build(alsb, model.vocabulary, settings=model.settings, dtype=torch.float64, labels=True)
    output = model(batch)
    assert (output.traces is not None) is trace_grad
    (output.correction.abs().sum() + sum(t.abs().sum() for t in output.traces or ())).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert dead == []


@pytest.mark.parametrize("which", ["graph_cutoff_ang", "correction_cutoff_ang"])
def test_prediction_is_continuous_when_a_pair_crosses_a_cutoff(alsb, which):
    shells = np.unique(np.round(alsb.distances[alsb.operator("overlap").support], 6))
    distance = float(shells[(shells > 4.0) & (shells < 6.0)][-1])
    cutoffs = {"graph_cutoff_ang": distance, "correction_cutoff_ang": 8.0} | {which: distance}
    cutoffs["graph_cutoff_ang"] = min(cutoffs["graph_cutoff_ang"], cutoffs["correction_cutoff_ang"])
    model = network(alsb, ModelSettings(**cutoffs))

    def scaled(factor: float) -> np.ndarray:
        moved = dataclasses.replace(alsb, positions=alsb.positions * factor, cells=alsb.cells * factor)
        return hamiltonian(moved, model).correction.values[0]

    jump = np.abs(scaled(1 + 1e-5) - scaled(1 - 1e-5)).max()
    assert jump < 2e-3
    assert np.abs(scaled(1 + 1e-7) - scaled(1 - 1e-7)).max() < max(0.02 * jump, 1e-9)


def test_prediction_is_continuous_when_an_overlap_vanishes(alsb, model):
    overlap = alsb.operator("overlap")
    pair = int(np.flatnonzero(overlap.support & ~alsb.pairs.onsite & (alsb.distances > 5))[0])

    def with_overlap(factor: float) -> np.ndarray:
        values = np.array(overlap.values)
        values[:, overlap.block_ptr[pair] : overlap.block_ptr[pair + 1]] *= factor
        return hamiltonian(alsb.with_operator("overlap", values), model).correction.values[0]

    assert np.abs(with_overlap(1e-8) - with_overlap(0.0)).max() < 1e-5


def test_pairs_without_overlap_or_beyond_the_cutoff_keep_h0(alsb, model):
    correction = hamiltonian(alsb, model).correction
    bare = ~alsb.operator("overlap").support | (alsb.distances >= TINY.correction_cutoff_ang)
    assert bare.any()
    assert not (correction.support & bare).any()
    assert correction.support[~bare].all()


def test_unknown_element_and_unknown_shells_are_refused(alsb, synthetic, model):
    with pytest.raises(InputError) as refused:
        hamiltonian(synthetic, model)
    assert str(refused.value) == "synthetic contains Ga, which the model was not trained on (Al, Sb)"
    other = LCAOSystem.single(
        alsb.structure(), type(alsb.basis).parse("Al:1s1p Sb:2s2p2d1f"), alsb.pairs, {}, alsb.meta[0]
    )
    with pytest.raises(InputError) as refused:
        model.vocabulary.check(other)
    assert str(refused.value) == ("AlSb-zb-1 has 1s1p orbitals on Al, but the model was trained with 2s2p1d")


def test_numbers_that_are_not_finite_are_refused_with_their_pair(alsb, model):
    values = np.array(alsb.operators["h0"])
    values[0, -1] = np.nan
    with pytest.raises(InputError, match=r"^the h0 of AlSb-zb-1 is not a number at atoms 1, 1, cell \(.*\); remove or"):
        hamiltonian(alsb.with_operator("h0", values), model)


def test_magnetic_corrections_are_refused(synthetic, synthetic_magnetic):
    vocabulary = Vocabulary(synthetic.basis)
    with pytest.raises(InputError) as refused:
        Batch.build(synthetic_magnetic, vocabulary, settings=TINY, dtype=torch.float64, labels=True)
    assert "the correction of synthetic depends on spin (up to " in str(refused.value)
    assert "leave magnetic structures out of the training split" in str(refused.value)


def test_settings_merge_preset_then_keys():
    assert ModelSettings(preset="small").channels == 32
    assert ModelSettings(preset="small", channels=8).channels == 8
    assert ModelSettings(preset="small", channels=8).n_blocks == 3
    with pytest.raises(ValueError, match="multiple of n_heads"):
        ModelSettings(channels=6)

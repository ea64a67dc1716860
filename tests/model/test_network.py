from __future__ import annotations

import numpy as np
import pytest
import torch
from made_networks import SWITCHES, TOLERANCE_EV, hamiltonian, network, suited, turn

from nextham.core import LCAOSystem, OrbitalBasis, Structure
from nextham.exceptions import InputError
from nextham.model.batch import Batch
from nextham.model.network import NextHAM
from nextham.model.settings import ModelSettings
from nextham.model.statistics import Statistics
from nextham.model.vocabulary import Vocabulary
from nextham.physics import symmetry
from nextham.testing import synthetic_system

TINY = ModelSettings()


@pytest.fixture(scope="module")
def model(alsb) -> NextHAM:
    return network(alsb, TINY)


def test_moved_crystal_is_another_input(alsb, model):
    assert np.abs(symmetry.rotated(alsb, turn(1)).operators["h0"] - alsb.operators["h0"]).max() > 0.1


def test_structures_of_a_batch_do_not_see_each_other(alsb, synthetic):
    systems = [alsb, symmetry.rotated(alsb, turn(4))]
    model = network(alsb, TINY)
    together = hamiltonian(LCAOSystem.concat(systems), model)
    for k, system in enumerate(systems):
        alone = hamiltonian(system, model)
        assert np.abs(together[k].operators["hamiltonian"] - alone.operators["hamiltonian"]).max() < TOLERANCE_EV


@pytest.mark.parametrize("name", SWITCHES)
def test_atom_without_neighbours_is_predicted(name):
    alone = synthetic_system(
        Structure.from_fractional(["Si"], [[0, 0, 0]], 20 * np.eye(3)), OrbitalBasis.parse("Si:2s2p1d")
    )
    settings = SWITCHES[name]
    alone = suited(alone, settings)
    correction = hamiltonian(alone, network(alone, settings)).correction
    assert correction.support.tolist() == [True]


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


@pytest.mark.parametrize("name", ["default", "no trace_grad", "pauli", "no delta"])
def test_prediction_is_continuous_when_an_overlap_vanishes(alsb, name):
    """Where no other cutoff fades the correction: H0, of which it is made, stays."""
    overlap = alsb.operator("overlap")
    pair = int(np.flatnonzero(overlap.support & ~alsb.pairs.onsite & (alsb.distances > 5))[0])
    model = network(alsb, SWITCHES[name].model_copy(update={"correction_cutoff_ang": 15.0}))

    def with_overlap(factor: float) -> np.ndarray:
        values = np.array(overlap.values)
        values[:, overlap.block_ptr[pair] : overlap.block_ptr[pair + 1]] *= factor
        return hamiltonian(alsb.with_operator("overlap", values), model).correction.values

    assert np.abs(with_overlap(1e-8) - with_overlap(0.0)).max() < 1e-9


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


def test_settings_merge_preset_then_keys():
    assert ModelSettings(preset="small").channels == 32
    assert ModelSettings(preset="small", channels=8).channels == 8
    assert ModelSettings(preset="small", channels=8).n_blocks == 3
    assert ModelSettings(preset="paper").n_radial == 64
    with pytest.raises(ValueError, match="multiple of n_heads"):
        ModelSettings(channels=6)


@pytest.mark.parametrize(("preset", "millions"), [("tiny", 1.3), ("small", 6.0), ("base", 8.9), ("paper", 12.6)])
def test_presets_have_the_sizes_that_they_promise(preset, millions):
    settings = ModelSettings(preset=preset)
    vocabulary = Vocabulary(OrbitalBasis(dict.fromkeys(range(1, 69), (0, 0, 0, 0, 1, 1, 2, 2, 3))))
    model = NextHAM(settings, vocabulary, Statistics.blank(vocabulary))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.02)

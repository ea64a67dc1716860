from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nextham.core import LCAOSystem, OrbitalBasis, PairList, Provenance, SpinLayout, Structure
from nextham.core.blocks import widened
from nextham.exceptions import InputError
from nextham.testing import synthetic_system, zincblende


@pytest.fixture
def other() -> LCAOSystem:
    return synthetic_system(zincblende("Al", "As", a_ang=5.66), OrbitalBasis.parse("Al:2s2p1d As:2s2p1d"), id="AlAs")


def test_concatenation_is_closed(synthetic, other):
    batch = LCAOSystem.concat([synthetic, other, synthetic])
    assert batch[0] == synthetic
    assert batch[1] == other
    assert batch[-1] == synthetic
    assert LCAOSystem.concat([LCAOSystem.concat([synthetic, other]), synthetic]) == batch


def test_concatenation_widens_the_spin_layout(synthetic, synthetic_magnetic):
    batch = LCAOSystem.concat([synthetic, synthetic_magnetic])
    assert batch.operator("hamiltonian").layout is SpinLayout.FULL
    assert batch[1] == synthetic_magnetic
    np.testing.assert_array_equal(
        batch[0].operators["hamiltonian"], widened(synthetic.operators["hamiltonian"], SpinLayout.FULL)
    )


def test_two_bases_of_one_element_do_not_mix(synthetic):
    small = synthetic_system(zincblende(), OrbitalBasis.parse("Ga:1s1p As:2s2p1d"))
    with pytest.raises(InputError, match="Ga has two orbital bases, 2s2p2d1f and 1s1p; use one"):
        LCAOSystem.concat([synthetic, small])


def test_operators_must_match_to_concatenate(synthetic):
    with pytest.raises(InputError, match=r"carries \['h0', 'overlap'\], the systems before it"):
        LCAOSystem.concat([synthetic, synthetic.without("hamiltonian")])


def test_unknown_operator(synthetic):
    with pytest.raises(InputError, match="unknown operator 'h1'; there are overlap, h0, hamiltonian"):
        synthetic.with_operator("h1", np.zeros((1, 1)))
    with pytest.raises(InputError, match="synthetic carries no h0; it carries overlap"):
        synthetic.without("h0", "hamiltonian").operator("h0")


def test_values_must_fit_basis_and_pairs(synthetic):
    with pytest.raises(InputError, match=r"the basis and pairs need \d+ values per spin component, not 7"):
        synthetic.with_operator("overlap", np.zeros((1, 7)))


def test_pairs_stay_inside_their_structure(synthetic):
    batch = LCAOSystem.concat([synthetic, synthetic])
    crossed = np.array(batch.pairs.ij)
    crossed[batch.pairs.pair_ptr[1]] = [0, 3]
    with pytest.raises(InputError, match="a pair of a system names an atom of another structure"):
        dataclasses.replace(batch, pairs=PairList(crossed, batch.pairs.R, batch.pairs.pair_ptr))


def test_vectors_point_from_i_to_j_in_cell_R(synthetic):
    p = int(np.flatnonzero(synthetic.pairs.R.any(axis=1))[0])
    (i, j), R = synthetic.pairs.ij[p], synthetic.pairs.R[p]
    expected = synthetic.positions[j] + R @ synthetic.cells[0] - synthetic.positions[i]
    np.testing.assert_allclose(synthetic.vectors[p], expected)


def test_reindexing_fills_missing_blocks_with_zero(synthetic):
    matrix = synthetic.operator("h0")
    keep = synthetic.distances < 4.0
    fewer = PairList.of_one(synthetic.pairs.ij[keep], synthetic.pairs.R[keep])
    there = matrix.on(fewer)
    back = there.on(synthetic.pairs)
    for p in range(synthetic.pairs.n_pairs):
        expected = matrix.block(p) if keep[p] else np.zeros_like(matrix.block(p))
        np.testing.assert_array_equal(back.block(p), expected)
    np.testing.assert_array_equal(back.support, keep)


def test_correction_is_h_minus_h0(synthetic):
    np.testing.assert_array_equal(
        synthetic.correction.values, synthetic.operators["hamiltonian"] - synthetic.operators["h0"]
    )


@pytest.mark.parametrize(
    ("cell", "positions", "sentence"),
    [
        (np.zeros((3, 3)), [[0, 0, 0]], "span no volume"),
        (np.eye(3), [[0, 0, np.nan]], "not a finite number"),
        (np.eye(3), [[0, 0]], r"positions \(n_atoms, 3\)"),
    ],
)
def test_impossible_structures_are_refused(cell, positions, sentence):
    with pytest.raises(InputError, match=sentence):
        Structure(np.array([14]), np.array(positions), np.asarray(cell, dtype=float))


def test_folding():
    crystal = Structure.from_fractional(["Si", "O"], [[-1e-17, 1.25, -0.25], [0.5, 1.0, 3.0]], 4 * np.eye(3)).folded()
    np.testing.assert_allclose(crystal.fractional, [[0, 0.25, 0.75], [0.5, 0, 0]], atol=1e-15)
    assert (crystal.fractional < 1).all()


def test_grouping_keeps_first_appearance():
    crystal = Structure.from_fractional(["Se", "Ga", "Se"], [[0.0] * 3, [0.3] * 3, [0.6] * 3], 5 * np.eye(3))
    assert crystal.grouped().symbols == ["Se", "Se", "Ga"]


@pytest.mark.parametrize("id", ["", "..", "../up", "a/b", ".hidden", "a b", "a\nb"])
def test_an_id_cannot_be_a_path(id):
    with pytest.raises(InputError, match="cannot name a structure"):
        Provenance(id=id)


@pytest.mark.parametrize("id", ["mp-149", "GaAs_zb.1", "Fe2O3(001)", "a+b=c"])
def test_usual_ids(id):
    assert Provenance(id=id).id == id

import dataclasses

import numpy as np
import pytest
import scipy.linalg

from nextham.core import BlockMatrix
from nextham.physics.symmetry import rehomed, rotated
from nextham.physics.twocentre import two_centre_residual

NOISE = 5e-8  # printed digits of S and of the positions


def residual(system, values=None):
    overlap = system.operator("overlap")
    return two_centre_residual(overlap if values is None else overlap.with_values(values), system.vectors)


def test_real_overlaps_with_f_orbitals_are_two_centre_integrals(alsb):
    assert residual(alsb).max() < NOISE


def test_the_hamiltonian_is_not(alsb):
    assert residual(alsb, alsb.operator("h0").values[:1]).max() > 0.1


def test_it_holds_in_any_orientation(alsb):
    q = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    assert residual(rotated(alsb, q)).max() < NOISE


def test_a_wrong_cell_is_seen(alsb):
    moved = rehomed(alsb, [[0, 0, 0], [1, 0, 0]])
    assert residual(moved).max() < NOISE
    wrong = dataclasses.replace(moved, positions=alsb.positions)
    assert residual(wrong).max() > 0.05


@pytest.mark.parametrize("l", [1, 2, 3])
def test_wrong_signs_and_orders_of_each_l_are_seen(alsb, l):
    overlap = alsb.operator("overlap")
    for change in (np.diag([-1.0] + [1.0] * (2 * l)), np.eye(2 * l + 1)[[1, 0, *range(2, 2 * l + 1)]]):
        turns = {
            z: scipy.linalg.block_diag(*(change if k == l else np.eye(2 * k + 1) for k in alsb.basis.shells(z)))
            for z in alsb.basis
        }
        values = np.array(overlap.values)
        for group in overlap.groups:
            left, right = (turns[z] for z in group.elements)
            values[:, group.index] = left @ values[:, group.index] @ right.T
        assert residual(alsb, values).max() > 1e-3


def test_onsite_blocks_are_diagonal_in_l_and_m(alsb):
    overlap: BlockMatrix = alsb.operator("overlap")
    values = np.array(overlap.values)
    onsite = int(np.flatnonzero(alsb.pairs.onsite)[0])
    values[0, overlap.block_ptr[onsite] + 3] = 0.25  # s with p
    assert residual(alsb, values)[onsite] == 0.25

from __future__ import annotations

import numpy as np
import pytest

from nextham.physics.align import aligned, energy_shift
from nextham.physics.errors import moduli
from nextham.physics.spin import SPIN_BLOCKS, from_spin_blocks, narrowest, to_spin_blocks


def full_matrices(system, matrix):
    """All blocks of both directions as explicit 2 x 2 spin blocks: list of (2, 2, n_i, n_j)."""
    out = []
    blocks = to_spin_blocks(matrix.values)
    for p, (i, j) in enumerate(system.pairs.ij):
        part = blocks[:, matrix.block_ptr[p] : matrix.block_ptr[p + 1]].reshape(2, 2, system.n_orb[i], system.n_orb[j])
        out.append(part)
        if not system.pairs.onsite[p]:
            out.append(part.conj().transpose(1, 0, 3, 2))
    return out


@pytest.mark.parametrize("name", ["synthetic", "synthetic_magnetic", "alsb"])
def test_energy_shift_is_least_squares_over_the_full_matrix(request, name):
    system = request.getfixturevalue(name)
    e, s = full_matrices(system, system.correction), full_matrices(system, system.operator("overlap"))
    top = sum((b.conj() * a).sum().real for a, b in zip(e, s, strict=True))
    bottom = sum((abs(b) ** 2).sum() for b in s)
    assert energy_shift(system.correction, system.operator("overlap")) == pytest.approx(top / bottom, rel=1e-10)


def test_adding_a_multiple_of_the_overlap_changes_nothing(synthetic):
    s = synthetic.operator("overlap")
    plain, mu = aligned(synthetic.correction, s)
    moved, mu_moved = aligned(synthetic.correction + 0.7 * s, s)
    np.testing.assert_allclose(moved.values, plain.values, atol=1e-12)
    assert mu_moved - mu == pytest.approx(0.7)


@pytest.mark.parametrize("name", ["synthetic", "synthetic_magnetic"])
def test_moduli_count_both_directions(request, name):
    system = request.getfixturevalue(name)
    e = system.operator("hamiltonian")
    weight = system.pairs.multiplicity[e.pair_of_value]
    mean = (moduli(e) * weight).sum(axis=-1) / weight.sum()
    blocks = full_matrices(system, e)
    for part, take in enumerate((np.real, np.imag, np.abs)):
        for s in range(4):
            values = np.concatenate([np.abs(take(b[s // 2, s % 2])).ravel() for b in blocks])
            assert mean[part, s] == pytest.approx(values.mean(), abs=1e-12), (SPIN_BLOCKS[s], part)


def test_spin_blocks_and_pauli_components_are_inverse(synthetic_magnetic):
    values = synthetic_magnetic.operators["hamiltonian"]
    np.testing.assert_allclose(from_spin_blocks(to_spin_blocks(values)), values, atol=1e-14)


def test_narrowest_layout_drops_only_noise(synthetic, synthetic_magnetic):
    kept, dropped = narrowest(synthetic.operators["hamiltonian"], 0.0)
    assert kept.shape[0] == 4
    assert not np.iscomplexobj(kept)
    assert dropped == 0.0
    assert np.iscomplexobj(narrowest(synthetic_magnetic.operators["hamiltonian"], 1e-6)[0])
    scalar, dropped = narrowest(synthetic.correction.values + np.array([[0.0], [1e-9], [0.0], [0.0]]), 1e-8)
    assert scalar.shape[0] == 1
    assert dropped == pytest.approx(1e-9)

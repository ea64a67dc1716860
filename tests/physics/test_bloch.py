"""Bloch sums against a plain sum over both directions of every pair."""

from __future__ import annotations

import numpy as np
import pytest

from nextham.physics.bands import KMesh, eigenproblem, monkhorst_pack
from nextham.physics.bloch import bloch_sum, spinor_bloch_sum
from nextham.physics.eigen import solve
from nextham.physics.spin import to_spin_blocks

K = np.array([[0.1, -0.3, 0.45], [0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])


def plain_spinor_sum(system, operator, k):
    """Sum over (i, j, R) and (j, i, -R) with explicit 2 x 2 spin blocks: slow and obvious."""
    matrix = system.operator(operator)
    ptr = np.r_[0, np.cumsum(system.n_orb)]
    n = ptr[-1]
    total = np.zeros((2, n, 2, n), dtype=complex)
    blocks = to_spin_blocks(matrix.values)
    for p, ((i, j), R) in enumerate(zip(system.pairs.ij, system.pairs.R, strict=True)):
        phase = np.exp(2j * np.pi * k @ R)
        rows, columns = slice(ptr[i], ptr[i + 1]), slice(ptr[j], ptr[j + 1])
        part = blocks[:, matrix.block_ptr[p] : matrix.block_ptr[p + 1]].reshape(2, 2, system.n_orb[i], system.n_orb[j])
        for s in range(2):
            for t in range(2):
                total[s, rows, t, columns] += phase * part[s, t]
                if not system.pairs.onsite[p]:
                    total[t, columns, s, rows] += phase.conj() * part[s, t].conj().T
    return total.reshape(2 * n, 2 * n)


@pytest.mark.parametrize("name", ["synthetic", "synthetic_magnetic", "alsb"])
def test_spinor_bloch_sum_equals_the_plain_sum(request, name):
    system = request.getfixturevalue(name)
    fast = spinor_bloch_sum(system, "hamiltonian", K)
    for q, k in enumerate(K):
        np.testing.assert_allclose(fast[q], plain_spinor_sum(system, "hamiltonian", k), atol=1e-7)
    np.testing.assert_allclose(fast, fast.conj().swapaxes(-1, -2), atol=1e-12)


def test_gauges_differ_by_a_unitary(synthetic):
    s = synthetic.cells[0]
    tau = np.linalg.solve(s.T, synthetic.positions.T).T
    lattice = bloch_sum(synthetic, "overlap", K)[:, 0]
    atom = bloch_sum(synthetic, "overlap", K, gauge="atom")[:, 0]
    turn = np.repeat(np.exp(2j * np.pi * K @ tau.T), synthetic.n_orb, axis=1)
    np.testing.assert_allclose(atom, turn.conj()[:, :, None] * lattice * turn[:, None, :], atol=1e-12)


def test_unknown_gauge(synthetic):
    with pytest.raises(ValueError, match="the gauge is 'lattice' or 'atom', not 'both'"):
        bloch_sum(synthetic, "overlap", K, gauge="both")


def test_vectors_solve_the_problem(synthetic):
    found = eigenproblem(synthetic, K, vectors=True)
    h = spinor_bloch_sum(synthetic, "hamiltonian", K)
    s = spinor_bloch_sum(synthetic, "overlap", K)
    c, e = found.vectors, found.energies
    np.testing.assert_allclose(h @ c, s @ c * e[:, None, :], atol=1e-9)
    np.testing.assert_allclose(c.conj().swapaxes(-1, -2) @ s @ c, np.tile(np.eye(h.shape[-1]), (3, 1, 1)), atol=1e-9)


def test_near_singular_overlap_loses_the_bad_direction_only():
    h = np.diag([1.0, 2.0, 3.0]).astype(complex)[None]
    s = np.diag([1.0, 1.0, 1e-9]).astype(complex)[None]
    found = solve(h, s)
    np.testing.assert_allclose(found.energies[0, :2], [1.0, 2.0])
    assert np.isnan(found.energies[0, 2])
    assert found.overlap_range[0, 0] == pytest.approx(1e-9)


def test_parser_bands_equal_the_engines(example):
    """Bands of H(R), S(R) equal the levels in the log to its last printed digit."""
    result = example("Si-dia-1")
    k = result.levels.k[:6]
    own = eigenproblem(result.system, k).energies[:, : result.levels.energies.shape[1]]
    np.testing.assert_allclose(own, result.levels.energies[:6], atol=1.2e-4)
    assert np.abs(own - result.levels.energies[:6])[:, :8].max() < 1e-5


@pytest.mark.parametrize("mesh", [(1, 1, 1), (4, 4, 4), (3, 2, 5)])
def test_half_a_mesh_stands_for_all_of_it(synthetic, mesh):
    half, whole = KMesh.of(mesh), KMesh.of(mesh, time_reversal=False)
    np.testing.assert_array_equal(whole.k, monkhorst_pack(mesh))
    np.testing.assert_array_equal(whole.of_mesh, np.arange(len(whole.k)))
    assert half.weights.sum() == pytest.approx(1)
    assert whole.weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.bincount(half.of_mesh) / len(whole.k), half.weights)
    apart = (half.k[half.of_mesh] - whole.k, half.k[half.of_mesh] + whole.k)
    assert np.minimum(*(np.abs(d - np.rint(d)).max(axis=1) for d in apart)).max() < 1e-12
    levels = eigenproblem(synthetic, half.k).energies[half.of_mesh]
    np.testing.assert_allclose(levels, eigenproblem(synthetic, whole.k).energies, atol=1e-9)

"""What leaves the physics unchanged leaves the bands unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group

from nextham.physics.bands import eigenproblem
from nextham.physics.harmonics import real_harmonics, rotation_matrix
from nextham.physics.symmetry import onsite_antihermitian, permuted, rehomed, rotated, space_group, supercell
from nextham.testing import zincblende

K = np.random.default_rng(3).random((3, 3))
Q = ortho_group.rvs(3, random_state=5)
REFLECTION = np.diag([1.0, 1.0, -1.0])


@pytest.fixture(params=["synthetic", "synthetic_magnetic", "alsb"])
def system(request):
    return request.getfixturevalue(request.param)


def bands(system, k=K):
    return eigenproblem(system, np.atleast_2d(k)).energies


@pytest.mark.parametrize("orthogonal", [Q, -Q, REFLECTION @ Q], ids=["rotation", "inversion", "reflection"])
def test_rotation_leaves_bands(system, orthogonal):
    np.testing.assert_allclose(bands(rotated(system, orthogonal)), bands(system), atol=1e-9)


def test_rotations_compose(synthetic_magnetic):
    one = rotated(rotated(synthetic_magnetic, Q), REFLECTION)
    both = rotated(synthetic_magnetic, REFLECTION @ Q)
    np.testing.assert_allclose(one.operators["hamiltonian"], both.operators["hamiltonian"], atol=1e-12)


def test_order_of_atoms_leaves_bands(system):
    swapped = permuted(system, [1, 0])
    np.testing.assert_allclose(bands(swapped), bands(system), atol=1e-9)
    assert permuted(swapped, [1, 0]) == system


def test_choice_of_home_cell_leaves_bands(system):
    moved = rehomed(system, [[1, 0, -2], [0, 3, 0]])
    np.testing.assert_allclose(bands(moved), bands(system), atol=1e-9)
    np.testing.assert_allclose(np.sort(moved.distances), np.sort(system.distances), atol=1e-9)


def test_supercell_folds_the_bands(system):
    folded = np.concatenate([bands(system, [0.15, 0.1, 0.2]), bands(system, [0.65, 0.1, 0.2])], axis=1)
    double = supercell(system, (2, 1, 1))
    np.testing.assert_allclose(bands(double, [0.3, 0.1, 0.2])[0], np.sort(folded[0]), atol=1e-8)


def test_onsite_blocks_are_hermitian(system):
    assert onsite_antihermitian(system.operator("hamiltonian")) < 1e-7


def test_a_broken_onsite_block_shows(synthetic):
    values = np.array(synthetic.operators["hamiltonian"])
    values[0, 1] += 0.25
    assert onsite_antihermitian(synthetic.with_operator("hamiltonian", values).operator("hamiltonian")) >= 0.24


def test_kramers_degeneracy(system, synthetic_magnetic):
    """Time reversal with spin pairs the levels at k = 0 (to the noise of an SCF); a magnetic system splits them."""
    levels = bands(system, np.zeros(3))[0]
    split = np.abs(levels[0::2] - levels[1::2]).max()
    assert (split > 1e-4) if system is synthetic_magnetic else (split < 1e-5)


@pytest.mark.parametrize("l", range(5))
def test_harmonics_are_orthonormal(l):
    """Lebedev-free check: Gauss-Legendre in cos θ times a uniform φ grid is exact for these degrees."""
    nodes, weights = np.polynomial.legendre.leggauss(2 * l + 2)
    phi = np.arange(4 * l + 4) * 2 * np.pi / (4 * l + 4)
    cos, angle = (a.ravel() for a in np.meshgrid(nodes, phi, indexing="ij"))
    sin = np.sqrt(1 - cos**2)
    y = real_harmonics(l, np.stack([sin * np.cos(angle), sin * np.sin(angle), cos], axis=1))
    w = np.repeat(weights, len(phi)) * 2 * np.pi / len(phi)
    np.testing.assert_allclose(y.T @ (w[:, None] * y), np.eye(2 * l + 1), atol=1e-12)


def test_p_shell_reads_y_z_x():
    x, y, z = np.random.default_rng(0).normal(size=3)
    r = np.sqrt(x * x + y * y + z * z)
    np.testing.assert_allclose(
        real_harmonics(1, np.array([[x, y, z]]))[0], np.sqrt(3 / 4 / np.pi) * np.array([y, z, x]) / r
    )
    np.testing.assert_allclose(rotation_matrix(1, Q), Q[np.ix_([1, 2, 0], [1, 2, 0])], atol=1e-12)


def test_space_group():
    assert space_group(zincblende()) == "F-43m (216)"
    assert space_group(zincblende(rattle_ang=0.1)) != "F-43m (216)"

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from e3nn import o3

from nextham.model.attention import Frame, enter, leave
from nextham.model.irreps import Hidden, Irrep, block_irreps, clebsch_gordan, wigner_matrices
from nextham.model.layers import EdgeLinear
from nextham.physics.harmonics import real_harmonics, rotation_matrix

SHELL_PAIRS = list(itertools.product(range(4), range(4)))
DIRECTIONS = np.vstack([np.random.default_rng(0).normal(size=(20, 3)), np.eye(3), -np.eye(3)])


def orthogonal(seed: int) -> np.ndarray:
    """A rotation, or a rotation with inversion for odd seeds."""
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return q * np.linalg.det(q) * (-1) ** seed


@pytest.mark.parametrize("l", range(7))
def test_house_harmonics_are_e3nns_of_the_vector_yzx(l):
    theirs = o3.spherical_harmonics(l, torch.tensor(DIRECTIONS[:, [1, 2, 0]]), True, normalization="integral")
    assert np.abs(theirs.numpy() - real_harmonics(l, DIRECTIONS)).max() < 1e-13


@pytest.mark.parametrize(("l_i", "l_j"), SHELL_PAIRS)
def test_blocks_to_irreps_to_blocks_is_the_identity(l_i, l_j):
    split = block_irreps((l_i, l_i), (l_j,))
    block = np.random.default_rng(1).normal(size=2 * (2 * l_i + 1) * (2 * l_j + 1))
    assert np.abs(split.transform.T @ (split.transform @ block) - block).max() < 1e-14
    assert {p.irrep.l for p in split.paths} == set(range(abs(l_i - l_j), l_i + l_j + 1))
    assert {p.irrep.parity for p in split.paths} == {(-1) ** (l_i + l_j)}


@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize(("l_i", "l_j"), SHELL_PAIRS)
def test_irreps_of_a_block_turn_as_irreps(l_i, l_j, seed):
    q = orthogonal(seed)
    block = np.random.default_rng(1).normal(size=(2 * l_i + 1, 2 * l_j + 1))
    moved = rotation_matrix(l_i, q) @ block @ rotation_matrix(l_j, q).T
    for l in range(abs(l_i - l_j), l_i + l_j + 1):
        c = clebsch_gordan(l_i, l_j, l).reshape(2 * l + 1, -1)
        sign = np.round(np.linalg.det(q)) ** (l + l_i + l_j)  # unnatural irreps turn with one more sign
        assert np.abs(c @ moved.ravel() - sign * rotation_matrix(l, q) @ c @ block.ravel()).max() < 1e-12


def test_transposed_block_has_the_same_irreps_up_to_a_sign():
    shells_i, shells_j = (0, 1, 1, 2, 3), (0, 1, 2, 3, 3)
    forward, backward = block_irreps(shells_i, shells_j), block_irreps(shells_j, shells_i)
    n_i, n_j = (sum(2 * l + 1 for l in shells) for shells in (shells_i, shells_j))
    block = np.random.default_rng(1).normal(size=(n_i, n_j))
    a, b = forward.transform @ block.ravel(), backward.transform @ block.T.ravel()
    for k, (irrep, s_i, s_j, sign) in enumerate(forward.paths):
        other = next(n for n, p in enumerate(backward.paths) if p[:3] == (irrep, s_j, s_i))
        rows, others = (s.path_of_component == n for s, n in ((forward, k), (backward, other)))
        assert np.abs(a[rows] - sign * b[others]).max() < 1e-14


def test_wigner_matrices_turn_z_to_the_edge_for_every_direction():
    for l, d in enumerate(wigner_matrices(DIRECTIONS, 6)):
        top = real_harmonics(l, np.array([[0.0, 0.0, 1.0]]))[0]
        assert np.abs(np.einsum("nab,b->na", d, top) - real_harmonics(l, DIRECTIONS)).max() < 1e-13
        assert np.abs(d @ d.swapaxes(1, 2) - np.eye(2 * l + 1)).max() < 1e-13


def test_hidden_irreps_hold_both_parities():
    hidden = Hidden(3)
    assert [str(i) for i in hidden.irreps] == ["0e", "1o", "1e", "2e", "2o", "3o"]
    assert hidden.slices[Irrep(2, -1)] == slice(12, 17)
    assert sum(copies * n for copies, n in hidden.orders) == hidden.dim
    assert sorted(hidden.edge_order[0]) == list(range(hidden.dim))


@pytest.mark.parametrize("lmax", [1, 4, 6])
def test_edge_maps_do_not_depend_on_the_choice_of_edge_frame(lmax):
    hidden, gen = Hidden(lmax), torch.Generator().manual_seed(0)
    frame, linear = Frame(hidden), EdgeLinear(hidden, 2, 3).double()
    x = torch.randn(len(DIRECTIONS), hidden.dim, 2, generator=gen, dtype=torch.float64)

    def applied(turns):
        turn = frame(tuple(torch.from_numpy(d) for d in turns))
        return leave(linear(enter(x, turn)), turn)

    turns = wigner_matrices(DIRECTIONS, lmax)
    about_z = [rotation_matrix(l, orthogonal_about_z(0.7)) for l in range(lmax + 1)]
    assert (applied(turns) - applied([d @ z for d, z in zip(turns, about_z, strict=True)])).abs().max() < 1e-12


def orthogonal_about_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from made_networks import turn

from nextham.core import SpinLayout
from nextham.core.blocks import widened
from nextham.model.components import COMPONENTS, from_rows, spin_block_modulus, spin_irreps, spin_turns, to_rows
from nextham.model.irreps import block_irreps
from nextham.physics.harmonics import rotation_matrix
from nextham.physics.spin import to_spin_blocks

SHELL_PAIRS = list(itertools.product(range(4), range(4)))
EVERY = pytest.mark.parametrize("target", COMPONENTS)
N_ROWS = {"spin-scalar": 1, "pauli": 4, "pauli-magnetic": 8}


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape)


def encoded(rows: np.ndarray, l_i: int, l_j: int, target: str) -> torch.Tensor:
    """Irreps (1, n) of one block (n_rows, 2l_i + 1, 2l_j + 1)."""
    orbital = block_irreps((l_i,), (l_j,))
    x = torch.from_numpy(rows.reshape(len(rows), 1, -1) @ orbital.transform.T)
    return spin_irreps(orbital, target).couple(x, spin_turns(6))


@EVERY
@pytest.mark.parametrize(("l_i", "l_j"), SHELL_PAIRS)
def test_blocks_to_irreps_to_blocks_is_the_identity_with_spin(l_i, l_j, target):
    rows = random(N_ROWS[target], 2 * l_i + 1, 2 * l_j + 1)
    irreps = encoded(rows, l_i, l_j, target)
    orbital = block_irreps((l_i,), (l_j,))
    back = spin_irreps(orbital, target).uncouple(irreps, spin_turns(6)) @ torch.from_numpy(orbital.transform)
    assert np.abs(back.numpy().reshape(rows.shape) - rows).max() < 1e-14
    assert float((irreps**2).sum()) == pytest.approx((rows**2).sum(), rel=1e-13)  # orthogonal


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("l_i", "l_j"), SHELL_PAIRS)
def test_irreps_of_spin_and_orbitals_turn_as_irreps(l_i, l_j, sign):
    q = sign * turn(2)
    rows = random(8, 2 * l_i + 1, 2 * l_j + 1)
    moved = rotation_matrix(l_i, q) @ rows @ rotation_matrix(l_j, q).T
    for vector in (slice(1, 4), slice(5, 8)):
        moved[vector] = np.einsum("st,tab->sab", sign * q, moved[vector])  # the Pauli vector is axial
    before, after = (encoded(x, l_i, l_j, "pauli-magnetic")[0].numpy() for x in (rows, moved))
    start = 0
    for path in spin_irreps(block_irreps((l_i,), (l_j,)), "pauli-magnetic").paths:
        d = rotation_matrix(path.irrep.l, turn(2)) * (path.irrep.parity if sign == -1 else 1)
        own = slice(start, start + len(d))
        assert np.abs(after[own] - d @ before[own]).max() < 1e-12
        start = own.stop
    assert start == before.size


@pytest.mark.parametrize(("l_i", "l_j"), SHELL_PAIRS)
def test_pair_read_backwards_has_the_same_irreps_up_to_a_sign(l_i, l_j):
    values = random(4, 2 * l_i + 1, 2 * l_j + 1) + 1j * random(4, 2 * l_i + 1, 2 * l_j + 1)[:, ::-1]
    back = values.conj().swapaxes(1, 2)
    shape = values.shape[1:]
    rows = to_rows(values.reshape(4, -1), "pauli-magnetic").reshape(8, *shape)
    rows_back = to_rows(back.reshape(4, -1), "pauli-magnetic").reshape(8, *shape[::-1])
    a, b = encoded(rows, l_i, l_j, "pauli-magnetic")[0], encoded(rows_back, l_j, l_i, "pauli-magnetic")[0]
    forward = spin_irreps(block_irreps((l_i,), (l_j,)), "pauli-magnetic")
    sign = torch.tensor([p.sign for p in forward.paths])[torch.from_numpy(forward.path_of_component)]
    assert (b - sign * a).abs().max() < 1e-14


def values_of(layout: SpinLayout) -> np.ndarray:
    n = 1 if layout is SpinLayout.SCALAR else 4
    return random(n, 20) + (1j * random(n, 20)[:, ::-1] if layout is SpinLayout.FULL else 0)


@EVERY
@pytest.mark.parametrize("layout", SpinLayout)
def test_rows_hold_what_the_target_has_of_any_layout(layout, target):
    values = values_of(layout)
    rows = to_rows(values, target)
    assert rows.shape == (N_ROWS[target], 20)
    full, back = (widened(v, SpinLayout.FULL) for v in (values, from_rows(rows)))
    assert np.array_equal(back[0].real, full[0].real)
    if target != "spin-scalar":
        assert np.array_equal(back[1:].imag, full[1:].imag)
    if target == "pauli-magnetic":
        assert np.array_equal(back, full)


@pytest.mark.parametrize("target", COMPONENTS)
def test_modulus_is_that_of_the_spin_blocks_and_has_a_gradient_at_zero(target):
    values = values_of({1: SpinLayout.SCALAR, 4: SpinLayout.TIME_REVERSAL, 8: SpinLayout.FULL}[N_ROWS[target]])
    rows = torch.from_numpy(to_rows(values, target))
    expected = np.abs(to_spin_blocks(values)).sum(axis=0) / 2
    assert np.abs(spin_block_modulus(rows).numpy() - expected).max() < 1e-14
    zero = torch.zeros_like(rows).requires_grad_()
    spin_block_modulus(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()

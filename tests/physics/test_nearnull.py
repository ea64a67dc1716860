"""Damping of corrections in near-null directions of S(k)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import ortho_group

from nextham.core import SpinLayout
from nextham.physics.align import aligned
from nextham.physics.bands import eigenproblem, monkhorst_pack
from nextham.physics.nearnull import damped
from nextham.physics.symmetry import from_directed, permuted, rehomed, rotated, supercell

K = monkhorst_pack((2, 2, 2))


@pytest.fixture
def system(example):
    """A real system whose orbitals are long for its bonds: S(k) has eigenvalues of 1e-5."""
    return example("MgO-rs-1").system


def scalar(matrix):
    """h_0 alone, real."""
    return matrix.with_values(np.array(matrix.values[:1].real))


def noise(system, size_ev=2e-3):
    """Errors of one size in every element of h_0 with an overlap, as a network makes them."""
    overlap = system.operator("overlap")
    values = np.random.default_rng(0).normal(size=overlap.values.shape) * size_ev
    values *= overlap.values != 0
    for group in overlap.groups:
        own = group.index[system.pairs.onsite[group.pairs]]
        if len(own):
            values[0][own] = (values[0][own] + values[0][own].swapaxes(1, 2)) / 2
    return overlap.with_values(values)


def bands(system, correction):
    """Levels of H0 plus a correction at a few k."""
    h = np.array(system.operator("h0").values)
    h[: len(correction.values)] += correction.values
    return eigenproblem(system.with_operator("hamiltonian", h), K).energies


def test_errors_no_longer_move_bands_by_thousands_of_their_size(system):
    truth = scalar(aligned(system.correction, system.operator("overlap"))[0])
    wrong = truth + noise(system)
    reference = bands(system, truth)
    window = (reference > reference.min()) & (reference < np.quantile(reference, 0.5))
    before, after = (np.abs(bands(system, c) - reference)[window].max() for c in (wrong, damped(system, wrong)))
    assert before > 20 * after
    assert after < 0.5


def test_a_true_correction_hardly_changes(system):
    truth = scalar(aligned(system.correction, system.operator("overlap"))[0])
    change = damped(system, truth) - truth
    assert np.abs(change.values[0]).mean() < 0.02 * np.abs(truth.values[0]).mean()


def test_no_floor_is_no_damping(system):
    x = noise(system)
    assert damped(system, x, floor=0.0) is x


def test_it_is_linear_and_knows_no_energy_shift(system):
    s, x = system.operator("overlap"), noise(system)
    one = damped(system, x).values
    np.testing.assert_allclose(damped(system, 2 * x + 0.7 * s).values, 2 * one + 0.7 * s.values, atol=1e-12)


def test_a_higher_floor_keeps_less_and_self_adjointly(system):
    x, y = noise(system), scalar(system.correction)
    weight = system.pairs.multiplicity[x.pair_of_value]
    plain = [aligned(m, system.operator("overlap"))[0] for m in (x, y)]
    left, right = (damped(system, m, passes=1) for m in plain)
    inner = [(weight * a.values[0] * b.values[0]).sum() for a, b in ((left, plain[1]), (plain[0], right))]
    assert inner[0] == pytest.approx(inner[1], rel=1e-3)
    sizes = [np.abs(damped(system, plain[0], floor=f).values).sum() for f in (1e-3, 1e-2, 1e-1)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("sign", [1, -1])
def test_it_turns_with_the_crystal(system, sign):
    q = sign * ortho_group.rvs(3, random_state=2)
    turned = rotated(system, q)
    carrier = system.with_operator("hamiltonian", damped(system, system.correction).values)
    expected = rotated(carrier, q).operators["hamiltonian"]
    np.testing.assert_allclose(damped(turned, turned.correction).values, expected, atol=1e-9)


def test_order_of_atoms_and_home_cells_do_not_matter(system):
    carrier = system.with_operator("hamiltonian", damped(system, system.correction).values)
    for change in (lambda s: permuted(s, [1, 0]), lambda s: rehomed(s, [[1, 0, -2], [0, 3, 0]])):
        moved = change(system)
        expected = change(carrier).operators["hamiltonian"]
        np.testing.assert_allclose(damped(moved, moved.correction).values, expected, atol=1e-9)


def sheared(system):
    """The same crystal with another choice of lattice vectors."""
    matrix = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]])
    moved = dataclasses.replace(system, cells=matrix @ system.cells)
    R = system.pairs.R @ np.round(np.linalg.inv(matrix)).astype(np.int64)
    return from_directed(moved, system.pairs.ij, R, dict(system.operators))


@pytest.mark.parametrize("change", [sheared, lambda s: supercell(s, (2, 1, 1))], ids=["sheared", "supercell"])
def test_choice_of_the_cell_does_not_matter(system, change):
    one = system.with_operator("hamiltonian", (scalar(system.correction) + noise(system, 2e-4)).values)
    here, there = (damped(s, s.operator("hamiltonian")).values for s in (one, change(one)))
    expected = change(one.with_operator("hamiltonian", here)).operators["hamiltonian"]
    np.testing.assert_allclose(there, expected, atol=1e-8, rtol=0)


def test_all_layouts_agree(system):
    x = system.correction
    assert x.layout is SpinLayout.TIME_REVERSAL
    y = damped(system, x)
    full = damped(system, x.with_values(widened(x.values)))
    np.testing.assert_allclose(full.values, widened(y.values), atol=1e-9)
    np.testing.assert_allclose(damped(system, scalar(x)).values, y.values[:1], atol=1e-9)


def widened(values):
    """Four complex rows of a time-reversal layout."""
    return np.concatenate([values[:1] + 0j, 1j * values[1:]])

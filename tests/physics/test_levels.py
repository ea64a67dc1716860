"""Levels of several Hamiltonians at once, and functions of levels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nextham.core import SpinLayout
from nextham.exceptions import InputError
from nextham.physics.bands import band_edges, band_path, dos_distance, eigenproblem, gap, shared_levels
from nextham.physics.bloch import bloch_sum, bloch_sums
from nextham.physics.eigen import Orthogonalised, solve
from nextham.physics.spin import spin_scalar, widened
from nextham.testing import zincblende

K = np.array([[0.0, 0.0, 0.0], [0.1, -0.3, 0.45], [0.5, 0.5, 0.5]])


def hamiltonians(system):
    h, h0 = system.operator("hamiltonian"), system.operator("h0")
    return [h0, h, h0 + 0.9 * (h - h0), 0.0 * h, spin_scalar(h), h.with_layout(SpinLayout.FULL)]


@pytest.mark.parametrize("name", ["synthetic", "synthetic_magnetic", "alsb"])
@pytest.mark.parametrize("overlap_filter", [1e-6, 0.05])
def test_levels_solved_together_are_those_solved_one_by_one(request, name, overlap_filter):
    system = request.getfixturevalue(name)
    together = shared_levels(system, hamiltonians(system), K, overlap_filter=overlap_filter)
    for matrix, energies in zip(hamiltonians(system), together.energies, strict=True):
        one = system.with_operator("hamiltonian", widened(matrix.values, SpinLayout.FULL))
        alone = eigenproblem(one, K, overlap_filter=overlap_filter)
        np.testing.assert_array_equal(np.isnan(energies), np.isnan(alone.energies))
        np.testing.assert_allclose(energies, alone.energies, atol=1e-8)
        np.testing.assert_allclose(together.overlap_range, alone.overlap_range, atol=1e-12)


def test_the_filter_takes_away_directions_at_some_k_only(alsb):
    lost = np.isnan(shared_levels(alsb, [alsb.operator("h0")], K, overlap_filter=0.01).energies[0]).sum(axis=1)
    assert lost.tolist() == [0, 4, 0]  # two orbital directions, of both spins


@pytest.mark.parametrize("name", ["synthetic", "synthetic_magnetic"])
def test_bloch_sums_taken_together_are_those_taken_one_by_one(request, name):
    system = request.getfixturevalue(name)
    matrices = [system.operator(operator) for operator in system.operators]
    for operator, found in zip(system.operators, bloch_sums(system, matrices, K), strict=True):
        np.testing.assert_allclose(found, bloch_sum(system, operator, K), atol=1e-12)


def test_what_is_orthogonalised_once_serves_any_hamiltonian(synthetic):
    s, h = bloch_sums(synthetic, [synthetic.operator("overlap"), synthetic.operator("hamiltonian")], K)
    basis = Orthogonalised.of(s[:, 0])
    for matrix in (h[:, 0], 2 * h[:, 0]):
        np.testing.assert_allclose(basis.solve(matrix).energies, solve(matrix, s[:, 0]).energies, atol=1e-12)


def test_edges_of_bands():
    levels = np.array([[-2.0, -1.0, 1.0, 2.0], [-2.0, -0.5, 1.5, np.nan]])
    assert band_edges(levels, 2) == (-0.5, 1.0)
    assert gap(levels, 2) == 1.5
    assert band_edges(levels, 1) == (-2.0, -1.0)
    assert band_edges(np.array([[-1.0, 0.5], [0.2, 2.0], [0.7, 0.8]]), 1) == (0.7, 0.5)
    assert gap(np.array([[-1.0, 0.5], [0.2, 2.0], [0.7, 0.8]]), 1) == 0.0
    for n_electrons in (0, 4, 1.5):  # nothing filled, nothing empty, no whole band
        assert band_edges(levels, n_electrons) is None
        assert gap(levels, n_electrons) == 0.0


def test_distance_of_densities_of_states_is_the_area_between_their_integrals():
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.uniform(-12, 9, size=(2, 5, 7)), axis=2)
    b[2, -1] = a[2, -1] = np.nan
    steps = sorted({-10.0, 5.0, *(float(x) for x in np.concatenate([a, b]).ravel() if -10 < x < 5)})
    area = sum((y - x) * abs((a < (x + y) / 2).sum() - (b < (x + y) / 2).sum()) for x, y in itertools.pairwise(steps))
    inside = ((b >= -10) & (b <= 5)).sum()
    assert dos_distance(a, b, (-10.0, 5.0)) == pytest.approx(area / inside)
    assert dos_distance(b, b, (-10.0, 5.0)) == 0


def test_a_rigid_shift_inside_the_window_is_the_distance():
    levels = np.array([[-3.0, -2.0, 1.0]])
    assert dos_distance(levels + 0.25, levels, (-10.0, 5.0)) == pytest.approx(0.25)


def test_atoms_on_each_other_have_no_path():
    crystal = zincblende()
    double = type(crystal)(np.array([31, 31]), crystal.positions[[0, 0]], crystal.cell)
    with pytest.raises(InputError, match="Ga2 has no standard path: its symmetry cannot be found"):
        band_path(double)

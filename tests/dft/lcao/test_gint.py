"""Integrals over the grid against plain sums over its points and their images."""

from itertools import product

import numpy as np
import pytest
import torch
from made_up_species import cell_of_two, write_species
from scipy.interpolate import CubicSpline

from nextham.dft.lcao.boxes import boxes
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.gint import GridIntegrator
from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.lcao.hamiltonian import FixedParts
from nextham.dft.species.species import load_species
from nextham.physics.harmonics import real_harmonics


@pytest.fixture(scope="module")
def crystal(tmp_path_factory):
    folder = tmp_path_factory.mktemp("species")
    write_species(folder)
    species = [load_species(name, folder / f"{name}.upf", folder / f"{name}.orb") for name in ("Si", "C")]
    return Crystal.of(cell_of_two(), {s.number: s for s in species})


@pytest.fixture(scope="module")
def grid(crystal):
    return FFTGrid(crystal.cell, 20.0)


@pytest.fixture(scope="module")
def overlap(crystal):
    return FixedParts.of(crystal).overlap


@pytest.fixture(scope="module")
def values(grid):
    return torch.from_numpy(np.random.default_rng(5).normal(size=grid.n_points))


def integrator(crystal, grid, overlap, *, edge=2.0, keep=1e9):
    return GridIntegrator(crystal, grid, overlap, edge_bohr=edge, keep_bytes=keep)


def plain_orbitals(crystal, grid):
    """Return φ of every atom and cell at every grid point: {(atom, R): (n_points, n_orb)}."""
    n = np.array(grid.shape)
    f = np.stack(np.meshgrid(*[np.arange(m) / m for m in n], indexing="ij"), -1).reshape(-1, 3)
    r = f @ crystal.cell
    found = {}
    for a, R in product(range(crystal.n_atoms), product(range(-3, 4), repeat=3)):
        orbitals = crystal.species[int(crystal.numbers[a])].orbitals
        d = r - crystal.positions[a] - np.array(R) @ crystal.cell
        s = np.linalg.norm(d, axis=1)
        if s.min() > orbitals.cutoff:
            continue
        columns = [
            (CubicSpline(orbitals.r, chi)(s) * (s < orbitals.cutoff))[:, None] * real_harmonics(l, d)
            for l, chi in zip(orbitals.shells, orbitals.chi, strict=True)
        ]
        found[a, R] = np.concatenate(columns, axis=1)
    return found


@pytest.fixture(scope="module")
def plain(crystal, grid):
    return plain_orbitals(crystal, grid)


def test_boxes_hold_every_point_once(crystal, grid):
    found = np.concatenate([box.points for box in boxes(crystal, grid.shape, 2.0)])
    assert np.array_equal(np.sort(found), np.arange(grid.n_points))


def test_matrix_elements_are_sums_over_points(crystal, grid, overlap, values, plain):
    found = overlap.with_values(integrator(crystal, grid, overlap).potential_matrix(values).numpy()[None])
    for p in range(0, overlap.pairs.n_pairs, 7):
        (i, j), R = overlap.pairs.ij[p], overlap.pairs.R[p]
        due = sum(
            phi.T @ (values.numpy()[:, None] * plain[j, tuple(int(x) for x in np.array(S) + R)])
            for (a, S), phi in plain.items()
            if a == i and (j, tuple(int(x) for x in np.array(S) + R)) in plain
        )
        assert np.abs(found.block(p)[0] - due * grid.weight).max() < 2e-6  # one spline instead of two


def test_density_is_the_adjoint_of_the_matrix(crystal, grid, overlap, values):
    g = integrator(crystal, grid, overlap)
    d = torch.from_numpy(np.random.default_rng(6).normal(size=overlap.values.shape[1]))
    for group in overlap.groups:  # a density matrix is symmetric on site
        index = group.index[overlap.pairs.onsite[group.pairs]]
        if not len(index):
            continue
        d[index] = (d[index] + d[index].transpose(-1, -2)) / 2
    weight = torch.from_numpy(overlap.pairs.multiplicity[overlap.pair_of_value].astype(float))
    left = float((weight * d * g.potential_matrix(values)).sum())
    assert left == pytest.approx(float((g.density(d) * values).sum()) * grid.weight, rel=1e-11)


@pytest.mark.parametrize(("edge", "keep"), [(1.0, 1e9), (4.0, 1e9), (2.0, 0.0)])
def test_boxes_and_memory_change_nothing(crystal, grid, overlap, values, edge, keep):
    reference = integrator(crystal, grid, overlap)
    other = integrator(crystal, grid, overlap, edge=edge, keep=keep)
    matrix = reference.potential_matrix(values)
    assert (other.potential_matrix(values) - matrix).abs().max() < 1e-12
    assert (other.density(matrix) - reference.density(matrix)).abs().max() < 1e-11


def test_single_precision_is_close_and_double_stays_exact_after_it(crystal, grid, overlap, values):
    g = integrator(crystal, grid, overlap)
    matrix = g.potential_matrix(values)
    g.to_single()
    rough = g.potential_matrix(values, dtype=torch.float32)
    assert 0 < (rough - matrix).abs().max() < 1e-5 * matrix.abs().max()
    assert (g.potential_matrix(values) - matrix).abs().max() < 1e-12


def test_ones_give_the_overlap(crystal, overlap):
    fine = FFTGrid(crystal.cell, 120.0)
    g = integrator(crystal, fine, overlap)
    found = g.potential_matrix(torch.ones(fine.n_points, dtype=torch.float64))
    assert np.abs(found.numpy() - overlap.values[0]).max() < 1e-4

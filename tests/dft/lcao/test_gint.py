"""Integrals over the grid against plain sums over its points and their images."""

from itertools import combinations_with_replacement, product

import numpy as np
import pytest
import torch
from made_up_species import cell_of_two, write_species
from scipy.interpolate import CubicSpline

from nextham.core import Structure
from nextham.dft.lcao.batches import Batch, Slots, batches
from nextham.dft.lcao.boxes import boxes
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.device import Cut
from nextham.dft.lcao.gint import GridIntegrator
from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.lcao.hamiltonian import FixedParts
from nextham.dft.lcao.orbitals import grid_orbitals
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


def integrator(crystal, grid, overlap, *, edge=2.0, tile=96, batch=0, keep=1e9):
    return GridIntegrator(crystal, grid, overlap, cut=Cut(edge, tile, batch, 2**15, 1), keep_bytes=keep)


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


def box_by_box(crystal, grid, overlap, potential, density_matrix, edge=1.7):
    """Return ⟨φ|V|φ⟩ and ρ image pair by image pair: (n_values,) and (n_points,)."""
    place = {
        (int(i), int(j), *R): p
        for p, ((i, j), R) in enumerate(zip(overlap.pairs.ij, overlap.pairs.R.tolist(), strict=True))
    }
    matrix, rho = torch.zeros_like(density_matrix), torch.zeros_like(potential)
    orbitals = {z: grid_orbitals(crystal.species[z].orbitals, torch.device("cpu")) for z in crystal.elements}
    for box in boxes(crystal, grid.shape, edge):
        points, images = torch.from_numpy(box.points), []
        for s in box.segments:
            phi = torch.empty((s.n_images, s.n_orb, len(points)), dtype=torch.float64)
            orbitals[s.number](grid.positions[:, None, points] - torch.from_numpy(s.x)[:, :, None], phi)
            images += list(zip(s.atoms.tolist(), s.R, phi, strict=True))
        for (i, R, left), (j, S, right) in product(images, images):
            p = place.get((i, j, *(S - R).tolist()))
            if p is None:
                continue
            span = slice(*overlap.block_ptr[p : p + 2])
            matrix[span] += ((left * potential[points]) @ right.T).reshape(-1) * grid.weight
            weight = float(overlap.pairs.multiplicity[p])
            rho[points] += weight * (left * (density_matrix[span].view(len(left), -1) @ right)).sum(dim=0)
    return matrix, rho


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "how",
    [
        {"edge": 1.0},
        {"edge": 4.0},
        {"keep": 0.0},
        {"tile": 9},
        {"batch": 2**24},
        {"edge": 1.3, "batch": 2**16},
        {"edge": 1.7, "tile": 1, "batch": 2**18, "keep": 0.0},
    ],
    ids=str,
)
def test_boxes_tiles_batches_and_memory_change_nothing(crystal, grid, overlap, values, how, dtype):
    density_matrix = torch.from_numpy(np.random.default_rng(6).normal(size=overlap.values.shape[1]))
    matrix, rho = box_by_box(crystal, grid, overlap, values, density_matrix)
    g = integrator(crystal, grid, overlap, **how)
    close = 1e-12 if dtype == torch.float64 else 1e-4
    for _ in range(2):  # the second time with what was kept
        assert (g.potential_matrix(values, dtype=dtype) - matrix).abs().max() < close
        assert (g.density(density_matrix, dtype=dtype) - rho).abs().max() < 10 * close


@pytest.mark.parametrize("most", [2**14, 2**16, 2**24])
def test_batches_hold_every_box_and_little_else(crystal, grid, most):
    found = batches(boxes(crystal, grid.shape, 1.3), crystal, grid.n_points, most_values=most)
    points = np.concatenate([batch.points.ravel() for batch in found])
    assert np.array_equal(np.sort(points[points < grid.n_points]), np.arange(grid.n_points))
    own = sum(len(box.points) * box.n_columns for box in boxes(crystal, grid.shape, 1.3))
    assert own <= sum(np.prod(batch.shape) for batch in found) <= 1.3 * own
    assert all(np.prod(batch.shape) <= most or len(batch.points) == 1 for batch in found)


def test_pads_reach_nothing(crystal, grid, overlap):
    slots = Slots(crystal, overlap.pairs)
    batch = Batch.of(list(boxes(crystal, grid.shape, 1.3)), crystal, grid.n_points)
    seen = 0
    for first, second in combinations_with_replacement(batch.images, 2):
        pads = (first.x[0] > 1e5)[:, :, None] | (second.x[0] > 1e5)[:, None, :]
        rows = slots.of(first, second)
        assert not rows[pads].any()
        assert rows.any()
        seen += pads.sum()
    assert seen


def test_far_atoms_share_boxes_but_no_pairs(crystal):
    """Orbitals of two elements may reach one box from both sides and not each other."""
    apart = Structure.from_fractional(["Si", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]], 6.6 * np.eye(3))
    far = Crystal.of(apart, crystal.species)
    grid = FFTGrid(far.cell, 8.0)
    fixed = FixedParts.of(far).overlap
    assert not any(len(set(g.elements)) == 2 for g in fixed.groups)
    v = torch.ones(grid.n_points, dtype=torch.float64)
    assert torch.isfinite(integrator(far, grid, fixed, edge=6.0, batch=2**24).potential_matrix(v)).all()


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

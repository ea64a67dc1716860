"""Boxes of grid points, and which orbitals reach them.

Within a box the atoms that reach it (images included) are ordered by atom, then by cell R. The pair of any image with
a later one is then canonical (i < j, or i = j and R >= 0): the upper triangle of a box holds each listed pair once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from nextham.dft.lcao.crystal import Crystal

Ints = NDArray[np.int64]
Array = NDArray[np.float64]

_EDGE_TOLERANCE = 1e-10  # Bohr, as in ABACUS: an orbital ends just before its cutoff


@dataclasses.dataclass(frozen=True, eq=False)
class Box:
    """Some grid points and the orbital images that reach any of them."""

    points: Ints  # (n_points,) places in the flat grid
    segments: tuple[Segment, ...]  # images by element

    @property
    def n_columns(self) -> int:
        """Number of orbitals of all images."""
        return sum(s.n_images * s.n_orb for s in self.segments)


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """Images of one element in a box."""

    number: int  # atomic number
    n_orb: int
    atoms: Ints  # (n_images,)
    R: Ints  # (n_images, 3)
    x: Array  # (3, n_images) Bohr

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.atoms)


def boxes(crystal: Crystal, shape: tuple[int, int, int], edge: float) -> Iterator[Box]:
    """Return all boxes of a grid, each at most about ``edge`` Bohr long."""
    lengths = np.linalg.norm(crystal.cell, axis=1)
    cuts = [
        np.linspace(0, n, max(1, int(np.ceil(length / edge))) + 1).round().astype(int)
        for n, length in zip(shape, lengths, strict=True)
    ]
    atoms, R, x = _images(crystal)
    cutoffs = crystal.orbital_cutoffs[atoms]
    for ranges in product(*(list(pairwise(c.tolist())) for c in cuts)):
        axes = [np.arange(begin, end) for begin, end in ranges]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        if not len(index):
            continue
        r = (index / np.array(shape)) @ crystal.cell
        centre = r.mean(axis=0)
        reach = _reaching(r, centre, x, cutoffs - _EDGE_TOLERANCE)
        yield Box(np.ravel_multi_index(tuple(index.T), shape), _segments(crystal, atoms, R, x, reach))


def _reaching(r: Array, centre: Array, x: Array, cutoffs: Array) -> Ints:
    """Return which spheres of radius ``cutoffs`` around x (n, 3) hold any of the points r of a box."""
    r, x = r - centre, x - centre
    r2, x2 = (r * r).sum(axis=1), (x * x).sum(axis=1)
    farthest2 = float(r2.max())
    reach = x2 + farthest2 <= cutoffs**2  # the point on the near side is no farther than that
    open_cases = np.flatnonzero(~reach & (x2 < (cutoffs + np.sqrt(farthest2)) ** 2))
    closest = x2[open_cases] + (r2 - 2 * (x[open_cases] @ r.T)).min(axis=1)
    reach[open_cases] = closest <= cutoffs[open_cases] ** 2
    return np.flatnonzero(reach)


def _segments(crystal: Crystal, atoms: Ints, R: Ints, x: Array, reach: Ints) -> tuple[Segment, ...]:
    found = []
    numbers = crystal.numbers[atoms[reach]]
    for z in crystal.elements:
        rows = reach[numbers == z]
        if len(rows):
            found.append(Segment(z, crystal.basis.n_orb(z), atoms[rows], R[rows], x[rows].T.copy()))
    return tuple(found)


def _images(crystal: Crystal) -> tuple[Ints, Ints, Array]:
    """Return atom (n,), cell (n, 3) and position (n, 3) of every image whose orbitals may reach the home cell."""
    corners = np.array(list(product((0, 1), repeat=3))) @ crystal.cell
    centre = corners.mean(axis=0)
    radius = float(np.linalg.norm(corners - centre, axis=1).max())
    inverse = np.linalg.inv(crystal.cell)
    spread = np.linalg.norm(inverse, axis=0)
    atoms, cells = [], []
    for a in range(crystal.n_atoms):
        middle = (centre - crystal.positions[a]) @ inverse
        reach = (radius + crystal.orbital_cutoffs[a]) * spread
        axes = [
            np.arange(int(np.floor(lo)), int(np.ceil(hi)) + 1)
            for lo, hi in zip(middle - reach, middle + reach, strict=True)
        ]
        R = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        R = R[_distance_to_cell(crystal.positions[a] + R @ crystal.cell, crystal.cell) < crystal.orbital_cutoffs[a]]
        atoms.append(np.full(len(R), a))
        cells.append(R)
    atom, R = np.concatenate(atoms), np.concatenate(cells)
    return atom, R, crystal.positions[atom] + R @ crystal.cell


def _distance_to_cell(x: Array, cell: Array) -> Array:
    """Return a lower bound (n,) of the distance of points from the home cell: that from its three slabs."""
    fractional = x @ np.linalg.inv(cell)
    height = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)  # distance of opposite faces
    outside = np.maximum(np.maximum(-fractional, fractional - 1), 0.0)
    bound: Array = (outside * height).max(axis=1)
    return bound

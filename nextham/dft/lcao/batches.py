"""Boxes of grid points in batches of one shape, so that one call does the same to all boxes of a batch.

A box has as many images of each element and as many points as any box of its batch: those that it lacks are pads.
Padded images are of an atom that no pair has, and out of reach of every point: their orbitals are zero, and their
pairs go where all pairs go that are not listed. Padded points lie one beyond the end of the grid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from nextham.core import PairList
from nextham.dft.lcao.boxes import Box
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.neighbours import PairFinder

Ints = NDArray[np.int64]
Array = NDArray[np.float64]

_FAR = 1e6  # Bohr: where padded images are
_WASTE = 1.3  # a batch has at most so many times the values of its boxes


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """Images of one element in the boxes of a batch."""

    number: int  # atomic number
    n_orb: int
    atoms: Ints  # (n_boxes, n_images)
    R: Ints  # (n_boxes, n_images, 3)
    x: Array  # (3, n_boxes, n_images) Bohr

    @property
    def n_images(self) -> int:
        """Number of images, pads included."""
        return int(self.atoms.shape[1])

    @property
    def n_columns(self) -> int:
        """Number of their orbitals."""
        return self.n_images * self.n_orb


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Boxes of one shape."""

    points: Ints  # (n_boxes, n_points) places in the flat grid
    images: tuple[Images, ...]  # by element, in the order of the crystal

    @classmethod
    def of(cls, boxes: Sequence[Box], crystal: Crystal, n_grid: int) -> Batch:
        """Pad boxes to a common shape; n_grid: points of the grid."""
        points = np.full((len(boxes), max(len(box.points) for box in boxes)), n_grid)
        for row, box in zip(points, boxes, strict=True):
            row[: len(box.points)] = box.points
        present = {s.number for box in boxes for s in box.segments}
        return cls(points, tuple(_padded(boxes, z, crystal) for z in crystal.elements if z in present))

    @property
    def n_columns(self) -> int:
        """Number of orbitals of each box."""
        return sum(images.n_columns for images in self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of Φ: boxes, orbitals, points."""
        return len(self.points), self.n_columns, self.points.shape[1]


def _padded(boxes: Sequence[Box], z: int, crystal: Crystal) -> Images:
    segments = [next((s for s in box.segments if s.number == z), None) for box in boxes]
    shape = (len(boxes), max(s.n_images for s in segments if s))
    atoms, R, x = np.full(shape, crystal.n_atoms), np.zeros((*shape, 3), dtype=np.int64), np.full((3, *shape), _FAR)
    for k, s in enumerate(segments):
        if s is not None:
            n = s.n_images
            atoms[k, :n], R[k, :n], x[:, k, :n] = s.atoms, s.R, s.x
    return Images(z, crystal.basis.n_orb(z), atoms, R, x)


def batches(boxes: Iterable[Box], crystal: Crystal, n_grid: int, *, most_values: int) -> list[Batch]:
    """Gather boxes that any orbital reaches in batches of at most ``most_values`` of Φ, or of one box."""
    reached = [box for box in boxes if box.segments]
    if not most_values:  # as they lie in the cell
        return [Batch.of([box], crystal, n_grid) for box in reached]
    reached.sort(key=lambda box: (len(box.points), box.n_columns))
    found: list[Batch] = []
    held: list[Box] = []
    shape, own = _Shape(), 0
    for box in reached:
        wider, size = shape.with_box(box), len(box.points) * box.n_columns
        values = (len(held) + 1) * wider.values
        if held and (values > most_values or values > _WASTE * (own + size)):
            found.append(Batch.of(held, crystal, n_grid))
            held, wider, own = [], _Shape().with_box(box), 0
        held.append(box)
        shape, own = wider, own + size
    return [*found, Batch.of(held, crystal, n_grid)] if held else found


@dataclasses.dataclass(frozen=True)
class _Shape:
    """The common shape of some boxes."""

    n_points: int = 0
    columns: dict[int, int] = dataclasses.field(default_factory=dict)  # by element

    @property
    def values(self) -> int:
        """Values of Φ of each box."""
        return self.n_points * sum(self.columns.values())

    def with_box(self, box: Box) -> _Shape:
        """Return the shape that also holds a box."""
        columns = dict(self.columns)
        for s in box.segments:
            columns[s.number] = max(columns.get(s.number, 0), s.n_images * s.n_orb)
        return _Shape(max(self.n_points, len(box.points)), columns)


class Slots:
    """Where the blocks of image pairs are collected: for each two elements a container of all their pairs."""

    def __init__(self, crystal: Crystal, pairs: PairList) -> None:
        self._finder = PairFinder(pairs, crystal.n_atoms)
        zz = crystal.numbers[pairs.ij]
        self.listed = {(int(a), int(b)) for a, b in zz}  # elements of any pair
        self._row = np.zeros(pairs.n_pairs + 1, dtype=np.int64)
        for a, b in self.listed:
            same = np.flatnonzero((zz[:, 0] == a) & (zz[:, 1] == b))
            self._row[same] = np.arange(1, len(same) + 1)

    def of(self, first: Images, second: Images) -> Ints:
        """Return the container row of each pair of images, (n_boxes, n_first, n_second); 0 for pairs not listed."""
        i, j = first.atoms[:, :, None], second.atoms[:, None, :]
        place = self._finder(i, j, second.R[:, None, :] - first.R[:, :, None])
        return self._row[place]  # place -1 is the last entry, which is 0

"""Grid integration as dense matrix products: ⟨φ_i|V|φ_j⟩ and ρ(r).

    V_ij(R) = w Σ_r φ_i(r - x_i) V(r) φ_j(r - x_j - R),      ρ(r) = Σ_(i,j,R) D_ij(R) φ_i(r - x_i) φ_j(r - x_j - R)

over the points r of the infinite lattice (w: volume per point). For each box of points all orbitals that reach it form
a matrix Φ (orbitals x points); a tile of its rows times the rows from there on gives the blocks of pairs of images,
which are added to the containers of their pairs. Boxes are done in batches of one shape (on a CPU of one box).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from nextham.core import BlockMatrix
from nextham.dft.lcao.batches import Batch, Slots, batches
from nextham.dft.lcao.boxes import boxes
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.device import Cut
from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.lcao.orbitals import grid_orbitals


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """The blocks of one tile with the images of one element from the tile on."""

    elements: tuple[int, int]
    columns: slice  # second images, counted from the first row of the tile
    shape: tuple[int, int, int, int]  # (n_images, n_orb) of both
    slots: Tensor  # (n_boxes * n_images_1 * n_images_2,) rows of the container


@dataclasses.dataclass(frozen=True, eq=False)
class _Tile:
    rows: slice  # of Φ, first images
    parts: tuple[_Part, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class _Work:
    """A batch on the device."""

    shape: tuple[int, int, int]  # of Φ: boxes, orbitals, points
    points: Tensor  # (n_boxes, n_points) places in the flat grid; pads are one beyond its end
    images: tuple[tuple[int, Tensor], ...]  # element and positions (3, n_boxes, n_images)
    tiles: tuple[_Tile, ...]

    @classmethod
    def of(cls, batch: Batch, slots: Slots, tile_orbitals: int, device: torch.device) -> _Work:
        images = tuple((i.number, torch.from_numpy(i.x).to(device)) for i in batch.images)
        tiles = _tiles(batch, slots, tile_orbitals, device)
        return cls(batch.shape, torch.from_numpy(batch.points).to(device), images, tiles)


class GridIntegrator:
    """Integrals of one crystal's orbitals with functions on one grid."""

    def __init__(self, crystal: Crystal, grid: FFTGrid, matrix: BlockMatrix, *, cut: Cut, keep_bytes: float) -> None:
        """Args: matrix: gives pairs and layout of all operators, scalar; keep_bytes: Φ is kept up to this size."""
        self._grid, self._matrix, device = grid, matrix, grid.device
        self._orbitals = {z: grid_orbitals(crystal.species[z].orbitals, device) for z in crystal.elements}
        slots, found = Slots(crystal, matrix.pairs), boxes(crystal, grid.shape, cut.edge_bohr)
        gathered = batches(found, crystal, grid.n_points, most_values=cut.batch_values)
        r = grid.positions
        self._r = torch.cat([r, r[:, -1:]], dim=1)  # padded points are somewhere
        self._work = [_Work.of(batch, slots, cut.tile_orbitals, device) for batch in gathered]
        size = 8 * sum(int(np.prod(batch.shape)) for batch in gathered)
        self._kept: list[Tensor] | None = [] if size <= keep_bytes else None
        self._index = {g.elements: torch.from_numpy(g.index).to(device) for g in matrix.groups}
        onsite = (g.index[matrix.pairs.onsite[g.pairs]] for g in matrix.groups)
        self._onsite = [torch.from_numpy(index).to(device) for index in onsite if len(index)]
        multiplicity = np.repeat(matrix.pairs.multiplicity, np.diff(matrix.block_ptr)).astype(np.float64)
        self._multiplicity = torch.from_numpy(multiplicity).to(device)

    def to_single(self) -> None:
        """Keep Φ in float32 from now on (half the memory); float64 is made anew where it is asked for."""
        if self._kept:
            for k, phi in enumerate(self._kept):
                self._kept[k] = phi.float()

    def potential_matrix(self, potential: Tensor, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return the values (n_values,) of ⟨φ_i|V|φ_j⟩ on all pairs, float64; products are made in ``dtype``."""
        containers = {
            key: torch.zeros((len(index) + 1, index[0].numel()), dtype=torch.float64, device=potential.device)
            for key, index in self._index.items()
        }
        weighted = torch.cat([potential * self._grid.weight, potential.new_zeros(1)]).to(dtype)
        for work, phi in self._evaluated(dtype):
            v_phi = phi * weighted[work.points][:, None]
            for tile in work.tiles:
                product = torch.bmm(phi[:, tile.rows], v_phi[:, tile.rows.start :].mT)
                for part in tile.parts:
                    n1, o1, n2, o2 = part.shape
                    blocks = product[:, :, part.columns].reshape(-1, n1, o1, n2, o2).transpose(2, 3)
                    blocks = blocks.to(torch.float64, memory_format=torch.contiguous_format)
                    containers[part.elements].index_add_(0, part.slots, blocks.reshape(-1, o1 * o2))
        values = torch.empty(self._matrix.values.shape[1], dtype=torch.float64, device=potential.device)
        for key, index in self._index.items():
            values[index.reshape(len(index), -1)] = containers[key][1:]
        for index in self._onsite:  # rounding leaves them unsymmetric
            values[index] = (values[index] + values[index].transpose(-1, -2)) / 2
        return values

    def density(self, density_matrix: Tensor, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return ρ (n_points,), float64, of the values (n_values,) of a density matrix on all pairs."""
        weighted = (density_matrix * self._multiplicity).to(dtype)
        containers = {}
        for key, index in self._index.items():
            blocks = weighted[index.reshape(len(index), -1)]
            containers[key] = torch.cat([torch.zeros_like(blocks[:1]), blocks])
        rho = torch.zeros(self._grid.n_points + 1, dtype=torch.float64, device=density_matrix.device)
        for work, phi in self._evaluated(dtype):
            total = phi.new_zeros(work.points.shape)
            for tile in work.tiles:
                n_rows, n_columns = tile.rows.stop - tile.rows.start, phi.shape[1] - tile.rows.start
                d = phi.new_zeros((len(phi), n_rows, n_columns))
                for part in tile.parts:
                    n1, o1, n2, o2 = part.shape
                    blocks = containers[part.elements].index_select(0, part.slots).view(-1, n1, n2, o1, o2)
                    d[:, :, part.columns].view(-1, n1, o1, n2, o2).copy_(blocks.transpose(2, 3))
                total += (phi[:, tile.rows] * torch.bmm(d, phi[:, tile.rows.start :])).sum(dim=1)
            rho[work.points] = total.to(torch.float64)
        return rho[:-1]

    def _evaluated(self, dtype: torch.dtype) -> Iterator[tuple[_Work, Tensor]]:
        """Return each batch with its Φ; keeps Φ if it may."""
        fill = self._kept is not None and not self._kept
        for k, work in enumerate(self._work):
            if self._kept is not None and not fill and self._kept[k].dtype in (dtype, torch.float64):
                phi = self._kept[k]
            else:
                phi = self._evaluate(work)
                if fill and self._kept is not None:
                    self._kept.append(phi)
            yield work, phi.to(dtype)

    def _evaluate(self, work: _Work) -> Tensor:
        """Return Φ (n_boxes, n_orbitals, n_points) of a batch."""
        r = self._r[:, work.points]
        phi = torch.empty(work.shape, dtype=torch.float64, device=r.device)
        begin = 0
        for z, x in work.images:
            orbitals, n_images = self._orbitals[z], x.shape[-1]
            end = begin + n_images * orbitals.n_orb
            into = phi[:, begin:end].view(len(phi), n_images, orbitals.n_orb, -1)
            orbitals(r[:, :, None] - x[..., None], into)
            begin = end
        return phi


def _tiles(batch: Batch, slots: Slots, tile_orbitals: int, device: torch.device) -> tuple[_Tile, ...]:
    """Cut the rows of Φ into tiles of whole images of one element."""
    starts = np.cumsum([0] + [images.n_columns for images in batch.images]).tolist()
    found = []
    for a, first in enumerate(batch.images):
        whole = [slots.of(first, second) for second in batch.images[a:]]
        per_tile = max(1, round(tile_orbitals / first.n_orb))
        for begin in range(0, first.n_images, per_tile):
            end = min(begin + per_tile, first.n_images)
            top = starts[a] + begin * first.n_orb
            parts = []
            for b, (second, rows) in enumerate(zip(batch.images[a:], whole, strict=True)):
                elements = (first.number, second.number)
                if elements not in slots.listed:  # they reach the same box, but not each other
                    continue
                skip = begin if b == 0 else 0  # within one element only pairs of images in order
                columns = slice(starts[a + b] + skip * second.n_orb - top, starts[a + b + 1] - top)
                shape = (end - begin, first.n_orb, second.n_images - skip, second.n_orb)
                into = torch.from_numpy(rows[:, begin:end, skip:].reshape(-1)).to(device)
                parts.append(_Part(elements, columns, shape, into))
            found.append(_Tile(slice(top, top + (end - begin) * first.n_orb), tuple(parts)))
    return tuple(found)

"""Grid integration as dense matrix products: ⟨φ_i|V|φ_j⟩ and ρ(r).

    V_ij(R) = w Σ_r φ_i(r - x_i) V(r) φ_j(r - x_j - R),      ρ(r) = Σ_(i,j,R) D_ij(R) φ_i(r - x_i) φ_j(r - x_j - R)

over the points r of the infinite lattice (w: volume per point). For each box of points all orbitals that reach it form
a matrix Φ (orbitals x points); a tile of its rows times the rows from there on gives the blocks of pairs of images,
which are added to the containers of their pairs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from nextham.core import BlockMatrix
from nextham.dft.lcao.boxes import Box, Slots, boxes
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.lcao.orbitals import GridOrbitals, grid_orbitals

_TILE_ORBITALS = 96  # rows of Φ per tile: the diagonal tiles are computed in full, half of them in vain


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """The blocks of one tile with the images of one element from the tile on."""

    elements: tuple[int, int]
    columns: slice  # of Φ, second images
    shape: tuple[int, int, int, int]  # (n_images, n_orb) of both
    slots: Tensor  # (n_images_1 * n_images_2,) rows of the container


@dataclasses.dataclass(frozen=True, eq=False)
class _Tile:
    rows: slice  # of Φ, first images
    parts: tuple[_Part, ...]


class GridIntegrator:
    """Integrals of one crystal's orbitals with functions on one grid."""

    def __init__(
        self, crystal: Crystal, grid: FFTGrid, matrix: BlockMatrix, *, edge_bohr: float, keep_bytes: float
    ) -> None:
        """Args: matrix: gives pairs and layout of all operators, scalar; keep_bytes: Φ is kept up to this size."""
        self._grid, self._matrix = grid, matrix
        self._orbitals = {z: grid_orbitals(crystal.species[z].orbitals, grid.device) for z in crystal.elements}
        slots = Slots(crystal, matrix.pairs)
        self._boxes = list(boxes(crystal, grid.shape, edge_bohr))
        self._points = [torch.from_numpy(box.points).to(grid.device) for box in self._boxes]
        self._tiles = [_tiles(box, slots, grid.device) for box in self._boxes]
        size = 8 * sum(box.n_columns * len(box.points) for box in self._boxes)
        self._kept: list[Tensor] | None = [] if size <= keep_bytes else None
        self._index = {g.elements: torch.from_numpy(g.index).to(grid.device) for g in matrix.groups}
        onsite = (g.index[matrix.pairs.onsite[g.pairs]] for g in matrix.groups)
        self._onsite = [torch.from_numpy(index).to(grid.device) for index in onsite if len(index)]
        multiplicity = np.repeat(matrix.pairs.multiplicity, np.diff(matrix.block_ptr)).astype(np.float64)
        self._multiplicity = torch.from_numpy(multiplicity).to(grid.device)

    @property
    def flops(self) -> float:
        """Floating-point operations of the matrix products of one call of either kind."""
        return float(
            sum(
                2.0 * len(box.points) * (tile.rows.stop - tile.rows.start) * (box.n_columns - tile.rows.start)
                for box, tiles in zip(self._boxes, self._tiles, strict=True)
                for tile in tiles
            )
        )

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
        weighted = (potential * self._grid.weight).to(dtype)
        for points, tiles, phi in self._parts(dtype):
            v_phi = phi * weighted[points]
            for tile in tiles:
                product = phi[tile.rows] @ v_phi[tile.rows.start :].T
                for part in tile.parts:
                    columns = slice(part.columns.start - tile.rows.start, part.columns.stop - tile.rows.start)
                    n1, o1, n2, o2 = part.shape
                    blocks = product[:, columns].reshape(n1, o1, n2, o2).transpose(1, 2)
                    blocks = blocks.to(torch.float64, memory_format=torch.contiguous_format).reshape(n1 * n2, -1)
                    containers[part.elements].index_add_(0, part.slots, blocks)
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
        rho = torch.zeros(self._grid.n_points, dtype=torch.float64, device=density_matrix.device)
        for points, tiles, phi in self._parts(dtype):
            total = torch.zeros(phi.shape[1], dtype=dtype, device=phi.device)
            for tile in tiles:
                n_rows = tile.rows.stop - tile.rows.start
                d = torch.zeros((n_rows, len(phi) - tile.rows.start), dtype=dtype, device=phi.device)
                for part in tile.parts:
                    n1, o1, n2, o2 = part.shape
                    columns = slice(part.columns.start - tile.rows.start, part.columns.stop - tile.rows.start)
                    blocks = containers[part.elements].index_select(0, part.slots).view(n1, n2, o1, o2)
                    d[:, columns].view(n1, o1, n2, o2).copy_(blocks.transpose(1, 2))
                total += (phi[tile.rows] * (d @ phi[tile.rows.start :])).sum(dim=0)
            rho[points] = total.to(torch.float64)
        return rho

    def _parts(self, dtype: torch.dtype) -> Iterator[tuple[Tensor, tuple[_Tile, ...], Tensor]]:
        """Return points, tiles and Φ of each box that any orbital reaches; keeps Φ if it may."""
        fill = self._kept is not None and not self._kept
        for k, (box, points, tiles) in enumerate(zip(self._boxes, self._points, self._tiles, strict=True)):
            if self._kept is not None and not fill and self._kept[k].dtype in (dtype, torch.float64):
                phi = self._kept[k]
            else:
                phi = _evaluate(box, self._orbitals, self._grid.device)
                if fill and self._kept is not None:
                    self._kept.append(phi)
            if len(phi):
                yield points, tiles, phi.to(dtype)


def _evaluate(box: Box, orbitals: dict[int, GridOrbitals], device: torch.device) -> Tensor:
    """Return Φ (n_columns, n_points) of a box."""
    r = torch.from_numpy(box.r).to(device)
    phi = torch.empty((box.n_columns, r.shape[1]), dtype=torch.float64, device=device)
    begin = 0
    for segment in box.segments:
        end = begin + segment.n_images * segment.n_orb
        x = torch.from_numpy(segment.x).to(device)
        into = phi[begin:end].view(segment.n_images, segment.n_orb, -1)
        orbitals[segment.number](r[:, None, :] - x[:, :, None], into)
        begin = end
    return phi


def _tiles(box: Box, slots: Slots, device: torch.device) -> tuple[_Tile, ...]:
    """Cut the rows of Φ into tiles of whole images of one element."""
    starts = np.cumsum([0] + [s.n_images * s.n_orb for s in box.segments])
    found = []
    for a, first in enumerate(box.segments):
        whole = [slots.of(first, second) for second in box.segments[a:]]
        per_tile = max(1, round(_TILE_ORBITALS / first.n_orb))
        for begin in range(0, first.n_images, per_tile):
            end = min(begin + per_tile, first.n_images)
            parts = []
            for b, (second, rows) in enumerate(zip(box.segments[a:], whole, strict=True)):
                skip = begin if b == 0 else 0  # within one element only pairs of images in order
                parts.append(
                    _Part(
                        (first.number, second.number),
                        slice(int(starts[a + b]) + skip * second.n_orb, int(starts[a + b + 1])),
                        (end - begin, first.n_orb, second.n_images - skip, second.n_orb),
                        torch.from_numpy(rows[begin:end, skip:].reshape(-1)).to(device),
                    )
                )
            rows_of_phi = slice(int(starts[a]) + begin * first.n_orb, int(starts[a]) + end * first.n_orb)
            found.append(_Tile(rows_of_phi, tuple(parts)))
    return tuple(found)

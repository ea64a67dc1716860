"""Where the atoms of a file really are: its R count from positions that need not be those in the file.

ABACUS folds every atom into the home cell and labels its blocks (i, j, R) with folded positions. Files that were made
of its output often have the positions of STRU as they stand: where an atom lies outside, the vector of a pair belongs
to another R than the block beside it. The block still tells the truth: an overlap is a two-centre integral along the
true vector, which no other vector imitates.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import LCAOSystem
from nextham.physics.neighbours import geometric_pairs
from nextham.physics.symmetry import rehomed
from nextham.physics.twocentre import two_centre_residual

TOLERANCE: Final = 2e-5  # of S: right vectors leave 1e-7, from positions in single precision; wrong ones some tenths


@dataclasses.dataclass(frozen=True)
class Found:
    """Positions that the overlap belongs to."""

    positions: NDArray[np.float64]  # (n_atoms, 3) Å
    residual: float  # largest violation of the form of a two-centre integral
    mended: bool  # whether they are others than those of the file


def cells_of(
    cell: NDArray[np.float64], positions: NDArray[np.float64], ij: NDArray[np.int64], vectors: NDArray[np.float64]
) -> tuple[NDArray[np.int64], float]:
    """Return the R of each edge (n, 3) that its vector means with the positions, and how far the worst is from one."""
    exact = np.linalg.solve(cell.T, (vectors - (positions[ij[:, 1]] - positions[ij[:, 0]])).T).T
    R = np.rint(exact)
    return R.astype(np.int64), float(np.abs(exact - R).max())


def true_positions(system: LCAOSystem) -> Found | None:
    """Return the positions that the overlap of one structure belongs to; None if no images of the atoms do.

    Tried are the positions as they stand, folded as ABACUS folds them, and then for each atom the neighbouring images
    of the folded one, which rounding at the border of the cell can choose.
    """
    overlap, cell = system.operator("overlap"), system.cells[0]
    stated = system.positions
    folded = system.structure().folded().positions
    for positions in (stated, folded):
        residual = float(two_centre_residual(overlap, _vectors(system, positions)).max(initial=0.0))
        if residual <= TOLERANCE:
            return Found(positions, residual, not np.allclose(positions, stated, atol=1e-5))
    images = _images(system, folded)
    if images is None:
        return None
    positions = folded + images @ cell
    residual = float(two_centre_residual(overlap, _vectors(system, positions)).max(initial=0.0))
    return Found(positions, residual, True) if residual <= TOLERANCE else None


def complete_up_to(system: LCAOSystem, cutoff_ang: float) -> tuple[float, int]:
    """Return the distance (Å) below which no pair is missing that should overlap, and how many up to a cutoff are.

    A pair should overlap if it is nearer than the farthest listed pair of the same elements that does.
    """
    overlap = system.operator("overlap")
    ij, R, distance = geometric_pairs(system, cutoff_ang)
    listed = set(map(tuple, np.hstack([system.pairs.ij, system.pairs.R]).tolist()))
    absent = np.array([key not in listed for key in map(tuple, np.hstack([ij, R]).tolist())], dtype=bool)
    reach: dict[tuple[int, ...], float] = {}
    for kind, far in zip(
        np.sort(system.numbers[system.pairs.ij[overlap.support]], axis=1).tolist(),
        system.distances[overlap.support].tolist(),
        strict=True,
    ):
        reach[tuple(kind)] = max(far, reach.get(tuple(kind), 0.0))
    limit = np.array([reach.get(tuple(kind), 0.0) for kind in np.sort(system.numbers[ij], axis=1).tolist()])
    missing = absent & (distance < limit - 1e-3)
    return float(distance[missing].min(initial=cutoff_ang)), int(missing.sum())


def at_home(system: LCAOSystem) -> tuple[LCAOSystem, bool] | None:
    """Return one structure's system with its atoms where the overlap says they are, folded, with R to match.

    The flag says whether that is elsewhere than stated; None if the overlap belongs to no images of the atoms.
    """
    found = true_positions(system)
    if found is None:
        return None
    moved = dataclasses.replace(system, positions=found.positions)
    inside = moved.structure().folded().positions
    cells = np.rint(np.linalg.solve(moved.cells[0].T, (inside - moved.positions).T).T).astype(np.int64)
    return rehomed(moved, cells), found.mended


def _vectors(system: LCAOSystem, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    i, j = system.pairs.ij.T
    return np.asarray(positions[j] + system.pairs.R @ system.cells[0] - positions[i])


def _images(system: LCAOSystem, positions: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Return a cell for each atom (n_atoms, 3) that makes all vectors right, atom 0 in the home cell."""
    overlap, cell = system.operator("overlap"), system.cells[0]
    steps = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    base = _vectors(system, positions)
    table = np.stack([two_centre_residual(overlap, base + step @ cell) for step in steps])  # (27, n_pairs)
    i, j = system.pairs.ij.T
    telling = overlap.support & (i != j)
    best: dict[tuple[int, int], NDArray[np.int64]] = {}
    for a, b in np.unique(system.pairs.ij[telling], axis=0).tolist():
        worst = table[:, telling & (i == a) & (j == b)].max(axis=1)
        k = int(np.argmin(worst))
        if worst[k] > TOLERANCE:
            return None
        best[a, b], best[b, a] = steps[k], -steps[k]
    found = {0: np.zeros(3, dtype=np.int64)}
    queue = deque([0])
    while queue:
        a = queue.popleft()
        for (one, b), step in best.items():
            if one == a and b not in found:
                found[b] = found[a] + step
                queue.append(b)
    return np.array([found.get(a, np.zeros(3, dtype=np.int64)) for a in range(len(system.numbers))])

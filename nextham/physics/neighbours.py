"""Which atoms are near each other, from geometry alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nextham.core import LCAOSystem


def geometric_pairs(
    system: LCAOSystem, cutoff_ang: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return all pairs of one structure at most so far apart, by plain enumeration: ij, R, distance (Å)."""
    cell, positions = system.cells[0], system.positions
    height = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    reach = np.ceil(cutoff_ang / height + 1).astype(int)
    axes = [np.arange(-n, n + 1) for n in reach]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    shifts = cells @ cell
    found = []
    for i in range(len(positions)):
        vectors = positions[None, i:] + shifts[:, None] - positions[i]
        distance = np.linalg.norm(vectors, axis=-1)
        c, j = np.nonzero(distance <= cutoff_ang)
        keep = (j > 0) | ((cells[c] @ [10**8, 10**4, 1]) >= 0)
        c, j = c[keep], j[keep]
        found.append((np.stack([np.full_like(j, i), j + i], axis=1), cells[c], distance[c, j]))
    ij, R, d = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return ij, R, d

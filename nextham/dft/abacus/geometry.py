"""Do the R labels of a matrix refer to the positions that were read?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import LCAOSystem, PairList, symbol
from nextham.core.pairs import is_canonical
from nextham.dft.engine import Cause, RunError

_STRONG_OVERLAP: Final = 1e-4  # blocks with an element above this belong to near pairs
_NORM_TOLERANCE: Final = 1e-3  # orbitals are normalised on a radial grid: on-site S_ii = 1
_REACH_SLACK_ANG: Final = 1e-4


def check_geometry(system: LCAOSystem, cutoffs_ang: Mapping[str, float]) -> None:
    """Check the overlap of one structure against its distances.

    The overlap of two atoms is there exactly when their orbitals meet. So a pair with a large overlap must be within
    the sum of the two radii (where known), and no nearer pair of the same two elements may lack a block. Positions
    that were not folded as ABACUS folds them, or another crystal's STRU, break this.

    Raises:
        RunError: naming the first pair that does not fit.
    """
    overlap = system.operator("overlap")
    largest = np.maximum.reduceat(np.abs(overlap.values[0]), overlap.block_ptr[:-1])
    _check_norm(system)
    kinds = np.sort(system.numbers[system.pairs.ij], axis=1)
    strong = largest > _STRONG_OVERLAP
    for kind in np.unique(kinds, axis=0):
        here = np.flatnonzero((kinds == kind).all(axis=1) & strong)
        if not len(here):
            continue
        p = here[np.argmax(system.distances[here])]
        reach = _reach(kind, cutoffs_ang)
        if reach is not None and system.distances[p] > reach + _REACH_SLACK_ANG:
            raise _mismatch(
                system,
                f"the pair {_name(system, system.pairs, int(p))} has an overlap of {largest[p]:.1e} at "
                f"{system.distances[p]:.3f} Å, though its orbitals end at {reach:.3f} Å",
            )
        near = _pairs_nearer(system, float(system.distances[p]) - _REACH_SLACK_ANG, kind)
        where = system.pairs.index_of(near)
        lacking = np.flatnonzero((where < 0) | (largest[where] == 0))
        if len(lacking):
            raise _mismatch(
                system,
                f"the pair {_name(system, near, int(lacking[0]))} has no overlap block, though a pair of the same "
                f"elements at {system.distances[p]:.3f} Å, farther away, has one",
            )


def _check_norm(system: LCAOSystem) -> None:
    overlap = system.operator("overlap")
    for p in np.flatnonzero(system.pairs.onsite):
        diagonal = np.diagonal(overlap.block(int(p))[0])
        off = np.abs(diagonal - 1).max()
        if off > _NORM_TOLERANCE:
            raise _mismatch(
                system, f"the on-site overlap of {_name(system, system.pairs, int(p))} differs from 1 by {off:.1e}"
            )
    if np.count_nonzero(system.pairs.onsite) != len(system.numbers):
        raise _mismatch(system, "an atom has no on-site block")


def _reach(kind: NDArray[np.int64], cutoffs_ang: Mapping[str, float]) -> float | None:
    radii = [cutoffs_ang.get(symbol(int(z))) for z in kind]
    return None if None in radii else float(sum(r for r in radii if r is not None))


def _pairs_nearer(system: LCAOSystem, distance_ang: float, kind: NDArray[np.int64]) -> PairList:
    """All pairs of two elements nearer than a distance, on-site ones excluded."""
    from vesin import NeighborList

    if distance_ang <= 0:
        return PairList(np.zeros((0, 2), np.int64), np.zeros((0, 3), np.int64), np.array([0, 0]))
    i, j, R = NeighborList(cutoff=distance_ang, full_list=True).compute(
        points=system.positions, box=system.cells[0], periodic=True, quantities="ijS"
    )
    ij, cells = np.stack([i, j], axis=1).astype(np.int64), np.asarray(R).astype(np.int64)
    keep = is_canonical(ij, cells) & (np.sort(system.numbers[ij], axis=1) == kind).all(axis=1)
    return PairList.of_one(ij[keep], cells[keep])


def _name(system: LCAOSystem, pairs: PairList, p: int) -> str:
    (i, j), R = pairs.ij[p].tolist(), tuple(pairs.R[p].tolist())
    return f"{symbol(int(system.numbers[i]))}{i + 1}-{symbol(int(system.numbers[j]))}{j + 1}, R = {R},"


def _mismatch(system: LCAOSystem, what: str) -> RunError:
    return RunError(
        Cause.INCONSISTENT,
        f"STRU and the overlap matrix disagree: {what}; read the STRU of this very run, unchanged",
    )

"""Errors of the matrix in the reference's eigenvectors, with the formula of the training loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from nextham.core import BlockMatrix, LCAOSystem
from nextham.physics import subspace
from nextham.physics.bloch import bloch_sums
from nextham.physics.eigen import solve
from nextham.physics.spin import spin_scalar
from nextham_bench.tasks import Tasks, tasks


@dataclasses.dataclass(frozen=True)
class SubspaceErrors:
    """Mean |C† E(k) C|, eV; None where there are no such levels."""

    p: float | None  # among the levels up to the cut
    pq: float | None  # between those and the levels above
    q: float | None  # among the levels above


def subspace_errors(
    system: LCAOSystem,
    predictions: Mapping[str, BlockMatrix],
    shifts: Mapping[str, float],
    *,
    fermi_ev: float,
    settings: Tasks | None = None,
) -> dict[str, SubspaceErrors]:
    """Measure predictions in the eigenvectors of the reference.

    As in the training loss, H and E = P - H - μ* S enter with their spin scalar parts h_0: spin-orbit coupling
    doubles every level, which would leave its eigenvectors open.

    Args:
        system: one structure with overlap and hamiltonian.
        predictions: column: Hamiltonian on the same pairs.
        shifts: column: μ* (eV) of the Gauge MAE.
        fermi_ev: Fermi level of the reference.
        settings: k points, cut and overlap filter.
    """
    settings = settings or tasks()
    task = settings.subspaces
    hamiltonians = [system.operator("hamiltonian"), *predictions.values()]
    matrices = [system.operator("overlap"), *(spin_scalar(matrix) for matrix in hamiltonians)]
    totals = {name: np.zeros((3, 2)) for name in predictions}  # of P, PQ, Q: Σ |C† E C| and number of elements
    for k in subspace.k_points(task.mesh, task.offset):  # one at a time: large structures fit in memory
        s, h, *guesses = (components[:, 0] for components in bloch_sums(system, matrices, k[None]))
        found = solve(h, s, vectors=True, overlap_filter=settings.bands.overlap_filter)
        low, high = subspace.low_and_high(found.energies, fermi_ev, task.cut_ev)
        for name, guess in zip(predictions, guesses, strict=True):
            size = np.abs(subspace.projected(guess - h - shifts[name] * s, found.vectors))
            totals[name] += np.array(subspace.sums(size, low, high))
    return {name: SubspaceErrors(*(float(x / n) if n else None for x, n in sums)) for name, sums in totals.items()}

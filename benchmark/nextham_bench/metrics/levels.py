"""The levels that are compared: of the reference and its predictions, on a mesh, on the standard path and at Γ."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, SpinLayout
from nextham.exceptions import InputError
from nextham.physics.bands import KMesh, band_path, fermi_level, shared_levels, spin_orbit_shifts
from nextham.physics.bloch import bloch_sums
from nextham.physics.eigen import Orthogonalised
from nextham.physics.spin import spin_scalar
from nextham_bench.tasks import BandsTask, tasks

_GAMMA: Final = np.zeros((1, 3))
_REFERENCE: Final = "reference"


@dataclasses.dataclass(frozen=True)
class Levels:
    """Levels of one Hamiltonian, eV ascending; NaN at the end of a row where S(k) was filtered."""

    mesh: NDArray[np.float64]  # (n_mesh, n_bands) at every point of the whole mesh, Γ first
    path: NDArray[np.float64]  # (n_path_k, n_bands) at every point of the standard path
    soc_shifts: NDArray[np.float64]  # (n_bands,) what spin-orbit coupling does to each level at Γ


@dataclasses.dataclass(frozen=True)
class Solved:
    """Levels of one structure."""

    reference: Levels
    predictions: dict[str, Levels]  # by column
    fermi: float  # eV, of the reference
    n_electrons: float
    of_mesh: NDArray[np.int64]  # (n_mesh,) which of the solved k points each mesh point has the levels of
    overlap_min: float  # smallest eigenvalue of S(k) on the mesh
    overlap_condition: float  # largest cond(S(k)) on the mesh, infinite where S(k) is not positive


def solved(system: LCAOSystem, predictions: Mapping[str, BlockMatrix], *, task: BandsTask | None = None) -> Solved:
    """Solve the reference and its predictions.

    Time reversal halves the mesh unless one of the operators may break it.

    Args:
        system: one structure with overlap and hamiltonian.
        predictions: column: Hamiltonian on the same pairs.
        task: window, mesh, path and overlap filter.

    Raises:
        InputError: if the record has neither a Fermi level nor an electron count.
    """
    task = task or tasks().bands
    hamiltonians = {_REFERENCE: system.operator("hamiltonian"), **predictions}
    breaks = SpinLayout.FULL in {matrix.layout for matrix in hamiltonians.values()}
    mesh = KMesh.of(task.mesh, time_reversal=not breaks)
    path = _path(system, task.path_spacing_inv_ang)
    # H0 has the narrowest numbers to differ from, so that it is the first
    names = sorted(hamiltonians, key=lambda name: name != "h0")
    ordered = [hamiltonians[name] for name in names]
    found = shared_levels(system, ordered, np.concatenate([mesh.k, path]), overlap_filter=task.overlap_filter)
    scalar = _scalar_levels(system, ordered, task.overlap_filter)
    levels = {}
    for name, energies, without in zip(names, found.energies, scalar, strict=True):
        on_mesh = energies[mesh.of_mesh]
        shifts = spin_orbit_shifts(on_mesh[:1], without)[0]
        levels[name] = Levels(on_mesh, energies[len(mesh.k) :], shifts)
    low, high = found.overlap_range[: len(mesh.k)].T
    reference = levels.pop(_REFERENCE)
    fermi, n_electrons = _filling(system, reference.mesh)
    condition = float("inf") if low.min() <= 0 else float((high / low).max())
    return Solved(reference, levels, fermi, n_electrons, mesh.of_mesh, float(low.min()), condition)


def _path(system: LCAOSystem, spacing_inv_ang: float) -> NDArray[np.float64]:
    """Return the k points of the standard path, none where the crystal has none (which the score counts)."""
    try:
        return band_path(system.structure(), spacing_inv_ang=spacing_inv_ang).k
    except InputError:
        return np.zeros((0, 3))


def _scalar_levels(
    system: LCAOSystem, hamiltonians: list[BlockMatrix], overlap_filter: float
) -> list[NDArray[np.float64]]:
    """Return the levels (1, n) at Γ of each spin scalar part."""
    matrices = [system.operator("overlap"), *(spin_scalar(matrix) for matrix in hamiltonians)]
    overlap, *parts = bloch_sums(system, matrices, _GAMMA)
    basis = Orthogonalised.of(overlap[:, 0], overlap_filter=overlap_filter)
    return [basis.solve(part[:, 0]).energies for part in parts]


def _filling(system: LCAOSystem, energies: NDArray[np.float64]) -> tuple[float, float]:
    """Return the Fermi level (eV) and number of electrons; one that is not recorded follows from the other."""
    meta = system.meta[0]
    fermi, n_electrons = meta.fermi_energy_ev, meta.n_electrons
    if n_electrons is not None:
        return (fermi_level(energies, n_electrons) if fermi is None else fermi), n_electrons
    if fermi is not None:
        return fermi, float((energies < fermi).sum(axis=1).mean())
    raise InputError(
        f"{meta.id} has neither a Fermi level nor a number of electrons, which band errors need; score with --no-bands"
    )

"""Bands: k points, eigenvalues over them, Fermi level and gap."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from nextham.core import LCAOSystem, Structure
from nextham.physics.bloch import bloch_sum, spinor_bloch_sum
from nextham.physics.eigen import OVERLAP_FILTER, Eigenproblem, solve

_BATCH_ELEMENTS = 2**24  # complex numbers per batch of Bloch sums: 256 MB


def monkhorst_pack(mesh: tuple[int, int, int], *, shift: float = 0.0) -> NDArray[np.float64]:
    """Return the Γ-centred mesh (n_k, 3) in [0, 1), first index slowest; ``shift`` in mesh steps."""
    axes = [(np.arange(n) + shift) / n for n in mesh]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


@dataclasses.dataclass(frozen=True, eq=False)
class KMesh:
    """A Γ-centred mesh, or one of each k and -k of it where time reversal gives both the same levels."""

    k: NDArray[np.float64]  # (n_k, 3) fractional
    weights: NDArray[np.float64]  # (n_k,) sum 1
    of_mesh: NDArray[np.int64]  # (n_mesh,) which k stands for each point of the whole mesh

    @classmethod
    def of(cls, mesh: tuple[int, int, int], *, time_reversal: bool = True) -> KMesh:
        """Return a mesh, halved by time reversal or whole."""
        k = monkhorst_pack(mesh)
        own = np.arange(len(k))
        other = own
        if time_reversal:
            steps = np.rint(k * np.array(mesh)).astype(np.int64)
            other = np.ravel_multi_index(tuple((-steps % np.array(mesh)).T), mesh)
        keep = own <= other
        place = np.cumsum(keep) - 1
        weights = np.where(own == other, 1.0, 2.0)[keep] / len(k)
        return cls(k[keep], weights, place[np.minimum(own, other)])

    @staticmethod
    def count(mesh: tuple[int, int, int]) -> int:
        """Return how many points time reversal leaves of a mesh, without making it.

        >>> KMesh.count((4, 3, 1)) == len(KMesh.of((4, 3, 1)).k)
        True
        """
        own_partner = math.prod(2 - n % 2 for n in mesh)  # 0, and 1/2 where the mesh is even
        return (math.prod(mesh) + own_partner) // 2


@dataclasses.dataclass(frozen=True)
class Levels:
    """Energies at k points, e.g. those that an engine printed."""

    k: NDArray[np.float64]  # (n_k, 3) fractional
    energies: NDArray[np.float64]  # (n_k, n_bands) eV, ascending


@dataclasses.dataclass(frozen=True)
class BandPath:
    """The standard path through the Brillouin zone of the given (not the standardised) cell."""

    k: NDArray[np.float64]  # (n_k, 3) fractional in the given cell
    x: NDArray[np.float64]  # (n_k,) length along the path, 1/Å
    ticks: tuple[tuple[float, str], ...]  # where the labelled points are


def band_path(structure: Structure, *, spacing_inv_ang: float = 0.05) -> BandPath:
    """Return the path of Hinuma et al., Comput. Mater. Sci. 128, 140 (2017), by seekpath."""
    import seekpath

    cell = (structure.cell, structure.fractional, structure.numbers)
    path = seekpath.get_explicit_k_path_orig_cell(cell, reference_distance=spacing_inv_ang)
    labels = path["explicit_kpoints_labels"]
    x = np.asarray(path["explicit_kpoints_linearcoord"])
    ticks: list[tuple[float, str]] = []
    for position, label in zip(x, labels, strict=True):
        if not label:
            continue
        name = label.replace("GAMMA", "Γ")
        if ticks and abs(ticks[-1][0] - position) < 1e-9:
            if name not in ticks[-1][1].split("|"):
                ticks[-1] = (ticks[-1][0], f"{ticks[-1][1]}|{name}")
        else:
            ticks.append((float(position), name))
    return BandPath(np.asarray(path["explicit_kpoints_rel"]), x, tuple(ticks))


def eigenproblem(
    system: LCAOSystem,
    k: NDArray[np.float64],
    *,
    operator: str = "hamiltonian",
    vectors: bool = False,
    overlap_filter: float = OVERLAP_FILTER,
) -> Eigenproblem:
    """Solve H(k) c = ε S(k) c for one structure in batches of bounded memory.

    Args:
        system: one structure with ``operator`` and ``overlap``.
        k: (n_k, 3) fractional.
        operator: ``"hamiltonian"`` or ``"h0"``.
        vectors: whether to return eigenvectors (spinor order: all ↑ orbitals, then all ↓).
        overlap_filter: see :func:`nextham.physics.eigen.solve`.
    """
    n = int(system.n_orb.sum())
    step = max(1, _BATCH_ELEMENTS // (8 * n * n))
    parts = []
    for begin in range(0, len(k), step):
        part = k[begin : begin + step]
        h = spinor_bloch_sum(system, operator, part)
        s = bloch_sum(system, "overlap", part)[:, 0]
        parts.append(solve(h, s, vectors=vectors, overlap_filter=overlap_filter))
    found = [p.vectors for p in parts if p.vectors is not None]
    return Eigenproblem(
        np.concatenate([p.energies for p in parts]),
        np.concatenate(found) if found else None,
        np.concatenate([p.overlap_range for p in parts]),
    )


def fermi_level(energies: NDArray[np.float64], n_electrons: float) -> float:
    """Return E_F (eV) of a uniform mesh: midway between the last filled and the first empty level.

    Each level holds one electron (spinor bands). For a metal this is the zero-temperature Fermi level
    of the mesh; for an insulator the middle of the gap.
    """
    levels = np.sort(energies[np.isfinite(energies)])
    filled = round(n_electrons * len(energies))
    return float((levels[filled - 1] + levels[min(filled, len(levels) - 1)]) / 2)


def gap(energies: NDArray[np.float64], n_electrons: float) -> float:
    """Return the (indirect) gap of a mesh in eV, 0 for a metal; n_electrons spinor bands are filled."""
    n = round(n_electrons)
    if abs(n - n_electrons) > 1e-6 or n >= energies.shape[1]:
        return 0.0
    return max(0.0, float(np.nanmin(energies[:, n]) - np.nanmax(energies[:, n - 1])))

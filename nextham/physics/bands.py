"""Bands: k points, eigenvalues over them, Fermi level and gap."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, Structure
from nextham.exceptions import InputError
from nextham.physics.bloch import bloch_sum, bloch_sums, spinor_bloch_sum
from nextham.physics.eigen import OVERLAP_FILTER, Eigenproblem, Orthogonalised, reduced, solve

_BATCH_ELEMENTS = 2**24  # complex numbers per batch of Bloch sums: 256 MB
_SHARED_ELEMENTS = 2**21  # the same where matrices are small and many: near the caches


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
    """Return the path of Hinuma et al., Comput. Mater. Sci. 128, 140 (2017), by seekpath.

    Raises:
        InputError: if no symmetry is found, not even the identity: atoms of one element lie on each other.
    """
    import seekpath
    from seekpath.hpkot import SymmetryDetectionError

    cell = (structure.cell, structure.fractional, structure.numbers)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a cell is a supercell, and what spglib will change
            path = seekpath.get_explicit_k_path_orig_cell(cell, reference_distance=spacing_inv_ang)
    except SymmetryDetectionError:
        raise InputError(f"{structure.formula} has no standard path: its symmetry cannot be found") from None
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


@dataclasses.dataclass(frozen=True)
class SharedLevels:
    """Levels of several Hamiltonians with one overlap."""

    energies: tuple[NDArray[np.float64], ...]  # of each Hamiltonian: (n_k, n_bands) eV ascending, NaN where filtered
    overlap_range: NDArray[np.float64]  # (n_k, 2) smallest and largest eigenvalue of S(k)


def shared_levels(
    system: LCAOSystem,
    hamiltonians: Sequence[BlockMatrix],
    k: NDArray[np.float64],
    *,
    overlap_filter: float = OVERLAP_FILTER,
) -> SharedLevels:
    """Solve H(k) c = ε S(k) c for several Hamiltonians of one structure: those of :func:`eigenproblem`, with less work.

    S(k) is diagonalised once. Bloch sums and X† H X are linear, so that they are taken of the first Hamiltonian and
    of what the others differ by: one real row of numbers where spin-orbit coupling enters all of them alike.

    Args:
        system: one structure with its overlap.
        hamiltonians: on the pairs of the system.
        k: (n_k, 3) fractional.
        overlap_filter: see :func:`nextham.physics.eigen.solve`.
    """
    first, *others = hamiltonians
    matrices = [system.operator("overlap"), first, *(_slim(other - first) for other in others)]
    n, n_components = int(system.n_orb.sum()), sum(len(matrix.values) for matrix in matrices)
    step = max(1, _SHARED_ELEMENTS // ((2 * n_components + 8) * n * n))
    parts = []
    for begin in range(0, len(k), step):
        overlap, *components = bloch_sums(system, matrices, k[begin : begin + step])
        basis = Orthogonalised.of(overlap[:, 0], overlap_filter=overlap_filter)
        parts.append(SharedLevels(_levels(basis, components), basis.overlap_range))
    energies = (np.concatenate(found) for found in zip(*(part.energies for part in parts), strict=True))
    return SharedLevels(tuple(energies), np.concatenate([part.overlap_range for part in parts]))


def _slim(difference: BlockMatrix) -> BlockMatrix:
    """Return the same operator as a spin scalar where it is one."""
    values = difference.values
    if len(values) == 1 or values[1:].any() or values[0].imag.any():
        return difference
    return difference.with_values(values[:1].real)


def _levels(basis: Orthogonalised, components: list[NDArray[np.complex128]]) -> tuple[NDArray[np.float64], ...]:
    """Solve for the first operator and for it plus each of the others, all given by their Pauli components."""
    found = tuple(np.full((len(components[0]), 2 * basis.n), np.nan) for _ in components)
    for q, x in basis.groups:
        m = x.shape[-1]
        total = np.zeros((len(x), 2 * m, 2 * m), dtype=np.complex128)
        uu, dd, du = total[:, :m, :m], total[:, m:, m:], total[:, m:, :m]  # ↑↓ stays empty: it is not read
        small = [_spin_blocks(part[q], x) for part in components]
        for number, (energies, change) in enumerate(zip(found, small, strict=True)):
            for target, base, more in zip((uu, dd, du), small[0], change, strict=True):
                np.add(base, more if number else 0.0, out=target)
            energies[q, : 2 * m] = np.linalg.eigvalsh(total, UPLO="L")
    return found


def _spin_blocks(
    components: NDArray[np.complex128], x: NDArray[np.complex128]
) -> tuple[NDArray[np.complex128] | complex, ...]:
    """Return ↑↑, ↓↓ and ↓↑ of X† M X from Pauli components (n_k, 1 or 4, n, n), of which some may be zero."""
    found = [reduced(part, x) if part.any() else 0.0 for part in np.moveaxis(components, 1, 0)]
    if len(found) == 1:
        return found[0], found[0], 0.0
    h, h_x, h_y, h_z = found
    return h + h_z, h - h_z, h_x + 1j * h_y


def fermi_level(energies: NDArray[np.float64], n_electrons: float) -> float:
    """Return E_F (eV) of a uniform mesh: midway between the last filled and the first empty level.

    Each level holds one electron (spinor bands). For a metal this is the zero-temperature Fermi level
    of the mesh; for an insulator the middle of the gap.
    """
    levels = np.sort(energies[np.isfinite(energies)])
    filled = round(n_electrons * len(energies))
    return float((levels[filled - 1] + levels[min(filled, len(levels) - 1)]) / 2)


def band_edges(energies: NDArray[np.float64], n_electrons: float) -> tuple[float, float] | None:
    """Return the highest level of the last filled band and the lowest of the first empty one, (VBM, CBM) in eV.

    n_electrons spinor bands are filled at each k. None where that is no whole number, or no band is empty. The edges
    of a metal overlap: VBM > CBM.
    """
    n = round(n_electrons)
    if abs(n - n_electrons) > 1e-6 or not 0 < n < energies.shape[1] or np.isnan(energies[:, n]).all():
        return None
    return float(np.nanmax(energies[:, n - 1])), float(np.nanmin(energies[:, n]))


def gap(energies: NDArray[np.float64], n_electrons: float) -> float:
    """Return the (indirect) gap of a mesh in eV, 0 for a metal; n_electrons spinor bands are filled."""
    edges = band_edges(energies, n_electrons)
    return 0.0 if edges is None else max(0.0, edges[1] - edges[0])


def dos_distance(
    energies: NDArray[np.float64], reference: NDArray[np.float64], window_ev: tuple[float, float]
) -> float:
    """Return ∫ |N(ε) - N_ref(ε)| dε over a window, per reference level in it (eV).

    N(ε) counts the levels below ε at all k: the integrated density of states. This is the Wasserstein distance of
    the levels when those outside are moved to the edges of the window.

    Args:
        energies: (n_k, n_bands) eV, NaN where filtered.
        reference: as many.
        window_ev: lower and upper edge; at least one reference level lies between.
    """
    from scipy.stats import wasserstein_distance  # costs every command that only needs bands a third of a second

    low, high = window_ev
    moved = (levels[np.isfinite(levels)].clip(low, high) for levels in (energies, reference))
    inside = np.count_nonzero((reference >= low) & (reference <= high))
    return float(wasserstein_distance(*moved) * np.isfinite(reference).sum() / inside)


def spin_orbit_shifts(energies: NDArray[np.float64], scalar: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far spin-orbit coupling moves each level, (n_k, 2 n) eV.

    δ_n = ε_n(H) - ε_n(h_0 σ_0): in ascending order, levels of the spinor matrix minus those of its spin scalar part,
    each of which counts twice. max δ - min δ over a multiplet that is alone is its splitting to first order.

    Args:
        energies: (n_k, 2 n) eV of the spinor matrix.
        scalar: (n_k, n) eV of h_0.
    """
    return np.asarray(energies - np.repeat(scalar, 2, axis=1))

"""Gauge MAE: mean error of matrix elements after the energy shift that suits the structure best.

For one structure, reference H, prediction P, overlap S:

    μ* = Re Σ conj(S) (P - H) / Σ |S|²   over every block of the structure, in either protocol
    E  = P - H - μ* S
    Gauge MAE of a spin block and part = mean of |part(E)| over the counted elements of the full matrix
    overall = mean of |E| over the counted elements of all four spin blocks
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, OrbitalBasis, symbol
from nextham.physics.align import aligned
from nextham.physics.errors import moduli
from nextham_bench.tasks import GaugeMaeTask, tasks

Protocol = Literal["full", "paper"]
PROTOCOLS: Final[tuple[Protocol, ...]] = ("full", "paper")
COLUMNS: Final = ("zero", "h0", "model")
TOTAL: Final = "total"
BREAKDOWNS: Final = (
    "element",
    "element_onsite",
    "element_offsite",
    "element_pair",
    "orbital_pair",
    "distance",
    "overlap",
)
_LETTERS = "spdfghi"


@dataclasses.dataclass(frozen=True)
class Tally:
    """Summed errors of some matrix elements."""

    count: int  # elements of one spin block of the full matrix, both directions of each pair
    sums: NDArray[np.float64]  # (n_columns, 3, 4) eV: parts real, imag, modulus of spin blocks uu, ud, du, dd


@dataclasses.dataclass(frozen=True)
class GaugeErrors:
    """Everything the Gauge MAE needs of one structure."""

    shifts: dict[str, float]  # column: μ* (eV)
    tallies: dict[Protocol, dict[str, dict[str, Tally]]]  # protocol: breakdown: label


@dataclasses.dataclass(frozen=True)
class _Cells:
    """Sums over the elements of each (pair, l_i, l_j): every breakdown is a sum of these."""

    pair: NDArray[np.int64]  # (n_cells,)
    l: NDArray[np.int64]  # (n_cells, 2)
    count: NDArray[np.int64]  # (n_cells,)
    sums: NDArray[np.float64]  # (n_cells, n_columns, 3, 4)


def gauge_errors(system: LCAOSystem, prediction: BlockMatrix) -> GaugeErrors:
    """Measure a prediction, H0 and zero against the Hamiltonian of one structure.

    Args:
        system: one structure with overlap, h0 and hamiltonian.
        prediction: predicted Hamiltonian on the same pairs.
    """
    overlap, reference, h0 = (system.operator(name) for name in ("overlap", "hamiltonian", "h0"))
    shifts, sums = {}, []
    for column, matrix in zip(COLUMNS, (0.0 * reference, h0, prediction), strict=True):
        error, shifts[column] = aligned(matrix - reference, overlap)
        sums.append(_cell_sums(system, moduli(error)))  # one column at a time: large structures fit in memory
    cells = _cells(system, np.stack(sums, axis=1))
    tallies = {protocol: _tallies(system, cells, counted_pairs(system, protocol)) for protocol in PROTOCOLS}
    return GaugeErrors(shifts, tallies)


def counted_pairs(system: LCAOSystem, protocol: Protocol, *, task: GaugeMaeTask | None = None) -> NDArray[np.bool_]:
    """Return which pairs of one structure a protocol counts, (n_pairs,).

    ``full``: a non-zero block in H, H0 or S. ``paper``: nearer than 8 Å, non-zero in both H and H0.
    """
    h, h0, s = (system.operator(name).support for name in ("hamiltonian", "h0", "overlap"))
    if protocol == "full":
        return h | h0 | s
    return h & h0 & (system.distances < (task or tasks().gauge_mae).paper_cutoff_ang)


def _cells(system: LCAOSystem, sums: NDArray[np.float64]) -> _Cells:
    """Return the cells that belong to sums (n_cells, n_columns, 3, 4) in the order of :func:`_cell_sums`."""
    pair, l, count = [], [], []
    for group in system.operator("hamiltonian").groups:
        (l_i, _, size_i), (l_j, _, size_j) = (_l_segments(system.basis, z) for z in group.elements)
        n = len(group.pairs)
        pair.append(np.repeat(group.pairs, len(l_i) * len(l_j)))
        l.append(np.tile(np.stack(np.meshgrid(l_i, l_j, indexing="ij"), axis=-1).reshape(-1, 2), (n, 1)))
        weight = system.pairs.multiplicity[group.pairs]
        count.append((weight[:, None] * np.outer(size_i, size_j).reshape(-1)).reshape(-1))
    return _Cells(np.concatenate(pair), np.concatenate(l), np.concatenate(count), sums)


def _cell_sums(system: LCAOSystem, errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum errors (3, 4, n_values) over each (pair, l_i, l_j), both directions: (n_cells, 3, 4)."""
    sums = []
    for group in system.operator("hamiltonian").groups:
        (_, start_i, _), (_, start_j, _) = (_l_segments(system.basis, z) for z in group.elements)
        blocks = errors[..., group.index]  # (3, 4, n, n_orb_i, n_orb_j)
        reduced = np.add.reduceat(np.add.reduceat(blocks, start_j, axis=-1), start_i, axis=-2)
        weighted = reduced * system.pairs.multiplicity[group.pairs][:, None, None]
        sums.append(np.moveaxis(weighted.reshape(3, 4, -1), -1, 0))
    return np.concatenate(sums)


def _l_segments(basis: OrbitalBasis, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the different l of an element, and where each starts and how many orbitals it has."""
    shells = np.array(basis.shells(number))
    l_of_orbital = np.repeat(shells, 2 * shells + 1)
    l, start, size = np.unique(l_of_orbital, return_index=True, return_counts=True)
    return l, start, size


def _tallies(system: LCAOSystem, cells: _Cells, counted: NDArray[np.bool_]) -> dict[str, dict[str, Tally]]:
    keep = np.flatnonzero(counted[cells.pair])
    table = np.column_stack([cells.count[keep], cells.sums[keep].reshape(len(keep), -1)])
    out = {TOTAL: {TOTAL: _tally(table.sum(axis=0))}}
    for name, (labels, of_cell) in _labels(system, cells).items():
        # One row per label, ones where a cell belongs to it; a cell may have several labels or none.
        rows, columns = of_cell[:, keep], np.tile(np.arange(len(keep)), (len(of_cell), 1))
        held = rows >= 0
        ones = np.ones(int(held.sum()))
        indicator = scipy.sparse.csr_matrix((ones, (rows[held], columns[held])), shape=(len(labels), len(keep)))
        summed = indicator @ table
        out[name] = {label: _tally(row) for label, row in zip(labels, summed, strict=True) if row[0] > 0}
    return out


def _tally(row: NDArray[np.float64]) -> Tally:
    return Tally(round(row[0]), row[1:].reshape(len(COLUMNS), 3, 4))


def _labels(system: LCAOSystem, cells: _Cells) -> dict[str, tuple[list[str], NDArray[np.int64]]]:
    """Return for each breakdown its labels and which of them each cell has, (n_labels_per_cell, n_cells), -1 none."""
    elements, z = np.unique(system.numbers, return_inverse=True)
    names = [symbol(int(number)) for number in elements]
    z_i, z_j = z[system.pairs.ij].T
    onsite = system.pairs.onsite
    either = np.stack([z_i, np.where(z_i == z_j, -1, z_j)])
    pair_code = np.minimum(z_i, z_j) * len(names) + np.maximum(z_i, z_j)
    low, high = np.sort(cells.l, axis=1).T
    edges = tasks().gauge_mae.distance_edges_ang
    bins = np.where(onsite, 0, 1 + np.digitize(system.distances, edges))
    by_pair: Mapping[str, tuple[list[str], NDArray[np.int64]]] = {
        "element": (names, either),
        "element_onsite": (names, np.where(onsite, z_i, -1)[None]),
        "element_offsite": (names, np.where(onsite, -1, either)),
        "element_pair": ([f"{a}-{b}" for a in names for b in names], pair_code[None]),
        "distance": (distance_labels(edges), bins[None]),
        "overlap": (["H-only", "overlapping"], system.operator("overlap").support.astype(np.int64)[None]),
    }
    found = {name: (labels, code[:, cells.pair]) for name, (labels, code) in by_pair.items()}
    letters = [f"{a}-{b}" for a in _LETTERS for b in _LETTERS]
    found["orbital_pair"] = (letters, (low * len(_LETTERS) + high)[None])
    return found


def distance_labels(edges_ang: tuple[float, ...]) -> list[str]:
    """Return the names of the distance bins.

    >>> distance_labels((2.0, 4.0))
    ['on-site', '0-2 Å', '2-4 Å', '> 4 Å']
    """
    starts = (0.0, *edges_ang[:-1])
    return ["on-site", *(f"{a:g}-{b:g} Å" for a, b in zip(starts, edges_ang, strict=True)), f"> {edges_ang[-1]:g} Å"]

"""Gauge MAE: mean error of matrix elements after the energy shift that suits the structure best.

For one structure, reference H, prediction P, overlap S:

    μ* = Re Σ conj(S) (P - H) / Σ |S|²   over every block of the structure, in either protocol
    E  = P - H - μ* S
    Gauge MAE of a spin block and part = mean of |part(E)| over the counted elements of the full matrix
    overall = mean of |E| over the counted elements of all four spin blocks

Errors are summed once, into a table by elements, protocol, distance, overlap and shells; every breakdown is a sum
over some of its axes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, OrbitalBasis, PairList, SpinLayout, symbol
from nextham.core.blocks import most_general, widened
from nextham.core.pairs import is_canonical
from nextham.physics.align import energy_shifts
from nextham.physics.errors import distinct_moduli
from nextham_bench.tasks import GaugeMaeTask, tasks

Protocol = Literal["full", "paper"]
PROTOCOLS: Final[tuple[Protocol, ...]] = ("full", "paper")
COLUMNS: Final = ("zero", "h0", "model")
OVERLAP: Final = ("H-only", "overlapping")
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
_OVERALL, _UU_REAL = range(2)


@dataclasses.dataclass(frozen=True)
class Total:
    """Summed errors of all counted matrix elements."""

    count: int  # elements of one spin block of the full matrix, both directions of each pair
    sums: tuple[tuple[tuple[float, ...], ...], ...]  # [column][part][block] eV: real, imag, modulus of uu, ud, du, dd


@dataclasses.dataclass(frozen=True)
class Tally:
    """Summed errors of some matrix elements."""

    count: int  # as in the total
    overall: tuple[float, ...]  # by column, eV: modulus, mean of the four spin blocks
    uu_real: tuple[float, ...]  # by column, eV: real part of ↑↑


@dataclasses.dataclass(frozen=True)
class GaugeErrors:
    """Everything the Gauge MAE needs of one structure; as small for a large one."""

    shifts: dict[str, float]  # column: μ* (eV)
    products: tuple[tuple[float, ...], ...]  # [column][column] Re Σ conj(E) E' over listed numbers, eV²
    totals: dict[Protocol, Total]
    tallies: dict[Protocol, dict[str, dict[str, Tally]]]  # protocol: breakdown: label


@dataclasses.dataclass(frozen=True)
class _Cells:
    """Sums by protocol, distance bin (0: on-site), overlap and l of both shells, for one ordered pair of elements."""

    l: tuple[list[int], list[int]]  # what the axes of shells stand for
    count: NDArray[np.float64]  # (2, n_bins, 2, n_l_i, n_l_j)
    sums: NDArray[np.float64]  # (2, n_bins, 2, n_l_i, n_l_j, n_columns, 3, 4)


def gauge_errors(system: LCAOSystem, prediction: BlockMatrix) -> GaugeErrors:
    """Measure a prediction, H0 and zero against the Hamiltonian of one structure.

    Args:
        system: one structure with overlap, h0 and hamiltonian.
        prediction: predicted Hamiltonian on the same pairs.
    """
    pairs_of_paper = near_pairs(system)
    every = system.pairs.union(pairs_of_paper)
    system, prediction = system.on(every), prediction.on(every)
    in_paper = pairs_of_paper.index_of(every) >= 0
    overlap, reference, h0 = (system.operator(name) for name in ("overlap", "hamiltonian", "h0"))
    own, of_h0, of_model = energy_shifts([reference, h0, prediction], overlap)
    shifts = (-own, of_h0 - own, of_model - own)
    products = np.zeros((len(COLUMNS), len(COLUMNS)))
    table: dict[tuple[int, int], _Cells] = {}
    for (i, j), pairs in _runs(system):  # of one pair of atoms at a time: what is made on the way stays in caches
        values = slice(overlap.block_ptr[pairs.start], overlap.block_ptr[pairs.stop])
        s, h, p0, p = (matrix.values[:, values] for matrix in (overlap, reference, h0, prediction))
        errors = [_error(guess, h, mu * s[0]) for guess, mu in zip((None, p0, p), shifts, strict=True)]
        products += _products(errors)
        supports = [_support(x, pairs) for x in (h, p0, s)]
        codes = _codes(system, pairs, (np.logical_or.reduce(supports), in_paper[pairs]), supports[2])
        elements = int(system.numbers[i]), int(system.numbers[j])
        if elements not in table:
            table[elements] = _empty(system.basis, elements)
        _add(table[elements], [_segments(system.basis, z) for z in elements], codes, errors)
    totals = {protocol: _total(table, p) for p, protocol in enumerate(PROTOCOLS)}
    tallies = {protocol: _tallies(table, p) for p, protocol in enumerate(PROTOCOLS)}
    kept = tuple(tuple(row) for row in products.tolist())
    return GaugeErrors(dict(zip(COLUMNS, shifts, strict=True)), kept, totals, tallies)


def counted_pairs(system: LCAOSystem, protocol: Protocol) -> NDArray[np.bool_]:
    """Return which pairs of one structure a protocol counts, (n_pairs,).

    ``full``: a non-zero block in H, H0 or S. ``paper``: those of :func:`near_pairs`.
    """
    if protocol == "paper":
        return np.asarray(near_pairs(system).index_of(system.pairs) >= 0)
    h, h0, s = (system.operator(name).support for name in ("hamiltonian", "h0", "overlap"))
    return np.asarray(h | h0 | s)


def near_pairs(system: LCAOSystem, *, task: GaugeMaeTask | None = None) -> PairList:
    """Return the pairs that the protocol ``paper`` counts: nearer than 8 Å, in cells R that both H and H0 hold.

    A file of matrices holds a cell R when any block of it is not zero, and then all its blocks, zeros included: what
    the published evaluation counts. So pairs that the system does not list can be among them. Which cell an atom is in
    follows from the positions, folded as in the store.
    """
    cells = [_cells_of(system.pairs.R[system.operator(name).support]) for name in ("hamiltonian", "h0")]
    held = np.array(sorted(set.intersection(*cells)), dtype=np.int64).reshape(-1, 3)
    cutoff = (task or tasks().gauge_mae).paper_cutoff_ang
    x = system.positions
    found = []
    for R in held:
        i, j = np.nonzero(np.linalg.norm(x[None, :] + R @ system.cells[0] - x[:, None], axis=2) < cutoff)
        found.append(np.column_stack([i, j, np.broadcast_to(R, (len(i), 3))]))
    keys = np.concatenate(found) if found else np.zeros((0, 5), dtype=np.int64)
    keys = keys[is_canonical(keys[:, :2], keys[:, 2:])]
    return PairList.of_one(keys[:, :2], keys[:, 2:])


def _cells_of(R: NDArray[np.int64]) -> set[tuple[int, ...]]:
    return {tuple(row) for row in np.concatenate([R, -R]).tolist()}


def _runs(system: LCAOSystem) -> Iterator[tuple[tuple[int, int], slice]]:
    """Yield each pair of atoms (i, j) with the consecutive pairs that are of them."""
    starts = np.flatnonzero(np.r_[True, np.diff(system.pairs.ij, axis=0).any(axis=1)])
    for begin, end in zip(starts, np.r_[starts[1:], system.pairs.n_pairs], strict=True):
        i, j = system.pairs.ij[begin].tolist()
        yield (i, j), slice(int(begin), int(end))


def _error(guess: NDArray[Any] | None, h: NDArray[Any], shift: NDArray[np.float64]) -> NDArray[Any]:
    """Return P - H - μS as Pauli components, without those that are zero where only h_0 is left."""
    if guess is None:
        error = -h
    else:
        layout = most_general(SpinLayout.of(guess), SpinLayout.of(h))
        error = widened(guess, layout) - widened(h, layout)
    if len(error) == 4 and not error[1:].any() and not error[0].imag.any():
        error = error[:1].real
    error[0] -= shift
    return error


def _products(errors: list[NDArray[Any]]) -> NDArray[np.float64]:
    """Return Re Σ conj(E) E' of each two errors, summed over their Pauli components."""
    return np.array([[_product(a, b) for b in errors] for a in errors])


def _product(a: NDArray[Any], b: NDArray[Any]) -> float:
    if min(len(a), len(b)) == 1:
        return float(np.vdot(a[0].real, b[0].real))
    layout = most_general(SpinLayout.of(a), SpinLayout.of(b))
    return float(np.vdot(widened(a, layout), widened(b, layout)).real)


def _support(values: NDArray[Any], pairs: slice) -> NDArray[np.bool_]:
    """Return which blocks of a run have any non-zero number."""
    blocks = values.reshape(len(values), pairs.stop - pairs.start, -1)
    found = np.asarray((blocks[:, :, 0] != 0).any(axis=0))  # enough for nearly all
    rest = np.flatnonzero(~found)
    found[rest] = (blocks[:, rest] != 0).any(axis=(0, 2))
    return found


def _codes(
    system: LCAOSystem, pairs: slice, counted: tuple[NDArray[np.bool_], ...], s: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return how often each block of a run counts under each protocol, distance bin and overlap, (2, n_bins, 2, n)."""
    distances, weight = system.distances[pairs], system.pairs.multiplicity[pairs]
    edges = tasks().gauge_mae.distance_edges_ang
    bins = np.where(system.pairs.onsite[pairs], 0, 1 + np.digitize(distances, edges))
    out = np.zeros((len(PROTOCOLS), len(edges) + 2, 2, len(bins)))
    for p, mask in enumerate(counted):
        chosen = np.flatnonzero(mask)
        out[p, bins[chosen], s[chosen].astype(np.int64), chosen] = weight[chosen]
    return out


def _add(
    cells: _Cells,
    segments: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
    codes: NDArray[np.float64],
    errors: list[NDArray[Any]],
) -> None:
    """Add the blocks of one run."""
    (start_i, size_i), (start_j, size_j) = segments
    used = np.flatnonzero(codes.any(axis=-1))  # of all protocols, bins and overlaps
    weights = codes.reshape(-1, codes.shape[-1])[used]
    cells.count.reshape(-1, len(size_i), len(size_j))[used] += weights.sum(axis=1)[:, None, None] * np.outer(
        size_i, size_j
    )
    sums = cells.sums.reshape(-1, *cells.sums.shape[3:])
    for column, error in enumerate(errors):
        numbers, share = distinct_moduli(error)
        blocks = weights @ numbers.reshape(len(numbers), codes.shape[-1], -1)  # (n_distinct, n_used, n_values)
        blocks = blocks.reshape(len(numbers), len(used), int(size_i.sum()), int(size_j.sum()))
        reduced = np.add.reduceat(np.add.reduceat(blocks, start_j, axis=-1), start_i, axis=-2)
        sums[used, :, :, column] += np.tensordot(reduced, share, axes=(0, 0))


def _segments(basis: OrbitalBasis, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each l of an element starts, and how many orbitals it has."""
    shells = np.array(basis.shells(number))
    _, start, size = np.unique(np.repeat(shells, 2 * shells + 1), return_index=True, return_counts=True)
    return start, size


def _empty(basis: OrbitalBasis, elements: tuple[int, int]) -> _Cells:
    l_i, l_j = (sorted(set(basis.shells(z))) for z in elements)
    shape = (len(PROTOCOLS), len(tasks().gauge_mae.distance_edges_ang) + 2, len(OVERLAP), len(l_i), len(l_j))
    return _Cells((l_i, l_j), np.zeros(shape), np.zeros((*shape, len(COLUMNS), 3, 4)))


def _total(table: dict[tuple[int, int], _Cells], p: int) -> Total:
    count = sum(float(cells.count[p].sum()) for cells in table.values())
    sums = sum(cells.sums[p].sum(axis=tuple(range(4))) for cells in table.values())
    return Total(round(count), tuple(tuple(tuple(row) for row in part) for part in np.asarray(sums).tolist()))


def _tallies(table: dict[tuple[int, int], _Cells], p: int) -> dict[str, dict[str, Tally]]:
    """Sum the table into every breakdown of one protocol."""
    out: dict[str, dict[str, NDArray[np.float64]]] = {name: {} for name in BREAKDOWNS}
    for elements, cells in table.items():
        overall, uu_real = cells.sums[p, ..., 2, :].mean(axis=-1), cells.sums[p, ..., 0, 0]
        # (n_bins, 2, n_l_i, n_l_j, 1 + 2 n_columns): count, overall and ↑↑ real by column
        rows = np.concatenate([cells.count[p][..., None], overall, uu_real], axis=-1)
        for name, label, part in _parts(elements, cells.l, rows):
            found = out[name].setdefault(label, np.zeros(rows.shape[-1]))
            found += part.reshape(-1, rows.shape[-1]).sum(axis=0)
    return {name: {label: _tally(row) for label, row in labels.items() if row[0] > 0} for name, labels in out.items()}


def _parts(
    elements: tuple[int, int], l: tuple[list[int], list[int]], rows: NDArray[np.float64]
) -> Iterator[tuple[str, str, NDArray[np.float64]]]:
    """Yield (breakdown, label, part of the table) of one pair of elements; an element pair counts for both."""
    first, second = (symbol(z) for z in sorted(elements))
    for name in sorted({first, second}):
        yield "element", name, rows
        yield "element_onsite", name, rows[:1]
        yield "element_offsite", name, rows[1:]
    yield "element_pair", f"{first}-{second}", rows
    for b, label in enumerate(distance_labels(tasks().gauge_mae.distance_edges_ang)):
        yield "distance", label, rows[b]
    for s, label in enumerate(OVERLAP):
        yield "overlap", label, rows[:, s]
    for a, b in np.ndindex(rows.shape[2:4]):
        low, high = sorted((l[0][a], l[1][b]))
        yield "orbital_pair", f"{_LETTERS[low]}-{_LETTERS[high]}", rows[:, :, a, b]


def _tally(row: NDArray[np.float64]) -> Tally:
    n = len(COLUMNS)
    return Tally(round(row[0]), tuple(row[1 : 1 + n].tolist()), tuple(row[1 + n :].tolist()))


def distance_labels(edges_ang: tuple[float, ...]) -> list[str]:
    """Return the names of the distance bins.

    >>> distance_labels((2.0, 4.0))
    ['on-site', '0-2 Å', '2-4 Å', '> 4 Å']
    """
    starts = (0.0, *edges_ang[:-1])
    return ["on-site", *(f"{a:g}-{b:g} Å" for a, b in zip(starts, edges_ang, strict=True)), f"> {edges_ang[-1]:g} Å"]

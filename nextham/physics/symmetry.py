"""What leaves the physics unchanged: rotations, inversion, order of atoms, choice of home cell, supercells."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from nextham.core import BlockMatrix, LCAOSystem, PairList, SpinLayout, Structure
from nextham.core.pairs import is_canonical
from nextham.physics.harmonics import rotation_matrix


def rotated(system: LCAOSystem, orthogonal: NDArray[np.float64]) -> LCAOSystem:
    """Return the systems moved by r -> Q r, with blocks in the harmonics of the fixed axes.

    M_ij -> D_i M_ij D_jᵀ for every Pauli component, and the Pauli vector turns as the axial vector
    h -> det(Q) Q h.
    """
    q = np.asarray(orthogonal, dtype=np.float64)
    turn = {z: scipy.linalg.block_diag(*(rotation_matrix(l, q) for l in system.basis.shells(z))) for z in system.basis}
    operators = {}
    for name in system.operators:
        matrix = system.operator(name)
        values = np.array(matrix.values)
        for group in matrix.groups:
            d_i, d_j = (turn[z] for z in group.elements)
            values[:, group.index] = d_i @ matrix.values[:, group.index] @ d_j.T
        if len(values) == 4:
            values[1:] = np.linalg.det(q) * q @ values[1:]
        operators[name] = values
    return dataclasses.replace(system, positions=system.positions @ q.T, cells=system.cells @ q.T, operators=operators)


def permuted(system: LCAOSystem, order: ArrayLike) -> LCAOSystem:
    """Return one structure's system with its atoms in another order: new atom a is old atom order[a]."""
    order = np.asarray(order, dtype=np.int64)
    new = np.argsort(order)
    return _relabelled(
        system, system.numbers[order], system.positions[order], system.cells, new[system.pairs.ij], system.pairs.R
    )


def rehomed(system: LCAOSystem, cells: ArrayLike) -> LCAOSystem:
    """Return one structure's system with each atom represented by its image in another cell (n_atoms, 3)."""
    shift = np.asarray(cells, dtype=np.int64)
    i, j = system.pairs.ij.T
    positions = system.positions + shift @ system.cells[0]
    return _relabelled(
        system, system.numbers, positions, system.cells, system.pairs.ij, system.pairs.R + shift[i] - shift[j]
    )


def supercell(system: LCAOSystem, repeats: tuple[int, int, int]) -> LCAOSystem:
    """Return one structure's system folded into an n1 x n2 x n3 supercell."""
    n = np.array(repeats)
    corners = np.stack(np.meshgrid(*(np.arange(m) for m in repeats), indexing="ij"), axis=-1).reshape(-1, 3)
    n_atoms = len(system.numbers)
    positions = (corners @ system.cells[0])[:, None] + system.positions[None]
    home = np.repeat(np.arange(len(corners)), system.pairs.n_pairs)
    target = corners[home] + np.tile(system.pairs.R, (len(corners), 1))
    where = np.ravel_multi_index(tuple((target % n).T), repeats)
    ij = np.tile(system.pairs.ij, (len(corners), 1)) + n_atoms * np.stack([home, where], axis=1)
    copies = dataclasses.replace(
        system,
        numbers=np.tile(system.numbers, len(corners)),
        positions=positions.reshape(-1, 3),
        cells=system.cells * n[:, None],
        atom_ptr=np.array([0, n_atoms * len(corners)]),
        pairs=PairList.of_one([], []),
        operators={},
    )
    values = {name: np.tile(v, len(corners)) for name, v in system.operators.items()}
    return from_directed(copies, ij, target // n, values)


def from_directed(
    system: LCAOSystem, ij: NDArray[np.int64], R: NDArray[np.int64], operators: dict[str, NDArray[Any]]
) -> LCAOSystem:
    """Return one structure's system with operators given on pairs in any order and direction, each once.

    Args:
        system: gives atoms, basis and provenance; its own pairs and operators are replaced.
        ij: (n, 2) atoms, of which either (i, j, R) or (j, i, -R) is given.
        R: (n, 3) cells.
        operators: name to values (n_spin_components, n_values), blocks in the order of ``ij``.
    """
    ij, R = np.asarray(ij), np.asarray(R)
    flip = ~is_canonical(ij, R)
    n_orb = system.basis.n_orb_of(system.numbers)
    rows, columns = n_orb[ij].T
    ij = np.where(flip[:, None], ij[:, ::-1], ij)
    R = np.where(flip[:, None], -R, R)
    order = np.lexsort((*R.T[::-1], *ij.T[::-1]))
    source, conjugate = _gather(rows[order], columns[order], flip[order], np.cumsum(rows * columns)[order])
    values = {name: _conjugated(v[:, source], conjugate) for name, v in operators.items()}
    pairs = PairList(ij[order], R[order], np.array([0, len(ij)]))
    return dataclasses.replace(system, pairs=pairs, operators=values)


def _relabelled(
    system: LCAOSystem,
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    cells: NDArray[np.float64],
    ij: NDArray[np.int64],
    R: NDArray[np.int64],
) -> LCAOSystem:
    if len(system) != 1:
        raise ValueError("atoms are relabelled in one structure at a time; index the system first")
    empty = PairList.of_one([], [])
    moved = dataclasses.replace(system, numbers=numbers, positions=positions, cells=cells, pairs=empty, operators={})
    return from_directed(moved, ij, R, dict(system.operators))


def _gather(
    rows: NDArray[np.int64], columns: NDArray[np.int64], flip: NDArray[np.bool_], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return which old value each new value comes from, and whether its block was conjugated."""
    sizes = rows * columns
    pair = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    n_rows, n_columns = rows[pair], columns[pair]
    turned = within % n_rows * n_columns + within // n_rows  # row-major place of (column, row)
    return (ends - sizes)[pair] + np.where(flip[pair], turned, within), flip[pair]


def _conjugated(values: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[Any]:
    out = np.array(values)
    if SpinLayout.of(values) is SpinLayout.TIME_REVERSAL:
        out[1:, where] *= -1  # the rows hold imaginary parts
    elif np.iscomplexobj(values):
        out[:, where] = out[:, where].conj()
    return out


def onsite_antihermitian(matrix: BlockMatrix) -> float:
    """Return max |M_ii(0) - M_ii(0)†|: the one part of Hermiticity that the pair list does not impose."""
    worst = 0.0
    keep = matrix.pairs.onsite
    for group in matrix.groups:
        index = group.index[keep[group.pairs]]
        if not len(index):
            continue
        blocks = matrix.values[:, index]
        swapped = np.array(blocks.swapaxes(-1, -2).conj())
        if matrix.layout is SpinLayout.TIME_REVERSAL:
            swapped[1:] *= -1
        worst = max(worst, float(np.abs(blocks - swapped).max()))
    return worst


def space_group(structure: Structure, *, tolerance_ang: float = 1e-3) -> str:
    """Return the international symbol and number, e.g. ``"F-43m (216)"``, by spglib; empty if it finds none."""
    import spglib

    cell = (structure.cell.tolist(), structure.fractional.tolist(), structure.numbers.tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # spglib warns of a default that it will change
        found = spglib.get_symmetry_dataset(cell, symprec=tolerance_ang)
    return f"{found.international} ({found.number})" if found is not None else ""

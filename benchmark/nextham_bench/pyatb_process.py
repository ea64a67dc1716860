"""pyatb as an external program: levels and optical conductivities of Hamiltonians in this package's terms."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem
from nextham.core._arrays import offsets
from nextham.exceptions import InputError, NexthamError
from nextham.physics.spin import to_spin_blocks

_CHILD: Final = Path(__file__).with_name("pyatb_child.py")
_LAST_LINES: Final = 300  # characters of what the child said that an error repeats


@dataclasses.dataclass(frozen=True)
class Spectra:
    """What pyatb finds."""

    levels: dict[str, NDArray[np.float64]]  # by Hamiltonian: (n_k, n_bands) eV
    sigma_xx: dict[str, NDArray[np.complex128]]  # by Hamiltonian: (n_omega,) S/m; empty without a mesh


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optics:
    """How an optical conductivity is computed."""

    mesh: tuple[int, int, int]
    omega_ev: tuple[float, float]
    step_ev: float
    broadening_ev: float
    n_occupied: int


def program() -> str:
    """Return name and version."""
    return f"pyatb {version('pyatb')}"


@cache
def check_pyatb() -> None:
    """Refuse to go on without a pyatb that can be imported.

    Raises:
        InputError: saying how to get it.
    """
    if find_spec("pyatb") is None:
        raise InputError(
            "optical conductivities need pyatb, which there is for Linux on x86_64: pip install 'nextham[pyatb]'"
        )
    try:
        _call()
    except NexthamError as error:
        raise InputError(
            f"pyatb cannot be imported ({error}); it needs an MPI library: the system's libopenmpi3, or pip install "
            "mpich, which puts its own mpirun before others"
        ) from None


def spectra(
    system: LCAOSystem,
    hamiltonians: Mapping[str, BlockMatrix],
    k: NDArray[np.float64],
    *,
    optics: Optics | None = None,
) -> Spectra:
    """Return the levels of Hamiltonians at some k, and their optical conductivities.

    Args:
        system: one structure with its overlap.
        hamiltonians: on the pairs of the system; the names are file names.
        k: (n_k, 3) fractional.
        optics: how conductivities are computed; without it they are not.

    Raises:
        NexthamError: with what pyatb said, if it fails.
    """
    with tempfile.TemporaryDirectory(prefix="nextham-pyatb-") as folder:
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(source, **_numbers(system, hamiltonians, k, optics))
        _call(str(source), str(target), folder=Path(folder))
        with np.load(target, allow_pickle=False) as file:
            levels = {name: np.asarray(file[f"levels_{name}"]).real for name in hamiltonians}
            sigma = {name: np.asarray(file[f"sigma_{name}"]) for name in hamiltonians if optics is not None}
    return Spectra(levels, sigma)


def _call(*words: str, folder: Path | None = None) -> None:
    """Run the child in a scratch folder.

    Raises:
        NexthamError: with the end of what it said, if it fails.
    """
    with tempfile.TemporaryDirectory(prefix="nextham-pyatb-") as scratch:
        done = subprocess.run(
            [sys.executable, "-P", str(_CHILD), *words],  # -P: modules beside the child are none of its imports
            cwd=folder or scratch,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-_LAST_LINES:]
        raise NexthamError(f"exit status {done.returncode}: {said}")


def _numbers(
    system: LCAOSystem, hamiltonians: Mapping[str, BlockMatrix], k: NDArray[np.float64], optics: Optics | None
) -> dict[str, Any]:
    cells = _cells(system)
    overlap = system.operator("overlap")
    triangles = {"overlap": _triangles(system, cells, to_spin_blocks(overlap.values))}
    for axis, name in enumerate("xyz"):
        triangles[f"r_{name}"] = _triangles(system, cells, to_spin_blocks(overlap.values), centre=axis)
    for name, matrix in hamiltonians.items():
        triangles[name] = _triangles(system, cells, to_spin_blocks(matrix.values))
    numbers: dict[str, Any] = {
        "names": np.array(list(hamiltonians)),
        "n_basis": 2 * int(system.n_orb.sum()),
        "cells": cells,
        "cell": system.cells[0],
        "k": k,
        "mesh": np.array(optics.mesh if optics else (0, 0, 0)),
        "omega": np.array([*optics.omega_ev, optics.step_ev, optics.broadening_ev] if optics else [0.0] * 4),
        "n_occupied": optics.n_occupied if optics else 0,
    }
    for name, found in triangles.items():
        numbers |= {f"{name}_{part}": getattr(found, part) for part in ("data", "indices", "indptr")}
    return numbers


def _cells(system: LCAOSystem) -> NDArray[np.int64]:
    """Return every R of the full matrix, (n_cells, 3)."""
    return np.unique(np.concatenate([system.pairs.R, -system.pairs.R, np.zeros((1, 3), dtype=np.int64)]), axis=0)


def _triangles(
    system: LCAOSystem, cells: NDArray[np.int64], blocks: NDArray[np.complex128], *, centre: int | None = None
) -> scipy.sparse.csc_matrix:
    """Return the upper triangle of the spinor matrix of each R, one a row, as pyatb takes them.

    Args:
        system: one structure.
        cells: the R.
        blocks: spin blocks (4, n_values).
        centre: multiply each block by this component of the middle of its two atoms, (x_i + x_j + R·cell) / 2 (Å).
    """
    rows, columns, pair = _places(system)
    n = int(system.n_orb.sum())
    ij, R = system.pairs.ij, system.pairs.R
    of_pair, back = _index(cells, R)[pair], _index(cells, -R)[pair]
    forward = backward = np.ones(len(pair))
    if centre is not None:
        position, shift = system.positions[:, centre], R @ system.cells[0][:, centre]
        i, j = ij.T
        forward = ((position[i] + position[j] + shift) / 2)[pair]  # i at home, j in R
        backward = ((position[i] + position[j] - shift) / 2)[pair]  # j at home, i in -R
    found: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    off = ~system.pairs.onsite[pair]
    for block, values in enumerate(blocks):
        s, t = divmod(block, 2)
        found.append((of_pair, s * n + rows, t * n + columns, values * forward))
        found.append((back[off], t * n + columns[off], s * n + rows[off], (values.conj() * backward)[off]))
    cell, row, column, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
    upper = (row <= column) & (value != 0)
    row, column = row[upper], column[upper]
    place = row * (2 * n) - row * (row - 1) // 2 + column - row
    shape = (len(cells), n * (2 * n + 1))
    return scipy.sparse.csc_matrix((value[upper], (cell[upper], place)), shape=shape)


def _places(system: LCAOSystem) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of each value in the matrix without spin, and its pair."""
    overlap = system.operator("overlap")
    start = offsets(system.n_orb)
    pair = overlap.pair_of_value
    i, j = system.pairs.ij[pair].T
    within = np.arange(len(pair)) - overlap.block_ptr[pair]
    row, column = np.divmod(within, system.n_orb[j])
    return start[i] + row, start[j] + column, pair


def _index(cells: NDArray[np.int64], R: NDArray[np.int64]) -> NDArray[np.int64]:
    _, inverse = np.unique(np.concatenate([cells, R]), axis=0, return_inverse=True)
    return np.asarray(inverse.reshape(-1)[len(cells) :])  # the cells are sorted and hold every R

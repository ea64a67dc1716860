"""Systems to DeepH's folders."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from nextham.core import LCAOSystem, SpinLayout, symbol
from nextham.exceptions import InputError
from nextham.exchange.blocks import Block, directed_blocks
from nextham.exchange.deeph.layout import LAYOUTS, Kind


def export_deeph(
    system: LCAOSystem, folder: Path, *, operators: Collection[str] = (), kind: Kind = Kind.PACK
) -> list[Path]:
    """Write operators (all by default) and the crystal of one structure; return the files.

    H and H0 are complex spinor blocks, or real ones where neither has a spin part (``isspinful``, ``spinful``).

    Raises:
        InputError: if the system lacks an operator.
    """
    if len(system) != 1:
        raise ValueError("one structure goes to one folder; index the system first")
    layout = LAYOUTS[kind]
    matrices = {name: system.operator(name) for name in tuple(operators) or tuple(system.operators)}
    energies = [matrix for name, matrix in matrices.items() if name != "overlap"]
    spinful = any(matrix.layout is not SpinLayout.SCALAR for matrix in energies)
    folder.mkdir(parents=True, exist_ok=True)
    written = (_pack if kind is Kind.PACK else _dock)(system, folder, spinful)
    for name, matrix in matrices.items():
        if name == "overlap" and matrix.layout is not SpinLayout.SCALAR:
            raise InputError(f"{system.ids[0]}: an overlap with spin has no place in DeepH's folders")
        written.append(folder / layout.files[name])
        blocks = directed_blocks(matrix, layout.order, spinor=spinful and name != "overlap")
        _write_keys(written[-1], blocks) if kind is Kind.PACK else _write_chunks(written[-1], list(blocks))
    return written


def _pack(system: LCAOSystem, folder: Path, spinful: bool) -> list[Path]:
    """Crystal, shells and info as DeepH-pack reads them: text, vectors in columns."""
    cell = system.cells[0]
    cells = np.unique(np.concatenate([system.pairs.R, -system.pairs.R]), axis=0)
    tables: dict[str, tuple[Any, str]] = {
        "lat.dat": (cell.T, "%.18e"),
        "rlat.dat": (2 * np.pi * np.linalg.inv(cell), "%.18e"),
        "site_positions.dat": (system.positions.T, "%.18e"),
        "element.dat": (system.numbers, "%d"),
        "R_list.dat": (cells, "%d"),
    }
    for name, (table, how) in tables.items():
        np.savetxt(folder / name, table, fmt=how)
    shells = ["  ".join(map(str, system.basis.shells(int(z)))) for z in system.numbers]
    (folder / "orbital_types.dat").write_text("\n".join(shells) + "\n")
    info = {
        "nsites": len(system.numbers),
        "isorthogonal": False,
        "isspinful": spinful,
        "norbits": int(system.n_orb.sum()),
        "fermi_level": system.meta[0].fermi_energy_ev,
    }
    (folder / "info.json").write_text(json.dumps(info))
    return [folder / name for name in (*tables, "orbital_types.dat", "info.json")]


def _dock(system: LCAOSystem, folder: Path, spinful: bool) -> list[Path]:
    """Crystal and info as DeepH-dock reads them."""
    groups = [(symbol(int(z)), len(list(group))) for z, group in groupby(system.numbers.tolist())]
    rows = [*system.cells[0], *system.positions]
    numbers = ["  ".join(f"{x:.17g}" for x in row) for row in rows]
    lines = [system.ids[0], "1.0", *numbers[:3], " ".join(name for name, _ in groups)]
    lines += [" ".join(str(count) for _, count in groups), "Cartesian", *numbers[3:]]
    (folder / "POSCAR").write_text("\n".join(lines) + "\n")
    info = {
        "atoms_quantity": len(system.numbers),
        "orbits_quantity": int(system.n_orb.sum()),
        "orthogonal_basis": False,
        "spinful": spinful,
        "fermi_energy_eV": system.meta[0].fermi_energy_ev,
        "elements_orbital_map": {symbol(z): list(system.basis.shells(z)) for z in system.basis},
    }
    (folder / "info.json").write_text(json.dumps(info))
    return [folder / "POSCAR", folder / "info.json"]


def _write_keys(path: Path, blocks: Iterable[Block]) -> None:
    """One dataset per block, named after R and the two atoms, which count from 1.

    DeepH looks the blocks of H up among those of S: each file has all pairs, zeros where they do not overlap.
    """
    import h5py

    with h5py.File(path, "w") as file:
        for block in blocks:
            file[f"[{block.R[0]}, {block.R[1]}, {block.R[2]}, {block.i + 1}, {block.j + 1}]"] = block.values


def _write_chunks(path: Path, blocks: list[Block]) -> None:
    """All blocks end to end; every file of a folder lists the same pairs."""
    import h5py

    shapes = np.array([block.values.shape for block in blocks], dtype=np.int64)
    with h5py.File(path, "w") as file:
        file["atom_pairs"] = np.array([[*block.R, block.i, block.j] for block in blocks], dtype=np.int64)
        file["chunk_shapes"] = shapes
        file["chunk_boundaries"] = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))])
        file["entries"] = np.concatenate([block.values.reshape(-1) for block in blocks])


def operators_of(folder: Path, kind: Kind) -> dict[str, Path]:
    """Return the matrix files that a folder has, by operator."""
    return {name: folder / file for name, file in LAYOUTS[kind].files.items() if (folder / file).is_file()}

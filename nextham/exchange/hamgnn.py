"""Systems to HamGNN's ``graph_data.npz``, the layout of its ABACUS interface.

One file holds all graphs: an object array ``graph`` of a dictionary {0: {field: array}, 1: ...}, which HamGNN's loader
takes as it is. Orbitals keep ABACUS's order and sign, blocks are padded to ``nao_max`` orbitals, spinor blocks are
[[↑↑, ↑↓], [↓↑, ↓↓]] of twice as many. Energies are Hartree, lengths Bohr, numbers single precision.

    z (n,)  pos (n, 3)  cell (1, 3, 3)  node_counts (1,)  total_energy (1,)  doping_charge (1,)
    edge_index (2, e)  cell_shift (e, 3)  nbr_shift (e, 3)  inv_edge_idx (e,)   off-site pairs in both directions
    Hon Hoff  iHon iHoff  Hon0 Hoff0  iHon0 iHoff0  Son Soff  overlap           rows are atoms (on) and edges (off)

Without a spin part in H and H0 there are no fields of imaginary parts, and ``hamiltonian`` (atoms, then edges) instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, OrbitalBasis, SpinLayout, symbol
from nextham.exceptions import InputError
from nextham.exchange.blocks import Block, directed_blocks
from nextham.exchange.orders import ABACUS
from nextham.files import whole
from nextham.units import BOHR_ANG, HARTREE_EV

FILE: Final = "graph_data.npz"
SLOTS: Final = {13: (2, 2, 1, 0), 27: (4, 2, 2, 1), 40: (4, 4, 2, 2)}  # nao_max: shells of s, p, d, f it has room for
Graph = dict[str, NDArray[Any]]


def nao_max_of(bases: Sequence[OrbitalBasis]) -> int:
    """Return the smallest padding of HamGNN that holds every element.

    Raises:
        InputError: if none does.
    """
    for nao_max, slots in SLOTS.items():
        if all(_fits(basis.shells(z), slots) for basis in bases for z in basis):
            return nao_max
    z, basis = next((z, basis) for basis in bases for z in basis if not _fits(basis.shells(z), SLOTS[40]))
    raise InputError(f"HamGNN has no room for the {basis.label(z)} of {symbol(z)}: its largest padding is 4s4p2d2f")


def graph_of(system: LCAOSystem, nao_max: int) -> Graph:
    """Return one structure's fields.

    Raises:
        InputError: if it lacks S, H or H0.
    """
    matrices = {name: system.operator(name) for name in ("overlap", "h0", "hamiltonian")}
    spinor = any(matrices[name].layout is not SpinLayout.SCALAR for name in ("h0", "hamiltonian"))
    onsite = system.pairs.onsite
    n_edges = 2 * int((~onsite).sum())
    blocks = list(directed_blocks(matrices["overlap"], ABACUS, spinor=False))
    edges = [block for block in blocks if not _onsite(block)]
    shift = np.array([block.R for block in edges], dtype=np.int64).reshape(-1, 3)
    n = len(system.numbers)
    graph: Graph = {
        "z": system.numbers,
        "pos": (system.positions / BOHR_ANG).astype(np.float32),
        "cell": (system.cells / BOHR_ANG).astype(np.float32),
        "node_counts": np.array([n]),
        "total_energy": np.array([(system.meta[0].total_energy_ev or 0.0) / HARTREE_EV], dtype=np.float32),
        "doping_charge": np.zeros(1, dtype=np.float32),
        "edge_index": np.array([[block.i, block.j] for block in edges], dtype=np.int64).reshape(-1, 2).T,
        "cell_shift": shift,
        "nbr_shift": (shift @ system.cells[0] / BOHR_ANG).astype(np.float32),
        "inv_edge_idx": np.arange(n_edges) ^ 1,  # each pair is followed by its conjugate
    }
    overlap = _padded(matrices["overlap"], nao_max, spinor=False, unit=1.0)
    graph |= {"overlap": overlap.real, "Son": overlap[:n].real, "Soff": overlap[n:].real}
    for name, end in (("hamiltonian", ""), ("h0", "0")):
        rows = _padded(matrices[name], nao_max, spinor=spinor, unit=HARTREE_EV)
        graph |= {f"Hon{end}": rows[:n].real, f"Hoff{end}": rows[n:].real}
        if spinor:
            graph |= {f"iHon{end}": rows[:n].imag, f"iHoff{end}": rows[n:].imag}
        elif not end:
            graph["hamiltonian"] = rows.real
    return {key: np.ascontiguousarray(value) for key, value in graph.items()}


def bytes_of(system: LCAOSystem, nao_max: int) -> int:
    """Return how many bytes the matrices of a structure take, padded."""
    rows = len(system.numbers) + 2 * int((~system.pairs.onsite).sum())
    return rows * nao_max**2 * 4 * (2 + 2 * 2 * 4)


def write_graphs(graphs: dict[str, Graph], path: Path) -> None:
    """Write the graphs, numbered in their order, and beside them ``structures.txt`` with their ids.

    Raises:
        WriteError: if the files cannot be written.
    """
    with whole(path) as part, part.open("wb") as file:
        np.savez(file, graph=np.array(dict(enumerate(graphs.values())), dtype=object))
    with whole(path.with_name("structures.txt")) as part:
        part.write_text("".join(f"{id}\n" for id in graphs))


def _fits(shells: tuple[int, ...], slots: tuple[int, ...]) -> bool:
    return max(shells) < len(slots) and all(shells.count(l) <= room for l, room in enumerate(slots))


def _padded(matrix: BlockMatrix, nao_max: int, *, spinor: bool, unit: float) -> NDArray[np.complex64]:
    """Return blocks of atoms, then of edges, one row each, in a unit."""
    places = {z: _places(matrix.basis.shells(z), SLOTS[nao_max]) for z in matrix.basis}
    spins = np.arange(2 if spinor else 1)[:, None] * nao_max
    n_atoms = len(matrix.numbers)
    rows = n_atoms + 2 * int((~matrix.pairs.onsite).sum())
    out = np.zeros((rows, len(spins) * nao_max, len(spins) * nao_max), dtype=np.complex64)
    edge = n_atoms
    for block in directed_blocks(matrix, ABACUS, spinor=spinor):
        left, right = ((spins + places[int(matrix.numbers[atom])]).reshape(-1) for atom in (block.i, block.j))
        if _onsite(block):
            out[block.i][np.ix_(left, right)] = block.values / unit
        else:
            out[edge][np.ix_(left, right)] = block.values / unit
            edge += 1
    return out.reshape(rows, -1)


def _onsite(block: Block) -> bool:
    return block.i == block.j and not any(block.R)


def _places(shells: tuple[int, ...], slots: tuple[int, ...]) -> NDArray[np.int64]:
    """Return where the orbitals of an atom stand among the padded ones: each shell in the first room of its l."""
    starts = np.cumsum([0, *(room * (2 * l + 1) for l, room in enumerate(slots))])
    found: list[int] = []
    for k, l in enumerate(shells):
        begin = int(starts[l]) + shells[:k].count(l) * (2 * l + 1)
        found += range(begin, begin + 2 * l + 1)
    return np.array(found)

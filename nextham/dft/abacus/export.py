"""Systems back to ABACUS's matrix files: what a parser undoes, this redoes.

One folder holds STRU and a file for each operator. H and S have ABACUS's own names, so that ABACUS and pyatb find them;
H0 has no name in ABACUS and is called after H. All are spinor matrices in Ry (S without unit), ``nspin 4``.

    operator      abacus (3.8 to 3.10)           abacus-3.11
    hamiltonian   data-HR-sparse_SPIN0.csr       hrs1_nao.csr
    overlap       data-SR-sparse_SPIN0.csr       srs1_nao.csr
    h0            data-H0R-sparse_SPIN0.csr      h0rs1_nao.csr
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem
from nextham.dft.abacus.csr import CsrBlock, CsrLayout
from nextham.dft.abacus.csr_write import write_csr
from nextham.dft.abacus.order import RowMap, row_map
from nextham.dft.abacus.stru import Species, write_stru
from nextham.exceptions import InputError
from nextham.files import clear_leftovers, partial, put_in_place
from nextham.physics.spin import to_spin_blocks
from nextham.units import RYDBERG_EV

FILE_NAMES: Final = {
    CsrLayout.STEP: {
        "hamiltonian": "data-HR-sparse_SPIN0.csr",
        "overlap": "data-SR-sparse_SPIN0.csr",
        "h0": "data-H0R-sparse_SPIN0.csr",
    },
    CsrLayout.COMMENTED: {"hamiltonian": "hrs1_nao.csr", "overlap": "srs1_nao.csr", "h0": "h0rs1_nao.csr"},
}
# ABACUS drops |x| <= 1e-10; the slack keeps what was printed as 1.00000000e-10 and went through eV.
_DROP: Final = 1e-10 * (1 - 1e-6)


def export_abacus(
    system: LCAOSystem, folder: str | Path, *, operators: Collection[str] = (), layout: CsrLayout = CsrLayout.STEP
) -> list[Path]:
    """Write operators (all by default) and the crystal of one structure; return the files.

    Raises:
        InputError: if the system lacks an operator or its atoms are not grouped by element.
    """
    if len(system) != 1:
        raise ValueError("one structure goes to one folder; index the system first")
    if layout not in FILE_NAMES:
        raise InputError(f"matrices cannot be exported as {layout}; choose abacus or abacus-3.11")
    wanted = tuple(operators) or tuple(system.operators)
    matrices = {name: system.operator(name) for name in wanted}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "STRU"]
    written[0].write_text(write_stru(system.structure(), species=_species(system), moments=_moments(system)))
    for name, matrix in matrices.items():
        blocks = list(_sparse_blocks(matrix, 1.0 if name == "overlap" else RYDBERG_EV))
        if layout is CsrLayout.STEP:
            blocks = _with_empty(blocks, _listed(system, name))
        else:
            blocks = [block for block in blocks if len(block.values)]
        path = folder / FILE_NAMES[layout][name]
        write_csr(
            path,
            blocks,
            dimension=2 * int(system.n_orb.sum()),
            quantity="S" if name == "overlap" else "H",
            layout=layout,
            structure=system.structure(),
        )
        written.append(path)
    return written


def refuse_used(folders: Iterable[Path]) -> None:
    """Raise InputError if one of the folders holds anything."""
    for folder in folders:
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder} holds files already; choose another folder or pass --overwrite")


def export_folder(
    system: LCAOSystem, folder: Path, *, operators: Collection[str] = (), layout: CsrLayout = CsrLayout.STEP
) -> list[Path]:
    """Write one structure; a new folder appears whole, in an old one each file does and what else it holds stays.

    Raises:
        InputError: if the system cannot be exported.
        WriteError: if the folder cannot be written.
    """
    return export_with(lambda part: export_abacus(system, part, operators=operators, layout=layout), folder)


def export_with(write: Callable[[Path], list[Path]], folder: Path) -> list[Path]:
    """Let a function write files to a folder under another name, and put them in place like export_folder.

    Raises:
        WriteError: if the folder cannot be written.
    """
    clear_leftovers(folder)
    with partial(folder) as part:
        written = write(part)
        if folder.is_dir():
            for file in written:
                put_in_place(file, folder / file.name)
        else:
            put_in_place(part, folder)
    return [folder / file.name for file in written]


def _species(system: LCAOSystem) -> dict[str, Species]:
    """File names that the provenance knows; without them the label stands for both."""
    meta = system.meta[0]
    return {
        name: Species(
            upf=meta.pseudopotentials.get(name, f"{name}.upf").split("@")[0],
            orb=meta.orbitals.get(name, f"{name}.orb").split("@")[0],
        )
        for name in set(system.structure().symbols)
    }


def _moments(system: LCAOSystem) -> NDArray[np.float64] | None:
    """Moments that keep a nonmagnetic run nonmagnetic: one in the plane, or ABACUS sets some of its own accord."""
    if system.meta[0].magnetism != "nonmagnetic":
        return None
    moments = np.zeros((len(system.numbers), 3))
    moments[0, 0] = 1.0
    return moments


def _listed(system: LCAOSystem, name: str) -> set[tuple[int, int, int]]:
    """The R that ABACUS lists in this file and its partner: those where H or S has any element."""
    partner = name if name != "overlap" else ("hamiltonian" if "hamiltonian" in system.operators else "h0")
    found: set[tuple[int, int, int]] = set()
    for operator in {partner, "overlap"} & set(system.operators):
        matrix = system.operator(operator)
        unit = 1.0 if operator == "overlap" else RYDBERG_EV
        here = np.abs(to_spin_blocks(matrix.values)).max(axis=0) > _DROP * unit
        hit = np.unique(matrix.pair_of_value[here])
        for R in matrix.pairs.R[hit].tolist():
            found |= {tuple(R), tuple(-x for x in R)}
    return found


def _with_empty(blocks: list[CsrBlock], listed: set[tuple[int, int, int]]) -> list[CsrBlock]:
    have = {block.R: block for block in blocks if len(block.values)}
    none = np.zeros(0, dtype=np.int64)
    return [have.get(R) or CsrBlock(R, none, none, np.zeros(0)) for R in sorted(listed)]


def _sparse_blocks(matrix: BlockMatrix, unit_ev: float) -> Iterator[CsrBlock]:
    """Elements of each R in ABACUS's order, sign, spin and unit, sorted by R."""
    rows = row_map(matrix.basis, matrix.numbers)
    n_orb = matrix.basis.n_orb_of(matrix.numbers)
    first = np.cumsum(n_orb) - n_orb
    cells = np.concatenate([matrix.pairs.R, -matrix.pairs.R])
    unique, group = np.unique(cells, axis=0, return_inverse=True)
    n_pairs = matrix.pairs.n_pairs
    doubled = np.concatenate([np.zeros(n_pairs, bool), matrix.pairs.onsite])  # its own conjugate: once is enough
    for g, R in enumerate(unique.tolist()):
        members = np.flatnonzero((group.reshape(-1) == g) & ~doubled)
        parts = [_elements(matrix, int(m % n_pairs), bool(m >= n_pairs), rows, first) for m in members]
        r, c, v = (np.concatenate([part[k] for part in parts]) for k in range(3))
        v = v / unit_ev + 0.0  # never -0
        keep = np.flatnonzero(np.abs(v) > _DROP)
        keep = keep[np.lexsort((c[keep], r[keep]))]
        yield CsrBlock((R[0], R[1], R[2]), r[keep], c[keep], v[keep])


def _elements(
    matrix: BlockMatrix, pair: int, adjoint: bool, rows: RowMap, first: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.complex128]]:
    """Row, column and value of every element of a pair's spinor block, or of its adjoint (j, i, -R)."""
    i, j = matrix.pairs.ij[pair].tolist()
    spins = to_spin_blocks(matrix.block(pair).reshape(len(matrix.values), -1))
    n_i, n_j = matrix.block(pair).shape[1:]
    blocks = spins.reshape(2, 2, n_i, n_j)
    if adjoint:
        i, j, n_i, n_j = j, i, n_j, n_i
        blocks = blocks.conj().transpose(1, 0, 3, 2)
    at_i, at_j = slice(first[i], first[i] + n_i), slice(first[j], first[j] + n_j)
    blocks = blocks[:, :, rows.place[at_i]][..., rows.place[at_j]] * rows.sign[at_i, None] * rows.sign[at_j]
    mu = 2 * np.arange(first[i], first[i] + n_i)
    nu = 2 * np.arange(first[j], first[j] + n_j)
    spin = np.arange(2)
    shape = (2, 2, n_i, n_j)
    r = np.broadcast_to(mu[:, None] + spin[:, None, None, None], shape)
    c = np.broadcast_to(nu + spin[:, None, None], shape)
    return r.reshape(-1), c.reshape(-1), blocks.reshape(-1)

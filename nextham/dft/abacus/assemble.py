"""Sparse matrices of ABACUS to hopping blocks in house order: this is where row order, sign and spin end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix
from nextham.dft.abacus.csr import CsrBlock, CsrFile
from nextham.dft.abacus.order import row_map
from nextham.dft.directed import Atoms, Directed, hermitian
from nextham.dft.engine import Cause, RunError
from nextham.physics.spin import from_spin_blocks


def read_operator(path: Path, atoms: Atoms, *, spinor: bool) -> BlockMatrix:
    """Read a matrix file as blocks in the file's unit: Pauli components (4, n) complex if spinor, else (1, n) real.

    Raises:
        RunError: if the file is broken, its dimension is not that of the atoms, or it is not Hermitian.
    """
    file = CsrFile(path)
    n_orb = int(atoms.n_orb.sum())
    due = 2 * n_orb if spinor else n_orb
    if file.dimension != due:
        what = f"2 × {n_orb} (two spins of {n_orb} orbitals)" if spinor else f"{n_orb} orbitals"
        raise RunError(
            Cause.INCONSISTENT,
            f"{path} has dimension {file.dimension}, but STRU and orbitals make {what}; "
            "the matrix belongs to another structure, orbital set or nspin",
        )
    scatter = _Scatter(atoms, spinor=spinor)
    parts = [part for part in map(scatter, file) if len(part.ij)]
    if not parts:
        raise RunError(
            Cause.EMPTY,
            f"{path} holds no element: ABACUS wrote an empty matrix (some builds do so with nspin 2); "
            "compute with nspin 4 or 1",
        )
    directed = Directed(
        np.concatenate([p.ij for p in parts]),
        np.concatenate([p.R for p in parts]),
        np.concatenate([p.values for p in parts], axis=1),
    )
    return hermitian(directed, atoms, f"{path}", mend="the file is damaged: run the job again")


class _Scatter:
    """Puts the elements of one R into dense blocks of the pairs that they touch."""

    def __init__(self, atoms: Atoms, *, spinor: bool) -> None:
        rows = row_map(atoms.basis, atoms.numbers)
        self._n_spin = 2 if spinor else 1
        n_spin = self._n_spin
        self._rows = (np.repeat(rows.atom, n_spin), np.repeat(rows.place, n_spin), np.repeat(rows.sign, n_spin))
        self._n_orb = atoms.n_orb

    def __call__(self, block: CsrBlock) -> Directed:
        from nextham.dft.abacus.kernels import dense_blocks

        entries = (block.rows, block.columns, block.values)
        found, values = dense_blocks(entries, self._rows, self._n_orb, self._n_spin)
        ij = np.stack(np.divmod(found, len(self._n_orb)), axis=1)
        return Directed(ij, np.tile(block.R, (len(found), 1)), _components(values))


def _components(spins: NDArray[Any]) -> NDArray[Any]:
    """Pauli components (4, n) of spin blocks; a single one stays what it is."""
    if len(spins) == 4:
        return from_spin_blocks(spins.astype(np.complex128, copy=False))
    return np.ascontiguousarray(spins.real)

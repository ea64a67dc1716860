"""Sparse matrices of ABACUS to hopping blocks in house order: this is where row order, sign and spin end."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, OrbitalBasis, PairList, symbol
from nextham.core._arrays import offsets
from nextham.core.pairs import is_canonical
from nextham.dft.abacus.csr import CsrBlock, CsrFile
from nextham.dft.abacus.order import row_map
from nextham.dft.engine import Cause, RunError
from nextham.physics.spin import from_spin_blocks

HERMITIAN_TOLERANCE: Final = 1e-9  # of the file's unit (Ry for H); both R and -R are written, to 8 decimals
_PRINTED_ULP: Final = 2e-8  # relative: numbers above 0.1 are printed coarser than the tolerance


@dataclasses.dataclass(frozen=True)
class Atoms:
    """What the rows of a matrix stand for."""

    basis: OrbitalBasis
    numbers: NDArray[np.int64]  # (n_atoms,)

    @property
    def n_orb(self) -> NDArray[np.int64]:
        """Number of orbitals of each atom, (n_atoms,)."""
        return self.basis.n_orb_of(self.numbers)


@dataclasses.dataclass(frozen=True)
class _Directed:
    """Blocks (i, j, R) as a file has them: both (i, j, R) and (j, i, -R)."""

    ij: NDArray[np.int64]  # (n, 2)
    R: NDArray[np.int64]  # (n, 3)
    values: NDArray[Any]  # (n_spin_components, n_values) house order, blocks end to end


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
    directed = _Directed(
        np.concatenate([p.ij for p in parts]),
        np.concatenate([p.R for p in parts]),
        np.concatenate([p.values for p in parts], axis=1),
    )
    return _hermitian(directed, atoms, path)


class _Scatter:
    """Puts the elements of one R into dense blocks of the pairs that they touch."""

    def __init__(self, atoms: Atoms, *, spinor: bool) -> None:
        rows = row_map(atoms.basis, atoms.numbers)
        self._n_spin = 2 if spinor else 1
        n_spin = self._n_spin
        self._rows = (np.repeat(rows.atom, n_spin), np.repeat(rows.place, n_spin), np.repeat(rows.sign, n_spin))
        self._n_orb = atoms.n_orb

    def __call__(self, block: CsrBlock) -> _Directed:
        from nextham.dft.abacus.kernels import dense_blocks

        entries = (block.rows, block.columns, block.values)
        found, values = dense_blocks(entries, self._rows, self._n_orb, self._n_spin)
        ij = np.stack(np.divmod(found, len(self._n_orb)), axis=1)
        return _Directed(ij, np.tile(block.R, (len(found), 1)), _components(values))


def _components(spins: NDArray[Any]) -> NDArray[Any]:
    """Pauli components (4, n) of spin blocks; a single one stays what it is."""
    if len(spins) == 4:
        return from_spin_blocks(spins.astype(np.complex128, copy=False))
    return np.ascontiguousarray(spins.real)


def _hermitian(blocks: _Directed, atoms: Atoms, path: Path) -> BlockMatrix:
    """Return the mean of each block and the adjoint of its conjugate; check that they agree."""
    from nextham.dft.abacus.kernels import hermitian_mean

    listed = is_canonical(blocks.ij, blocks.R)
    onsite = (blocks.ij[:, 0] == blocks.ij[:, 1]) & ~blocks.R.any(axis=1)
    ij, R = np.where(listed[:, None], blocks.ij, blocks.ij[:, ::-1]), np.where(listed[:, None], blocks.R, -blocks.R)
    keys, inverse = np.unique(np.hstack([ij, R]), axis=0, return_inverse=True)
    pairs, pair = PairList(keys[:, :2], keys[:, 2:], np.array([0, len(keys)])), inverse.reshape(-1)
    start: NDArray[np.int64] = offsets(atoms.n_orb[blocks.ij].prod(axis=1))[:-1]
    forward, backward = np.full((2, pairs.n_pairs), -1)
    forward[pair[listed]] = start[listed]
    backward[pair[~listed | onsite]] = start[~listed | onsite]
    shape = atoms.n_orb[pairs.ij]
    placed = (forward, backward, offsets(shape.prod(axis=1)))
    mean, n_bad, p, gap = hermitian_mean(blocks.values, placed, shape, (HERMITIAN_TOLERANCE, _PRINTED_ULP))
    if n_bad:
        (i, j), cell = pairs.ij[p].tolist(), tuple(pairs.R[p].tolist())
        name = f"{symbol(int(atoms.numbers[i]))}{i + 1}-{symbol(int(atoms.numbers[j]))}{j + 1}"
        raise RunError(
            Cause.INCONSISTENT,
            f"{path} is not Hermitian: the block of the pair {name}, R = {cell}, and that of its conjugate differ by "
            f"{gap:.2e} (allowed {HERMITIAN_TOLERANCE:.0e}); the file is damaged: run the job again",
        )
    return BlockMatrix(atoms.basis, atoms.numbers, pairs, mean)

"""Sparse matrices of ABACUS to hopping blocks in house order: this is where row order, sign and spin end."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, OrbitalBasis, PairList, symbol
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
    values: NDArray[Any]  # (n_spin_components, n_values) house order, blocks end to end (first spin blocks)


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
        _components(np.concatenate([p.values for p in parts], axis=1)),
    )
    return _hermitian(directed, atoms, path)


class _Scatter:
    """Puts the elements of one R into dense blocks of the pairs that they touch."""

    def __init__(self, atoms: Atoms, *, spinor: bool) -> None:
        rows = row_map(atoms.basis, atoms.numbers)
        self._n_spin = 2 if spinor else 1
        self._atom, self._place, self._sign = (np.repeat(a, self._n_spin) for a in (rows.atom, rows.place, rows.sign))
        self._spin = np.tile(np.arange(self._n_spin), len(rows.atom))
        self._n_orb = atoms.n_orb
        n = len(self._n_orb)
        self._sizes = np.outer(self._n_orb, self._n_orb).reshape(n * n)
        self._width = self._n_orb[self._atom]  # row length of a block whose second atom owns this row

    def __call__(self, block: CsrBlock) -> _Directed:
        n = len(self._n_orb)
        r, c = block.rows, block.columns
        pair = self._atom[r] * n + self._atom[c]
        hit = np.zeros(n * n, dtype=bool)
        hit[pair] = True
        found = np.flatnonzero(hit)
        size = np.where(hit, self._sizes, 0)
        start = np.cumsum(size) - size
        at = start[pair] + self._place[r] * self._width[c] + self._place[c]
        at += (self._n_spin * self._spin[r] + self._spin[c]) * int(size.sum())
        spins = np.zeros(self._n_spin**2 * int(size.sum()), dtype=block.values.dtype)
        spins[at] = block.values * (self._sign[r] * self._sign[c])
        ij = np.stack(np.divmod(found, n), axis=1)
        return _Directed(ij, np.tile(block.R, (len(found), 1)), spins.reshape(self._n_spin**2, -1))


def _components(spins: NDArray[Any]) -> NDArray[Any]:
    """Pauli components (4, n) of spin blocks; a single one stays what it is."""
    return from_spin_blocks(spins.astype(np.complex128, copy=False)) if len(spins) == 4 else spins.real


def _hermitian(blocks: _Directed, atoms: Atoms, path: Path) -> BlockMatrix:
    """Return the mean of each block and the adjoint of its conjugate; check that they agree."""
    onsite = (blocks.ij[:, 0] == blocks.ij[:, 1]) & ~blocks.R.any(axis=1)
    listed = is_canonical(blocks.ij, blocks.R)
    forward = _placed(blocks, np.flatnonzero(listed), atoms, adjoint=False)
    backward = _placed(blocks, np.flatnonzero(~listed | onsite), atoms, adjoint=True)
    pairs = forward.pairs.union(backward.pairs)
    forward, backward = forward.on(pairs), backward.on(pairs)
    gap = np.abs(forward.values - backward.values).max(axis=0)
    bad = gap > HERMITIAN_TOLERANCE + _PRINTED_ULP * np.abs(forward.values).max(axis=0)
    if bad.any():
        worst = int(np.argmax(np.where(bad, gap, 0)))
        p = int(forward.pair_of_value[worst])
        (i, j), R = pairs.ij[p].tolist(), tuple(pairs.R[p].tolist())
        name = f"{symbol(int(atoms.numbers[i]))}{i + 1}-{symbol(int(atoms.numbers[j]))}{j + 1}"
        raise RunError(
            Cause.INCONSISTENT,
            f"{path} is not Hermitian: the block of the pair {name}, R = {R}, and that of its conjugate differ by "
            f"{gap[worst]:.2e} (allowed {HERMITIAN_TOLERANCE:.0e}); the file is damaged: run the job again",
        )
    return forward.with_values((forward.values + backward.values) / 2)


def _placed(blocks: _Directed, which: NDArray[np.int64], atoms: Atoms, *, adjoint: bool) -> BlockMatrix:
    """Return some of the blocks, or their adjoints (j, i, -R), as an operator on its sorted pair list."""
    ij, R = (blocks.ij[which, ::-1], -blocks.R[which]) if adjoint else (blocks.ij[which], blocks.R[which])
    order = np.lexsort((*R.T[::-1], *ij.T[::-1]))
    pairs = PairList(ij[order], R[order], np.array([0, len(order)]))
    n_orb = atoms.n_orb
    sizes = n_orb[blocks.ij[:, 0]] * n_orb[blocks.ij[:, 1]]
    start = (np.cumsum(sizes) - sizes)[which[order]]
    size = sizes[which[order]]
    local = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    if adjoint:  # place (b, a) of the adjoint comes from place (a, b)
        n_a, n_b = (np.repeat(n_orb[pairs.ij[:, k]], size) for k in (1, 0))
        local = (local % n_a) * n_b + local // n_a
    values = blocks.values[:, np.repeat(start, size) + local]
    return BlockMatrix(atoms.basis, atoms.numbers, pairs, values.conj() if adjoint else values)

"""Blocks (i, j, R) as files have them, both directions apart, to the pairs of a system."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, OrbitalBasis, PairList, symbol
from nextham.core._arrays import offsets
from nextham.core.pairs import is_canonical
from nextham.dft.engine import Cause, RunError

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
class Directed:
    """Blocks (i, j, R) as a file has them: both (i, j, R) and (j, i, -R), in any order."""

    ij: NDArray[np.int64]  # (n, 2)
    R: NDArray[np.int64]  # (n, 3)
    values: NDArray[Any]  # (n_spin_components, n_values) house order, blocks end to end


def hermitian(
    blocks: Directed,
    atoms: Atoms,
    where: str,
    *,
    mend: str,
    tolerance: tuple[float, float] = (HERMITIAN_TOLERANCE, _PRINTED_ULP),
) -> BlockMatrix:
    """Return the mean of each block and the adjoint of its conjugate.

    Args:
        blocks: each (i, j, R) at most once.
        atoms: what their rows stand for.
        where: what they are, for the error.
        mend: the way out, for the error.
        tolerance: how far a number and its conjugate may differ: absolute, and relative to its modulus.

    Raises:
        RunError: if they differ by more.
    """
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
    mean, n_bad, p, gap = hermitian_mean(blocks.values, placed, shape, tolerance)
    if n_bad:
        (i, j), cell = pairs.ij[p].tolist(), tuple(pairs.R[p].tolist())
        name = f"{symbol(int(atoms.numbers[i]))}{i + 1}-{symbol(int(atoms.numbers[j]))}{j + 1}"
        raise RunError(
            Cause.INCONSISTENT,
            f"{where} is not Hermitian: the block of the pair {name}, R = {cell}, and that of its conjugate differ by "
            f"{gap:.2e} (allowed {tolerance[0]:.0e}); {mend}",
        )
    return BlockMatrix(atoms.basis, atoms.numbers, pairs, mean)

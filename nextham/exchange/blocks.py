"""Blocks of both directions, (i, j, R) and (j, i, -R), in the order of another format, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, OrbitalBasis
from nextham.dft.directed import Atoms, Directed, hermitian
from nextham.exchange.orders import Order, Placed
from nextham.physics.spin import from_spin_blocks, narrowest, to_spin_blocks

_ROUNDING: Final = 1e-12  # relative, of sums of spin components in double precision


@dataclasses.dataclass(frozen=True)
class Block:
    """One block as other formats have it."""

    i: int
    j: int
    R: tuple[int, int, int]
    values: NDArray[Any]  # (n_i, n_j) real, or (2 n_i, 2 n_j) complex: [[↑↑, ↑↓], [↓↑, ↓↓]]


def directed_blocks(matrix: BlockMatrix, order: Order, *, spinor: bool) -> Iterator[Block]:
    """Yield the blocks of one structure's operator, each pair followed by its conjugate.

    Args:
        matrix: the operator.
        order: of the orbitals that come out.
        spinor: spinor blocks; otherwise h_0 alone, which must be real.
    """
    places = {z: order.of(matrix.basis.shells(z)).inverse for z in matrix.basis}
    spins = to_spin_blocks(matrix.values) if spinor else np.asarray(matrix.values[:1].real)
    n_orb = matrix.basis.n_orb_of(matrix.numbers)
    for p, ((i, j), R) in enumerate(zip(matrix.pairs.ij.tolist(), matrix.pairs.R.tolist(), strict=True)):
        part = spins[:, matrix.block_ptr[p] : matrix.block_ptr[p + 1]].reshape(len(spins), n_orb[i], n_orb[j])
        rows, columns = (places[int(matrix.numbers[atom])] for atom in (i, j))
        part = part[:, rows.index][:, :, columns.index] * rows.sign[:, None] * columns.sign
        values = part[0] if not spinor else np.block([[part[0], part[1]], [part[2], part[3]]])
        yield Block(i, j, (R[0], R[1], R[2]), values)
        if not matrix.pairs.onsite[p]:
            yield Block(j, i, (-R[0], -R[1], -R[2]), values.conj().T)


@dataclasses.dataclass(frozen=True)
class Foreign:
    """Atoms in the order of another format."""

    numbers: NDArray[np.int64]  # (n_atoms,)
    shells: dict[int, tuple[int, ...]]  # element: l of each shell, in the format's own order
    order: Order
    where: str  # what its files are called in errors
    mend: str

    @property
    def basis(self) -> OrbitalBasis:
        """The shells, ordered."""
        return OrbitalBasis({z: sorted(ls) for z, ls in self.shells.items()})

    def read(self, blocks: Sequence[Block], name: str, *, spinor: bool, relative: float = 1e-7) -> BlockMatrix:
        """Return an operator of blocks of both directions, in the narrowest exact spin layout.

        Args:
            blocks: each (i, j, R) at most once.
            name: of the operator, for errors.
            spinor: whether they are spinor blocks.
            relative: how far a block and its conjugate may differ, relative to the largest number.

        Raises:
            RunError: if a block and its conjugate differ by more, or one is missing.
        """
        places = {z: self.order.of(ls) for z, ls in self.shells.items()}
        spins = np.concatenate([self._house(block, places, spinor) for block in blocks], axis=1)
        values = from_spin_blocks(spins.astype(np.complex128)) if spinor else spins.real
        largest = float(np.abs(values).max(initial=0.0))
        matrix = hermitian(
            Directed(np.array([[b.i, b.j] for b in blocks]), np.array([b.R for b in blocks]), values),
            Atoms(self.basis, self.numbers),
            f"the {name} of {self.where}",
            mend=self.mend,
            tolerance=(relative * max(largest, 1e-3), 0.0),
        )
        return matrix.with_values(narrowest(matrix.values, _ROUNDING * largest)[0])

    def _house(self, block: Block, places: dict[int, Placed], spinor: bool) -> NDArray[Any]:
        """Spin blocks (4 or 1, n_i n_j) in house order."""
        rows, columns = (places[int(self.numbers[atom])] for atom in (block.i, block.j))
        n_i, n_j = len(rows.index), len(columns.index)
        parts = block.values.reshape(2, n_i, 2, n_j).transpose(0, 2, 1, 3) if spinor else block.values[None, None]
        parts = parts[:, :, rows.index][..., columns.index] * rows.sign[:, None] * columns.sign
        return np.asarray(parts.reshape(-1, n_i * n_j))

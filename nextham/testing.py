"""Small made-up systems for tests of the package and of extensions (no physics in their numbers)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nextham.core import LCAOSystem, OrbitalBasis, PairList, Provenance, Structure
from nextham.core.blocks import BlockMatrix, block_offsets
from nextham.core.pairs import is_canonical
from nextham.physics.spin import from_spin_blocks


def zincblende(first: str = "Ga", second: str = "As", *, a_ang: float = 5.65, rattle_ang: float = 0.0) -> Structure:
    """Return a two-atom zincblende cell, rattled with a fixed seed."""
    ideal = Structure.from_fractional([first, second], [[0.0] * 3, [0.25] * 3], a_ang / 2 * (1 - np.eye(3)))
    shift = rattle_ang * np.random.default_rng(7).normal(size=(2, 3))
    return Structure(ideal.numbers, ideal.positions + shift, ideal.cell).folded()


def synthetic_system(
    structure: Structure, basis: OrbitalBasis, *, id: str = "synthetic", cutoff_ang: float = 5.0, seed: int = 0
) -> LCAOSystem:
    """Return a time-reversal symmetric system with random decaying blocks and a positive definite overlap."""
    pairs = pairs_within(structure, cutoff_ang)
    bare = LCAOSystem.single(structure, basis, pairs, {}, Provenance(id=id, engine="synthetic"))
    rng = np.random.default_rng(seed)
    n = int(block_offsets(basis, bare.numbers, pairs)[-1])
    matrix = BlockMatrix(basis, bare.numbers, pairs, np.zeros((1, n)))
    decay = np.exp(-bare.distances)[matrix.pair_of_value]
    overlap = _decaying(matrix, rng.normal(size=(1, n)), 0.3 * np.exp(-bare.distances))
    h0 = _hermitian(matrix, rng.normal(size=(4, n)) * decay * np.array([[5.0], [0.1], [0.1], [0.1]]))
    h = h0 + np.concatenate([_hermitian(matrix, 0.3 * rng.normal(size=(1, n)) * decay), np.zeros((3, n))])
    meta = Provenance(id=id, engine="synthetic", h0_definition="synthetic", magnetism="nonmagnetic")
    return LCAOSystem.single(structure, basis, pairs, {"overlap": overlap, "h0": h0, "hamiltonian": h}, meta)


def magnetic(system: LCAOSystem, *, seed: int = 1) -> LCAOSystem:
    """Return the system with a small Hermitian h that breaks time reversal added to its Hamiltonian."""
    matrix = system.operator("hamiltonian")
    noise = np.random.default_rng(seed).normal(scale=0.01, size=(1, matrix.values.shape[1]))
    extra = _hermitian(matrix, noise)[0]
    blocks = np.zeros((4, extra.size), dtype=np.complex128)
    blocks[0], blocks[3] = extra, -extra
    widened = matrix + matrix.with_values(from_spin_blocks(blocks))
    return system.with_operator("hamiltonian", widened.values)


def pairs_within(structure: Structure, cutoff_ang: float) -> PairList:
    """Return all pairs at most ``cutoff_ang`` apart, on-site included, by vesin."""
    from vesin import NeighborList

    i, j, R = NeighborList(cutoff=cutoff_ang, full_list=True).compute(
        points=structure.positions, box=structure.cell, periodic=True, quantities="ijS"
    )
    atoms = np.arange(len(structure))
    ij = np.concatenate([np.stack([atoms, atoms], axis=1), np.stack([i, j], axis=1).astype(np.int64)])
    cells = np.concatenate([np.zeros((len(atoms), 3), dtype=np.int64), np.asarray(R).astype(np.int64)])
    keep = is_canonical(ij, cells)
    return PairList.of_one(ij[keep], cells[keep])


def _decaying(matrix: BlockMatrix, values: NDArray[np.float64], norm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return blocks of the given Frobenius norms, the identity on site: |S| is a function of the distance."""
    size = np.sqrt(np.add.reduceat(values[0] ** 2, matrix.block_ptr[:-1]))
    scale = np.where(matrix.pairs.onsite, 0.0, norm / size)
    return _hermitian(matrix, values * scale[matrix.pair_of_value], diagonal=1.0)


def _hermitian(matrix: BlockMatrix, values: NDArray[np.float64], diagonal: float = 0.0) -> NDArray[np.float64]:
    out = np.array(values)
    for group in matrix.groups:
        index = group.index[matrix.pairs.onsite[group.pairs]]
        if not len(index):
            continue
        blocks = out[:, index]
        swapped = blocks.swapaxes(-1, -2)
        out[:1, index] = (blocks[:1] + swapped[:1]) / 2 + diagonal * np.eye(index.shape[-1])
        out[1:, index] = (blocks[1:] - swapped[1:]) / 2  # rows of imaginary parts
    return out

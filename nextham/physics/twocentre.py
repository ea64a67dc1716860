"""What a two-centre integral may look like: a test of S against the vectors of its pairs, without any table."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from nextham.core import BlockMatrix
from nextham.physics.harmonics import rotation_matrix

_ONSITE_ANG = 1e-3


def two_centre_residual(matrix: BlockMatrix, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each block is from an integral of two orbitals that only knows the vector between them.

    Such a block, turned into axes with z along the vector, couples m with the same m alone, and m like -m, because
    turning about the vector changes nothing. S and T are of this kind, H is not. A wrong vector, a wrong order or sign
    of orbitals, or another cell R breaks it.

    Args:
        matrix: real blocks of one operator (its first Pauli component is looked at).
        vectors: (n_pairs, 3) Å from i to j.

    Returns:
        (n_pairs,) the largest number that should not be there, in the operator's unit. Where the vector vanishes it
        is the largest number between unequal (l, m).
    """
    out = np.zeros(matrix.pairs.n_pairs)
    values = np.asarray(matrix.values[0].real)
    for group in matrix.groups:
        blocks, d = values[group.index], vectors[group.pairs]
        left, right = (matrix.basis.shells(z) for z in group.elements)
        frames = _frames(d)
        turned = _turn(left, frames) @ blocks @ _turn(right, frames).swapaxes(-1, -2)
        kept = np.where(_same_m(left, right), turned, 0.0)
        residual = np.abs(turned - (kept + _mirrored(kept, left, right)) / 2).max(axis=(1, 2))
        central = np.linalg.norm(d, axis=1) < _ONSITE_ANG
        residual[central] = np.where(_same_lm(left, right), 0.0, np.abs(blocks[central])).max(axis=(1, 2))
        out[group.pairs] = residual
    return out


def _frames(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rotations that turn each vector onto z, (n, 3, 3); any rotation for the null vector."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    z = np.where(length > 0, vectors / np.where(length > 0, length, 1.0), [0.0, 0.0, 1.0])
    x = np.cross(np.where(np.abs(z[:, :1]) < 0.6, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]), z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=1)


def _turn(shells: tuple[int, ...], frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation of an atom's orbitals, (n, n_orb, n_orb)."""
    n_orb = sum(2 * l + 1 for l in shells)
    out = np.zeros((len(frames), n_orb, n_orb))
    of_l = {l: rotation_matrix(l, frames) for l in set(shells)}
    at = 0
    for l in shells:
        out[:, at : at + 2 * l + 1, at : at + 2 * l + 1] = of_l[l]
        at += 2 * l + 1
    return out


def _m(shells: tuple[int, ...]) -> NDArray[np.int64]:
    return np.concatenate([np.arange(-l, l + 1) for l in shells])


def _same_m(left: tuple[int, ...], right: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(_m(left)[:, None] == _m(right))


def _same_lm(left: tuple[int, ...], right: tuple[int, ...]) -> NDArray[np.bool_]:
    l_left, l_right = (np.repeat(shells, [2 * l + 1 for l in shells]) for shells in (left, right))
    return np.asarray((l_left[:, None] == l_right) & _same_m(left, right))


def _mirrored(blocks: NDArray[np.float64], left: tuple[int, ...], right: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the blocks with m and -m exchanged on both sides."""
    p, q = (scipy.linalg.block_diag(*(np.eye(2 * l + 1)[::-1] for l in shells)) for shells in (left, right))
    return np.asarray(p @ blocks @ q.T)

"""Near-null directions of S(k): what a correction may do there.

Long-ranged orbitals of close atoms are nearly linearly dependent: S(k) has eigenvalues s of 1e-5 and less. Between its
eigenvectors a and b the matrix of a potential is of the order of √(s_a s_b): it vanishes where the norm does. The
errors of a prediction do not: 0.1 meV there, divided by √(s_a s_b), move bands by many eV. These are ghost states.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, SpinLayout
from nextham.core._arrays import offsets
from nextham.physics.align import aligned
from nextham.physics.bands import KMesh
from nextham.physics.bloch import bloch_sum

FLOOR: Final = 3e-3
_PASSES: Final = 5
_REACH: Final = 1.5  # of a damped matrix, in units of the farthest listed pair; what is beyond is below 1e-8 eV
_BATCH_ELEMENTS: Final = 2**23  # complex numbers per batch of k points


def damped(system: LCAOSystem, correction: BlockMatrix, *, floor: float = FLOOR, passes: int = _PASSES) -> BlockMatrix:
    """Return a correction whose parts in near-null directions of S(k) are damped.

    In the eigenvectors of S(k) each element X_ab is multiplied by n / (n + floor) with n = √(s_a s_b): it is kept
    where the orbitals are independent, and where they are not the Hamiltonian goes back to the one that is corrected.
    Only pairs with an overlap are kept, which leaks a little into those directions again; each pass leaves less of it.
    Linear, Hermitian, invariant to the energy shift, equivariant: it depends on S alone. Costs one
    eigenproblem of S(k) for each point of a mesh that tells the cells apart where a damped matrix is not zero.

    Args:
        system: one structure with its overlap.
        correction: of the Hamiltonian, on the pairs of the system, eV.
        floor: n where half is kept; 0 changes nothing.
        passes: how often.
    """
    overlap = system.operator("overlap")
    if not floor or not system.pairs.n_pairs:
        return correction
    left, mu = aligned(correction, overlap)
    mesh = KMesh.of(_mesh(system), time_reversal=correction.layout is not SpinLayout.FULL)
    n_orb = int(system.n_orb.sum())
    step = max(1, _BATCH_ELEMENTS // (len(left.values) * n_orb**2))
    batches = [slice(begin, begin + step) for begin in range(0, len(mesh.k), step)]
    solved = [np.linalg.eigh(bloch_sum(system, "overlap", mesh.k[batch])[:, 0]) for batch in batches]
    kept = overlap.support[overlap.pair_of_value]
    for _ in range(passes):
        here = system.with_operator("hamiltonian", left.values)
        values = np.zeros_like(left.values)
        for batch, (s, u) in zip(batches, solved, strict=True):
            x = bloch_sum(here, "hamiltonian", mesh.k[batch])
            values += _lattice_sum(left, system, _damped_at_k(x, s, u, floor), mesh.k[batch], mesh.weights[batch])
        left = left.with_values(values * kept)
    restored = np.array(left.values)
    restored[0] += mu * overlap.values[0]
    return left.with_values(restored)


def _mesh(system: LCAOSystem) -> tuple[int, int, int]:
    """Return how many k points along each axis tell apart all cells within reach.

    Damping makes matrices longer. What a mesh too coarse folds back depends on the choice of the cell: 1e-6 eV on one
    that resolves the listed pairs alone.
    """
    heights = 1 / np.linalg.norm(np.linalg.inv(system.cells[0]), axis=0)
    n = 2 * np.ceil(_REACH * system.distances.max() / heights).astype(np.int64) + 1
    return int(n[0]), int(n[1]), int(n[2])


def _damped_at_k(
    x: NDArray[np.complex128], s: NDArray[np.float64], u: NDArray[np.complex128], floor: float
) -> NDArray[np.complex128]:
    root = np.sqrt(s.clip(min=0.0))
    size = root[:, None, :, None] * root[:, None, None, :]
    u, back = u[:, None], u.conj().swapaxes(1, 2)[:, None]
    return np.asarray(u @ (size / (size + floor) * (back @ x @ u)) @ back)


def _lattice_sum(
    like: BlockMatrix,
    system: LCAOSystem,
    x: NDArray[np.complex128],
    k: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[Any]:
    """Return the part of these k in M(R) = Σ_k w exp(-2πi k·R) M(k), in the layout of ``like``, on its pairs."""
    factor = np.ones(len(like.values), dtype=np.complex128)
    if like.layout is SpinLayout.TIME_REVERSAL:
        factor[1:] = -1j  # rows hold Im h_x, Im h_y, Im h_z
    phases = weights[:, None] * np.exp(-2j * np.pi * (k @ system.pairs.R.T))  # (n_k, n_pairs)
    ptr = offsets(system.n_orb)
    out = np.zeros((len(like.values), like.values.shape[1]), dtype=np.complex128)
    starts = np.flatnonzero(np.r_[True, np.diff(system.pairs.ij, axis=0).any(axis=1)])
    for begin, end in zip(starts, np.r_[starts[1:], system.pairs.n_pairs], strict=True):
        i, j = system.pairs.ij[begin]
        block = np.moveaxis(x[:, :, ptr[i] : ptr[i + 1], ptr[j] : ptr[j + 1]], 1, 0)
        part = phases[:, begin:end].T @ block.reshape(len(out), len(k), -1)
        out[:, like.block_ptr[begin] : like.block_ptr[end]] = part.reshape(len(out), -1)
    out *= factor[:, None]
    return out if like.layout is SpinLayout.FULL else out.real

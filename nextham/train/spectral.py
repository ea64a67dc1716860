"""Errors in reciprocal space: what a real-space error does to the levels.

S(k) of a large basis is nearly singular, so that tiny real-space errors can move levels by eV; a
model that is good in real space alone may have worse bands than H0.
"""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextham.core import LCAOSystem
from nextham.core._arrays import offsets
from nextham.model.on_device import OnDevice
from nextham.physics import subspace
from nextham.physics.bloch import bloch_sum
from nextham.physics.eigen import solve

_EVERY = slice(None)


@dataclasses.dataclass(frozen=True)
class Spectrum(OnDevice):
    """Reference eigenvectors of one structure at some k, and how values become matrices there.

    The spin-orbit part enters H and H0 alike, so the eigenvectors of the spin scalar h_0 suffice.
    """

    place: Tensor  # (n_values,) row-major place of each value in the n_orb x n_orb matrix
    pair: Tensor  # (n_values,)
    phase: Tensor  # (n_k, n_pairs) exp(2πi k·R), 1/2 on-site, complex128
    vectors: Tensor  # (n_k, n_orb, n_bands) S-orthonormal, complex128
    low: Tensor  # (n_k, n_bands) 1 for levels up to the cut (P)
    high: Tensor  # (n_k, n_bands) 1 for the other levels (Q)
    n_orb: int

    @classmethod
    def of(cls, system: LCAOSystem, *, n_k: int, cut_ev: float, seed: int) -> Spectrum:
        """Solve one labelled structure at Γ and n_k - 1 random k, which follow from seed and id.

        Args:
            system: one structure with S and H.
            n_k: number of k.
            cut_ev: P holds the levels up to this above the Fermi level; all levels where none is recorded.
            seed: of the k points.
        """
        k = cls.k_points(system.ids[0], n_k=n_k, seed=seed)
        h, s = (bloch_sum(system, name, k)[:, 0] for name in ("hamiltonian", "overlap"))
        solved = solve(h, s, vectors=True)
        low, high = subspace.low_and_high(solved.energies, system.meta[0].fermi_energy_ev, cut_ev)
        phase = np.exp(2j * np.pi * (k @ system.pairs.R.T))
        phase[:, system.pairs.onsite] = 0.5  # the Hermitian conjugate adds the other half
        assert solved.vectors is not None
        return cls(
            place=torch.from_numpy(_places(system)),
            pair=torch.tensor(system.operator("overlap").pair_of_value),
            phase=torch.from_numpy(phase),
            vectors=torch.from_numpy(solved.vectors),
            low=torch.from_numpy(low.astype(np.float64)),
            high=torch.from_numpy(high.astype(np.float64)),
            n_orb=int(system.n_orb.sum()),
        )

    @staticmethod
    def k_points(id: str, *, n_k: int, seed: int) -> NDArray[np.float64]:
        """Return Γ and n_k - 1 random k, (n_k, 3) fractional."""
        rng = np.random.default_rng([seed, zlib.crc32(id.encode())])
        return np.concatenate([np.zeros((1, 3)), rng.uniform(-0.5, 0.5, size=(n_k - 1, 3))])

    def projected(self, error: Tensor, at: Tensor | slice = _EVERY) -> Tensor:
        """Return C† E(k) C (len(at), n_bands, n_bands) eV of real-space errors (n_values,) at some or all k."""
        phased = self.phase[at][:, self.pair] * error
        flat = phased.new_zeros(len(phased), self.n_orb**2).scatter_add(1, self.place.expand_as(phased), phased)
        half = flat.reshape(-1, self.n_orb, self.n_orb)
        error_k: Tensor = subspace.projected(half + half.mH, self.vectors[at])
        return error_k

    def means(self, projected: Tensor, at: Tensor | slice = _EVERY) -> Tensor:
        """Return the means (3,) eV of |C† E C| among the levels P, between P and Q, and among the levels Q."""
        found = subspace.sums(projected.abs(), self.low[at], self.high[at])
        return torch.stack([total / count.clamp(min=1) for total, count in found])

    def errors(self, error: Tensor, at: Tensor | slice = _EVERY) -> Tensor:
        """Return the means (3,) eV of real-space errors (n_values,)."""
        return self.means(self.projected(error, at), at)


def _places(system: LCAOSystem) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    matrix = system.operator("overlap")
    starts = offsets(system.n_orb)
    n = int(starts[-1])
    place = np.zeros(matrix.values.shape[1], dtype=np.int64)
    for group in matrix.groups:
        i, j = system.pairs.ij[group.pairs].T
        rows = starts[i][:, None, None] + np.arange(group.index.shape[1])[:, None]
        columns = starts[j][:, None, None] + np.arange(group.index.shape[2])
        place[group.index] = rows * n + columns
    return place

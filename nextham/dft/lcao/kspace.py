"""k space: Bloch sums, eigenproblems, occupations and the density matrix of a non-magnetic crystal (torch).

Time reversal makes k and -k equivalent, so that half of the mesh is solved. The overlap is factorised once,
S(k) = L L†, and what no density changes is brought to the orthogonal basis once: each step then solves the ordinary
problem of L⁻¹ H L⁻†.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextham.core import BlockMatrix, PairList
from nextham.core._arrays import offsets
from nextham.dft.engine import Cause, RunError
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.device import cut_of
from nextham.dft.lcao.hamiltonian import FixedParts
from nextham.physics.bands import KMesh

_EMPTY = 1e-14  # bands with less occupation at every k carry no density
_MATRICES_AT_ONCE = 2**22  # elements of a batch of eigenproblems
_FERMI_BITS = 54  # from 100 Ry to 6e-15 Ry


class BlochSums:
    """M(k) = Σ_R e^(2πi k·R) M(R) of real matrices on one pair list, and its adjoint."""

    def __init__(self, crystal: Crystal, pairs: PairList, k: NDArray[np.float64], device: torch.device) -> None:
        self._starts = offsets(crystal.n_orb).tolist()
        phase = torch.from_numpy(2 * np.pi * k @ pairs.R.T).to(device)
        self._phases = torch.cat([phase.cos(), phase.sin()])  # (2 n_k, n_pairs)
        self._halved = self._phases.clone()
        self._halved[:, torch.from_numpy(pairs.onsite.copy()).to(device)] *= 0.5  # M + M† adds the other half
        self._n_k, self._pairs = len(k), pairs
        first = np.flatnonzero(np.r_[True, np.diff(pairs.ij, axis=0).any(axis=1)])
        self._runs = list(zip(first.tolist(), [*first[1:].tolist(), pairs.n_pairs], strict=True))

    def forward(self, values: Tensor, *, odd: bool = False) -> Tensor:
        """Return (n_k, n, n) of values (n_values,): Hermitian, or anti-Hermitian for ``odd`` M(-R) = -M(R)ᵀ."""
        n = self._starts[-1]
        out = torch.zeros((self._n_k, n, n), dtype=torch.complex128, device=values.device)
        for pairs, rows, columns, span in self._blocks():
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            sums = self._halved[:, pairs] @ values[span].view(pairs.stop - pairs.start, -1)
            sums = sums.view(2, self._n_k, *shape)
            out[:, rows, columns] = torch.complex(sums[0], sums[1])
        return out - out.mH if odd else out + out.mH

    def backward(self, matrices: Tensor, weights: Tensor) -> Tensor:
        """Return Re Σ_k w_k e^(-2πi k·R) M(k), (n_values,), of matrices (n_k, n, n)."""
        weighted = matrices * weights[:, None, None]
        parts = []
        for pairs, rows, columns, _ in self._blocks():
            block = weighted[:, rows, columns].reshape(self._n_k, -1)
            parts.append((self._phases[:, pairs].T @ torch.cat([block.real, block.imag])).reshape(-1))
        return torch.cat(parts)

    def _blocks(self) -> Iterator[tuple[slice, slice, slice, slice]]:
        """Return pairs, rows, columns and place in the values of each two atoms."""
        at = 0
        for begin, end in self._runs:
            i, j = self._pairs.ij[begin].tolist()
            rows = slice(self._starts[i], self._starts[i + 1])
            columns = slice(self._starts[j], self._starts[j + 1])
            size = (end - begin) * (rows.stop - rows.start) * (columns.stop - columns.start)
            yield slice(begin, end), rows, columns, slice(at, at + size)
            at += size


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """Levels of one Hamiltonian, filled."""

    energies: Tensor  # (n_k, n_bands) Ry
    fermi: Tensor  # () Ry
    free_energy: Tensor  # () Ry, of the filled levels with the entropy of their smearing
    density_matrix: Tensor  # (n_values,) on the overlapping pairs


class KSpace:
    """The eigenproblems of one crystal on one mesh."""

    def __init__(self, crystal: Crystal, fixed: FixedParts, mesh: KMesh, *, device: torch.device, id: str) -> None:
        self._weights = torch.from_numpy(mesh.weights).to(device)
        self._n_electrons = crystal.n_electrons
        self._local = BlochSums(crystal, fixed.overlap.pairs, mesh.k, device)
        self._inverse = _inverse_factor(self._local.forward(_tensor(fixed.overlap, 0, device)), id)
        self._n = self._inverse.shape[-1]
        if self._n_electrons > 2 * self._n:
            raise RunError(
                Cause.BAD_INPUT,
                f"{id} has {self._n_electrons:g} electrons but {2 * self._n} spin orbitals; use larger orbital files",
            )
        self._fixed = self._fixed_part(crystal, fixed, mesh, device)

    def _fixed_part(self, crystal: Crystal, fixed: FixedParts, mesh: KMesh, device: torch.device) -> Tensor:
        """Return T + V_nl in the orthogonal basis, (n_k, 2, n, 2, n)."""
        sums = BlochSums(crystal, fixed.nonlocal_part.pairs, mesh.k, device)
        scalar, x, y, z = (
            self._orthogonal(sums.forward(_tensor(fixed.nonlocal_part, s, device), odd=s > 0)) for s in range(4)
        )
        scalar += self._orthogonal(self._local.forward(_tensor(fixed.kinetic, 0, device)))
        out = torch.empty((len(mesh.k), 2, self._n, 2, self._n), dtype=torch.complex128, device=device)
        out[:, 0, :, 0], out[:, 1, :, 1] = scalar + 1j * z, scalar - 1j * z
        out[:, 0, :, 1], out[:, 1, :, 0] = 1j * x + y, 1j * x - y
        return out

    def _orthogonal(self, matrices: Tensor) -> Tensor:
        return self._inverse @ matrices @ self._inverse.mH

    def solve(self, potential: Tensor, sigma_ry: float) -> Solution:
        """Solve with a local potential (n_values,), fill the levels and return the density matrix."""
        local = self._orthogonal(self._local.forward(potential))
        energies, vectors = [], []
        step = max(1, _MATRICES_AT_ONCE // (2 * self._n) ** 2)
        for begin in range(0, len(local), step):
            part = slice(begin, begin + step)
            h = self._fixed[part].clone()
            h[:, 0, :, 0] += local[part]
            h[:, 1, :, 1] += local[part]
            e, c = torch.linalg.eigh(h.view(-1, 2 * self._n, 2 * self._n))
            energies.append(e)
            vectors.append(c)
        levels = torch.cat(energies)
        fermi, filling = occupations(levels, self._weights, self._n_electrons, sigma_ry)
        free = free_energy(levels, self._weights, fermi, sigma_ry)
        matrix = self._density(vectors, filling)
        return Solution(levels, fermi, free, self._local.backward(matrix, self._weights))

    def _density(self, vectors: list[Tensor], filling: Tensor) -> Tensor:
        """Return Σ_bands f c c† summed over spin, (n_k, n, n)."""
        n_bands = int((filling > _EMPTY).any(dim=0).sum())
        parts, begin = [], 0
        for c in vectors:
            f = filling[begin : begin + len(c), :n_bands]
            spinors = c[:, :, :n_bands].view(len(c), 2, self._n, n_bands).permute(0, 2, 1, 3)
            spinors = self._inverse[begin : begin + len(c)].mH @ spinors.reshape(len(c), self._n, -1)
            parts.append((spinors * f.repeat(1, 2)[:, None]) @ spinors.mH)
            begin += len(c)
        return torch.cat(parts)


def occupations(energies: Tensor, weights: Tensor, n_electrons: float, sigma_ry: float) -> tuple[Tensor, Tensor]:
    """Return the Fermi level () and fillings (n_k, n_bands), f = erfc((ε - E_F)/σ)/2, one electron per level.

    The bracket is cut to the last digit in a fixed number of steps, so that an accelerator is never waited for.
    """
    levels = energies / sigma_ry
    low, high = levels.min() - 20, levels.max() + 20
    trials = cut_of(energies.device).fermi_trials
    fractions = torch.arange(1, trials + 1, dtype=torch.float64, device=energies.device) / (trials + 1)
    for _ in range(math.ceil(_FERMI_BITS / math.log2(trials + 1))):
        fermi = low + (high - low) * fractions
        counts = torch.erfc(levels - fermi[:, None, None]).sum(dim=2) @ weights  # twice the electrons
        few = counts < 2 * n_electrons
        low, high = torch.where(few, fermi, low).amax(), torch.where(few, high, fermi).amin()
    fermi = (low + high) / 2
    return fermi * sigma_ry, torch.erfc(levels - fermi) / 2


def free_energy(energies: Tensor, weights: Tensor, fermi: Tensor, sigma_ry: float) -> Tensor:
    """Return Σ f ε - TS, (): with Gaussian smearing TS = σ/(2√π) Σ e^(-x²), x = (ε - E_F)/σ."""
    x = (energies - fermi) / sigma_ry
    entropy = torch.exp(-x * x) / (2 * math.sqrt(math.pi))
    return (torch.erfc(x) / 2 * energies - sigma_ry * entropy).sum(dim=1) @ weights


def _tensor(matrix: BlockMatrix, row: int, device: torch.device) -> Tensor:
    return torch.from_numpy(matrix.values[row].copy()).to(device)


def _inverse_factor(overlap: Tensor, id: str) -> Tensor:
    """Return L⁻¹ of S(k) = L L†."""
    factor, failed = torch.linalg.cholesky_ex(overlap)
    if bool(failed.any()):
        raise RunError(
            Cause.BAD_INPUT,
            f"{id}: the overlap matrix is not positive definite at {int((failed > 0).sum())} k points; "
            "the orbitals are linearly dependent in this structure: check distances, or use a smaller orbital set",
        )
    identity = torch.eye(overlap.shape[-1], dtype=overlap.dtype, device=overlap.device).expand_as(overlap)
    inverse: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
    return inverse

"""The Hamiltonian of a crystal in its orbitals: H = T + V_nl + V(r), and the parts that no density changes."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from nextham.core import BlockMatrix, PairList, SpinLayout
from nextham.core.blocks import block_offsets
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.neighbours import local_pairs
from nextham.dft.lcao.projectors import nonlocal_potential
from nextham.dft.lcao.radial import RadialGrid, orbital_set
from nextham.dft.lcao.twocentre import Operator, two_centre


@dataclasses.dataclass(frozen=True, eq=False)
class FixedParts:
    """What does not depend on the density; energies in Ry."""

    overlap: BlockMatrix  # scalar, on pairs whose orbitals overlap
    kinetic: BlockMatrix  # scalar, on the same pairs
    nonlocal_part: BlockMatrix  # time-reversal layout, on all pairs of H

    @classmethod
    def of(cls, crystal: Crystal) -> FixedParts:
        """Compute the fixed parts of a crystal."""
        cutoff = max(crystal.orbital_cutoffs.max(), crystal.projector_cutoffs.max())
        grid = RadialGrid.of_cutoff(float(cutoff))
        pairs = local_pairs(crystal)
        overlap, kinetic = (_matrix(crystal, grid, pairs, operator) for operator in Operator)
        return cls(overlap, kinetic, nonlocal_potential(crystal, grid, pairs))

    @property
    def pairs(self) -> PairList:
        """Pairs of H: those that overlap and those that share a projector atom."""
        return self.nonlocal_part.pairs

    def hamiltonian(self, potential: Tensor) -> BlockMatrix:
        """Return H in Ry, time-reversal layout, of the local potential (n_values,) on the overlapping pairs."""
        local = self.kinetic.values[0] + potential.cpu().numpy()
        spread = self.kinetic.with_values(local[None]).on(self.pairs)
        return self.nonlocal_part + spread.with_layout(SpinLayout.TIME_REVERSAL)


def _matrix(crystal: Crystal, grid: RadialGrid, pairs: PairList, operator: Operator) -> BlockMatrix:
    n_values = int(block_offsets(crystal.basis, crystal.numbers, pairs)[-1])
    matrix = BlockMatrix(crystal.basis, crystal.numbers, pairs, np.zeros((1, n_values)))
    vectors = crystal.vectors(pairs.ij, pairs.R)
    values = torch.zeros(n_values, dtype=torch.float64)
    for group in matrix.groups:
        first, second = (orbital_set(grid, crystal.species[z]) for z in group.elements)
        values[torch.from_numpy(group.index)] = two_centre(grid, first, second, operator)(vectors[group.pairs])
    return matrix.with_values(values.numpy()[None])

"""The local potential on the grid: V_loc + V_H[ρ] + V_xc[ρ + ρ_core]."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from nextham.dft.lcao.atomic import AtomicFields, superposed
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.lcao.settings import H0Definition
from nextham.dft.lcao.xc import exchange_correlation


@dataclasses.dataclass(frozen=True, eq=False)
class LocalPotential:
    """The effective potential of a crystal as a functional of its valence density."""

    grid: FFTGrid
    atoms: AtomicFields

    @classmethod
    def of(cls, crystal: Crystal, grid: FFTGrid) -> LocalPotential:
        """Superpose the atoms of a crystal on a grid."""
        return cls(grid, superposed(crystal, grid))

    def of_density(self, density: Tensor) -> tuple[Tensor, Tensor]:
        """Return V (n_points,), and what the levels in V count twice: E_H + E_xc - ∫ρ (V_H + V_xc), (); both in Ry."""
        hartree = self.grid.hartree(density)
        v_xc, e_xc = exchange_correlation(density, self.atoms.core, self.grid)
        twice = e_xc - self.grid.weight * (density @ (hartree / 2 + v_xc))
        return self.atoms.local + hartree + v_xc, twice

    def of_h0(self, definition: H0Definition) -> Tensor:
        """Return the potential (n_points,), Ry, that a definition of H0 holds."""
        return _H0_POTENTIALS[definition](self)


def _of_atoms(potential: LocalPotential) -> Tensor:
    return potential.of_density(potential.atoms.density)[0]


def _of_cores(potential: LocalPotential) -> Tensor:
    return potential.atoms.local


_H0_POTENTIALS = {H0Definition.ATOMIC_DENSITY: _of_atoms, H0Definition.CORE: _of_cores}

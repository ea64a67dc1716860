"""Crystal: a structure with its species, in the engine's units (Bohr, Rydberg)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nextham.core import OrbitalBasis, Structure
from nextham.dft.geometry import folded
from nextham.dft.species.species import Species, basis_of
from nextham.units import BOHR_ANG


@dataclasses.dataclass(frozen=True, eq=False)
class Crystal:
    """One crystal in Bohr; atoms grouped by element and folded into the home cell."""

    structure: Structure  # the same in Å
    species: Mapping[int, Species]  # by atomic number

    @classmethod
    def of(cls, structure: Structure, species: Mapping[int, Species]) -> Crystal:
        """Group and fold a structure, as ABACUS does so that both engines agree on every R."""
        atoms = structure.grouped()
        inside = Structure(atoms.numbers, folded(atoms.fractional) @ atoms.cell, atoms.cell)
        return cls(inside, species)

    @cached_property
    def cell(self) -> NDArray[np.float64]:
        """Lattice vectors as rows, Bohr."""
        return np.asarray(self.structure.cell / BOHR_ANG, dtype=np.float64)

    @cached_property
    def positions(self) -> NDArray[np.float64]:
        """Positions (n_atoms, 3), Bohr."""
        found: NDArray[np.float64] = self.structure.positions / BOHR_ANG
        return found

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Atomic numbers (n_atoms,)."""
        return self.structure.numbers

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)

    @cached_property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers in the order of the atoms, each once."""
        return tuple(dict.fromkeys(self.numbers.tolist()))

    @cached_property
    def basis(self) -> OrbitalBasis:
        """Orbital basis of these elements."""
        return basis_of({z: self.species[z] for z in self.elements})

    @cached_property
    def n_orb(self) -> NDArray[np.int64]:
        """Number of orbitals of each atom, without spin."""
        return self.basis.n_orb_of(self.numbers)

    @cached_property
    def volume(self) -> float:
        """Cell volume, Bohr³."""
        return float(abs(np.linalg.det(self.cell)))

    @cached_property
    def orbital_cutoffs(self) -> NDArray[np.float64]:
        """Radius of the orbitals of each atom."""
        return np.array([self.species[int(z)].orbitals.cutoff for z in self.numbers])

    @cached_property
    def projector_cutoffs(self) -> NDArray[np.float64]:
        """Radius of the projectors of each atom."""
        return np.array([self.species[int(z)].pseudo.projector_cutoff for z in self.numbers])

    @cached_property
    def n_electrons(self) -> float:
        """Valence electrons per cell."""
        return float(sum(self.species[int(z)].pseudo.z_valence for z in self.numbers))

    def vectors(self, ij: NDArray[np.int64], R: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return d = x_j + R·cell - x_i of pairs (n, 2), (n, 3): (n, 3) Bohr."""
        d: NDArray[np.float64] = self.positions[ij[:, 1]] + R @ self.cell - self.positions[ij[:, 0]]
        return d

"""Plane-wave states of small crystals: what a good basis of numerical orbitals must span.

The potential is that of superposed pseudo-atoms, without self-consistency and with a local functional:
the states only say where bonds put their electrons. No spin-orbit coupling. Hartree and Bohr.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.linalg import eigh
from scipy.special import spherical_jn

from nextham.dft.species.generate.functional import local_potential
from nextham.dft.species.generate.pseudo_atom import PseudoAtom
from nextham.dft.species.generate.radial import Mesh
from nextham.physics.harmonics import real_harmonics

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Radial = Callable[[Array], Array]

_Q_STEP = 0.04
_FCC = 0.5 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])


@dataclass(frozen=True, eq=False)
class Crystal:
    """Atoms in a cell.

    Attributes:
        cell: rows are lattice vectors, (3, 3) bohr.
        positions: (n_atoms, 3) bohr.
        atoms: the solved pseudo-atom on each site.
    """

    cell: Array
    positions: Array
    atoms: tuple[PseudoAtom, ...]

    @cached_property
    def volume(self) -> float:
        """Bohr³."""
        return float(abs(np.linalg.det(self.cell)))

    @cached_property
    def reciprocal(self) -> Array:
        """Rows b_i with a_i·b_j = 2π δ_ij, (3, 3)."""
        return np.asarray(2.0 * np.pi * np.linalg.inv(self.cell).T)

    @property
    def n_electrons(self) -> float:
        """Valence electrons in the cell."""
        return float(sum(atom.potential.valence for atom in self.atoms))

    def waves(self, k: Array, q_max: float, q_min: float = -1.0) -> Array:
        """Return all k + G (bohr⁻¹) with q_min < |k + G| <= q_max, (n, 3); k is fractional."""
        shift = k @ self.reciprocal
        reach = (q_max + np.linalg.norm(shift)) * np.linalg.norm(self.cell, axis=1) / (2.0 * np.pi)
        axes = [np.arange(-m, m + 1) for m in np.ceil(reach).astype(int)]
        integers = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        waves = integers @ self.reciprocal + shift
        size = np.linalg.norm(waves, axis=1)
        return np.asarray(waves[(size <= q_max) & (size > q_min)])


def diamond(atom: PseudoAtom, bond: float) -> Crystal:
    """Return the diamond structure with a bond length in bohr."""
    cell = _FCC * bond * 4.0 / np.sqrt(3.0)
    return Crystal(cell, np.array([[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]]) @ cell, (atom, atom))


def simple_cubic(atom: PseudoAtom, bond: float) -> Crystal:
    """Return the simple cubic structure with a nearest-neighbour distance in bohr."""
    return Crystal(np.eye(3) * bond, np.zeros((1, 3)), (atom,))


def transform(mesh: Mesh, functions: Array, l: int, q_max: float) -> Radial:
    """Return q -> 4π ∫ r² f(r) j_l(qr) dr of functions (n_functions, n), as (n_q, n_functions)."""
    q = np.arange(0.0, q_max + 4 * _Q_STEP, _Q_STEP)
    values = spherical_jn(l, np.outer(q, mesh.r)) @ (mesh.volume[:, None] * functions.T)
    spline = CubicSpline(q, values)

    def evaluate(size: Array) -> Array:
        return np.asarray(spline(size))

    return evaluate


def bloch_sums(crystal: Crystal, waves: Array, site: int, l: int, radial: Radial) -> Complex:
    """Return <k + G|Σ_R f Y_lm(r - τ - R)>, (n_waves, 2l + 1, n_functions), for functions on one site.

    (1/√Ω) exp(-i (k+G)·τ) (-i)^l Y_lm F(|k + G|).
    """
    size = np.linalg.norm(waves, axis=1)
    phase = np.exp(-1j * (waves @ crystal.positions[site])) * (-1j) ** l / np.sqrt(crystal.volume)
    angular = real_harmonics(l, waves) * phase[:, None]
    return np.asarray(angular[:, :, None] * radial(size)[:, None, :])


@dataclass(frozen=True, eq=False)
class BlochStates:
    """Lowest states at one k point.

    Attributes:
        k: fractional, (3,).
        waves: k + G, (n_waves, 3).
        hamiltonian: (n_waves, n_waves).
        energies: (n_bands,) Hartree.
        vectors: (n_waves, n_bands).
    """

    k: Array
    waves: Array
    hamiltonian: Complex
    energies: Array
    vectors: Complex


class PlaneWaves:
    """A crystal's Hamiltonian in plane waves with kinetic energy up to q_max²/2."""

    def __init__(self, crystal: Crystal, q_max: float) -> None:
        self.crystal, self.q_max = crystal, q_max
        self._distinct = {id(atom): atom for atom in crystal.atoms}
        self._local, self._shape = self._local_part()

    def _local_part(self) -> tuple[Complex, tuple[int, int, int]]:
        """V(G) on an FFT grid that holds all differences of two waves."""
        crystal = self.crystal
        reach = 2.0 * self.q_max * np.linalg.norm(crystal.cell, axis=1) / (2.0 * np.pi)
        n1, n2, n3 = (2 * int(np.ceil(m)) + 3 for m in reach)
        axes = [np.fft.fftfreq(n, 1.0 / n) for n in (n1, n2, n3)]
        g = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) @ crystal.reciprocal
        size = np.linalg.norm(g, axis=1)
        kept = size <= 2.0 * self.q_max
        v, rho = np.zeros(len(g), dtype=complex), np.zeros(len(g), dtype=complex)
        for key, atom in self._distinct.items():
            fields = np.array([atom.potential.local(atom.mesh.r) + atom.hartree, atom.density])
            factors = transform(atom.mesh, fields, 0, 2.0 * self.q_max)(size[kept]) / crystal.volume
            sites = [p for p, a in zip(crystal.positions, crystal.atoms, strict=True) if id(a) == key]
            structure = sum(np.exp(-1j * (g[kept] @ p)) for p in sites)
            v[kept] += factors[:, 0] * structure
            rho[kept] += factors[:, 1] * structure
        density = np.fft.ifftn(rho.reshape(n1, n2, n3)).real * len(g)
        v_xc = np.fft.fftn(local_potential(density)) / len(g)
        return v.reshape(n1, n2, n3) + v_xc, (n1, n2, n3)

    def states(self, k: Array, n_bands: int) -> BlochStates:
        """Return the lowest bands at k (fractional)."""
        crystal = self.crystal
        waves = crystal.waves(k, self.q_max)
        integers = np.rint((waves - k @ crystal.reciprocal) @ crystal.cell.T / (2.0 * np.pi)).astype(int)
        i, j, m = (np.subtract.outer(x, x) % n for x, n in zip(integers.T, self._shape, strict=True))
        h = self._local[i, j, m]
        h[np.diag_indices(len(waves))] += 0.5 * (waves**2).sum(axis=1)
        for site, atom in enumerate(crystal.atoms):
            for channel in atom.potential.channels:
                radial = transform(atom.mesh, channel.projectors(atom.mesh.r), channel.l, self.q_max)
                p = bloch_sums(crystal, waves, site, channel.l, radial)
                h += np.einsum("gmi,ij,hmj->gh", p, channel.h, p.conj(), optimize=True)
        energies, vectors = eigh(h, subset_by_index=[0, min(n_bands, len(h)) - 1], driver="evr")
        return BlochStates(k, waves, h, energies, vectors)

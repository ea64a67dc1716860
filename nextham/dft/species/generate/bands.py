"""How far a set of atomic orbitals lifts given bands, and the gradient of that.

With A the Bloch sums of a smooth Bessel space and C its contraction to orbitals, the bands ε_n of the
pencil (C† A†HA C, C† A†A C) lie above those of the complete basis by the variational principle. What is
minimised is their mean weighted distance; by the Hellmann-Feynman theorem
dε_n/dC = 2 Re (A†HA - ε_n A†A) C x_n x_n†.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, null_space

from nextham.dft.species.generate.crystal import BlochStates, Crystal, Radial, bloch_sums, transform
from nextham.dft.species.generate.radial import BesselBasis, Mesh

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

MARGIN: Final = 1.05  # plane waves reach this much beyond the orbitals' cutoff, to count what leaks there
_NORM_PIN = 1e-3
_RIDGE = 1e-10
_SCALE = 1e3  # values in mHartree suit the optimiser's thresholds


class SmoothSpace:
    """Radial functions of one l inside a sphere, with j_l(qr) up to a cutoff, that end smoothly.

    R is zero at the end by construction; Σ c R_n' = 0 and Σ c q_n² R_n' = 0 there make R', R'' and R''' vanish.

    Attributes:
        basis: the Bessel functions.
        columns: orthonormal combinations that end smoothly, (n_basis, n_smooth).
    """

    def __init__(self, mesh: Mesh, l: int, q_max: float) -> None:
        self.l, self.q_max = l, q_max
        self.basis = BesselBasis(mesh, l, q_max)
        slopes = self.basis.slopes[:, -1]
        rows = np.array([slopes, slopes * self.basis.q**2])
        self.columns: Array = null_space(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    @property
    def size(self) -> int:
        """Number of smooth functions."""
        return int(self.columns.shape[1])

    @cached_property
    def functions(self) -> Array:
        """R(r), (n_smooth, n)."""
        return np.asarray(self.columns.T @ self.basis.values)

    @cached_property
    def radial(self) -> Radial:
        """Their transforms."""
        return transform(self.basis.mesh, self.functions, self.l, self.q_max * MARGIN)


@dataclass(frozen=True, eq=False)
class Target:
    """One k point of one crystal in the smooth space.

    Attributes:
        overlap, hamiltonian: A†A and A†HA, (n, n).
        energies: of the bands in plane waves, (n_bands,) Hartree.
        weights: (n_bands,).
        layout: l of each run of smooth functions along n, in order.
    """

    overlap: Complex
    hamiltonian: Complex
    energies: Array
    weights: Array
    layout: tuple[int, ...]


def project(crystal: Crystal, states: BlochStates, spaces: dict[int, SmoothSpace], weights: Array) -> Target:
    """Return a k point's matrices between the smooth functions on every site.

    Waves beyond those of the reference carry kinetic energy alone; without them a rough orbital would cost nothing.
    """
    inner = len(states.waves)
    reach = max(space.q_max for space in spaces.values()) * MARGIN
    largest = float(np.linalg.norm(states.waves, axis=1).max())
    waves = np.vstack([states.waves, crystal.waves(states.k, reach, q_min=largest + 1e-9)])
    blocks, layout = [], []
    for l, space in spaces.items():
        for site in range(len(crystal.atoms)):
            sums = bloch_sums(crystal, waves, site, l, space.radial)  # (n_waves, 2l + 1, n_smooth)
            blocks.append(sums.reshape(len(waves), -1))
            layout += [l] * (2 * l + 1)
    a = np.concatenate(blocks, axis=1)
    kinetic = 0.5 * (waves[inner:] ** 2).sum(axis=1)
    return Target(
        overlap=a.conj().T @ a,
        hamiltonian=a[:inner].conj().T @ (states.hamiltonian @ a[:inner]) + (a[inner:].conj().T * kinetic) @ a[inner:],
        energies=states.energies,
        weights=weights,
        layout=tuple(layout),
    )


class BandEnergy:
    """Mean weighted distance of the bands, mHartree; c holds the coefficients of every orbital.

    Args:
        targets: what to span.
        sizes: number of smooth functions of each l.
        zetas: number of orbitals of each l.
    """

    def __init__(self, targets: list[Target], sizes: dict[int, int], zetas: dict[int, int]) -> None:
        self.targets, self.sizes, self.zetas = targets, sizes, zetas
        self.total = float(sum(t.weights.sum() for t in targets))

    def unpack(self, x: Array) -> dict[int, Array]:
        """Return coefficients {l: (n_zeta, n_smooth)}."""
        parts, start = {}, 0
        for l, count in self.zetas.items():
            end = start + count * self.sizes[l]
            parts[l] = x[start:end].reshape(count, self.sizes[l])
            start = end
        return parts

    def pack(self, parts: dict[int, Array]) -> Array:
        """Return the flat vector of ``unpack``."""
        return np.concatenate([parts[l].ravel() for l in self.zetas])

    def contraction(self, target: Target, parts: dict[int, Array]) -> Array:
        """Return C, (n, n_orbitals): each run of smooth functions to its orbitals."""
        rows = sum(self.sizes[l] for l in target.layout)
        c = np.zeros((rows, sum(self.zetas[l] for l in target.layout)))
        row = column = 0
        for l in target.layout:
            c[row : row + self.sizes[l], column : column + self.zetas[l]] = parts[l].T
            row, column = row + self.sizes[l], column + self.zetas[l]
        return c

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Return the mean distance, plus a weak pin of the orbitals' norms, and its gradient."""
        parts = self.unpack(x)
        gradient = {l: np.zeros_like(p) for l, p in parts.items()}
        value = sum(self._target(target, parts, gradient) for target in self.targets) * _SCALE / self.total
        for l, p in parts.items():
            excess = (p**2).sum(axis=1) - 1.0
            value += _NORM_PIN * float(excess @ excess)
            gradient[l] = gradient[l] * _SCALE / self.total + 4.0 * _NORM_PIN * excess[:, None] * p
        return value, self.pack(gradient)

    def bands(self, target: Target, parts: dict[int, Array]) -> tuple[Array, Complex, Complex]:
        """Return ε and, for the gradient, (A†HA - ε A†A) C x and x of the bands with weights."""
        c = self.contraction(target, parts)
        hc, sc = target.hamiltonian @ c, target.overlap @ c
        n_bands = len(target.weights)
        s = c.T @ sc + _RIDGE * np.eye(c.shape[1])
        energies, x = eigh(c.T @ hc, s, subset_by_index=[0, n_bands - 1])
        return energies, hc @ x - (sc @ x) * energies, x

    def _target(self, t: Target, parts: dict[int, Array], gradient: dict[int, Array]) -> float:
        """Add one target's gradient and return its weighted distance."""
        energies, residual, x = self.bands(t, parts)
        slope = 2.0 * ((residual * t.weights) @ x.conj().T).real  # (n, n_orbitals)
        row = column = 0
        for l in t.layout:
            gradient[l] += slope[row : row + self.sizes[l], column : column + self.zetas[l]].T
            row, column = row + self.sizes[l], column + self.zetas[l]
        return float(t.weights @ (energies - t.energies))

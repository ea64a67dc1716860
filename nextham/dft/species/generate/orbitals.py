"""Numerical atomic orbitals: least spillage of a few elemental crystals' Bloch states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize

from nextham.dft.species.generate.crystal import BlochStates, Crystal, PlaneWaves, bloch_sums, close_packed, diamond
from nextham.dft.species.generate.gth import Potential
from nextham.dft.species.generate.pseudo_atom import AtomSettings, PseudoAtom, fixed_part, solve
from nextham.dft.species.generate.radial import Mesh
from nextham.dft.species.generate.spillage import SmoothSpace, Spillage, Target, project
from nextham.units import BOHR_ANG

Array = NDArray[np.float64]

K_POINTS: Final = (
    ((0.25, 0.25, 0.25), 1.0),
    ((0.125, 0.375, 0.25), 1.0),
    ((0.5, 0.25, 0.0), 1.0),
    ((0.0, 0.0, 0.0), 0.5),
)
_HARDNESS = 2.5  # the reference's waves end at this over the smallest Gaussian radius, or at the orbitals' cutoff


@dataclass(frozen=True)
class OrbitalSettings:
    """What is optimised.

    Attributes:
        radius: of the orbitals, bohr.
        cutoff_ry: of their Bessel functions.
        zetas: number of orbitals of each l.
        metric: α of the weight 1 + α q²/2.
        conduction_weight: of empty states; occupied ones have 1.
        conduction_bands: empty bands counted, per atom.
        scales: bond lengths in units of twice the covalent radius.
        max_steps: of the optimiser.
    """

    radius: float = 7.0
    cutoff_ry: float = 100.0
    zetas: dict[int, int] = field(default_factory=lambda: {0: 2, 1: 2, 2: 1})
    metric: float = 4.0
    conduction_weight: float = 0.05
    conduction_bands: int = 4
    scales: tuple[float, ...] = (1.0, 1.2)
    max_steps: int = 300


@dataclass(frozen=True, eq=False)
class Orbitals:
    """Radial functions of an element.

    Attributes:
        mesh: where they are given.
        cutoff_ry: see OrbitalSettings.
        functions: R(r) of each l, (n_zeta, n), orthonormal, zero at the end.
        spillage: per unit weight, before and after the optimisation.
        occupied_error, gap_error: mean error of occupied bands and of the lowest empty band in the diamond
            structure against plane waves in the same potential, Hartree.
    """

    mesh: Mesh
    cutoff_ry: float
    functions: dict[int, Array]
    spillage: tuple[float, float]
    occupied_error: float
    gap_error: float


def optimise(atom: PseudoAtom, settings: OrbitalSettings) -> Orbitals:
    """Return the orbitals of least spillage for a spin-averaged pseudo-atom."""
    mesh = Mesh(settings.radius)
    q_max = float(np.sqrt(settings.cutoff_ry))
    spaces = {l: SmoothSpace(mesh, l, q_max) for l in settings.zetas}
    crystals = reference_crystals(atom, settings.scales)
    wave_limit = reference_waves(atom.potential, q_max)
    targets: list[Target] = []
    first: list[tuple[BlochStates, int]] = []
    for crystal in crystals:
        n_occupied = int(np.ceil(crystal.n_electrons / 2.0))
        n_bands = n_occupied + settings.conduction_bands * len(crystal.atoms)
        waves = PlaneWaves(crystal, wave_limit)
        for k, weight in K_POINTS:
            states = waves.states(np.array(k), n_bands)
            weights = np.where(np.arange(n_bands) < n_occupied, weight, weight * settings.conduction_weight)
            targets.append(project(crystal, states, spaces, weights=weights, metric=settings.metric))
            if crystal is crystals[0]:
                first.append((states, n_occupied))
    spillage = Spillage(targets, {l: space.size for l, space in spaces.items()}, settings.zetas)
    start = spillage.pack(_start(atom, spaces, settings.zetas))
    result = minimize(
        spillage, start, jac=True, method="L-BFGS-B", options={"maxiter": settings.max_steps, "maxcor": 30}
    )
    columns = {l: _canonical(c, spaces[l], atom) for l, c in spillage.unpack(result.x).items()}
    errors = _band_errors(crystals[0], first, {l: (spaces[l], c) for l, c in columns.items()})
    return Orbitals(
        mesh=mesh,
        cutoff_ry=settings.cutoff_ry,
        functions={l: _signed(columns[l] @ spaces[l].functions) for l in columns},
        spillage=(float(spillage(start)[0]), float(result.fun)),
        occupied_error=errors[0],
        gap_error=errors[1],
    )


def reference_crystals(atom: PseudoAtom, scales: tuple[float, ...]) -> list[Crystal]:
    """Return diamond and fcc crystals at bonds around twice the covalent radius (Cordero 2008, from ASE)."""
    from ase.data import covalent_radii

    # Hydrogen's own bond is shorter than any it makes in a crystal.
    bond = 2.0 * max(float(covalent_radii[atom.potential.number]), 0.6) / BOHR_ANG
    return [make(atom, bond * scale) for make in (diamond, close_packed) for scale in scales]


def reference_waves(potential: Potential, q_max: float) -> float:
    """Return the wave number, bohr⁻¹, at which the reference's plane waves end."""
    strong = [c.radius for c in potential.channels if np.abs(c.h).max() > 0.5]
    return float(min(q_max, _HARDNESS / min([potential.local_radius, *strong])))


def _ham(atom: PseudoAtom, space: SmoothSpace) -> Array:
    """The atom's Hamiltonian in a smooth space, (n_smooth, n_smooth)."""
    size = space.basis.mesh.n
    h = fixed_part(atom.potential, space.basis, None)
    h = h + space.basis.potential(atom.local_potential[:size], atom.gradient_factor[:size])
    return np.asarray(space.columns.T @ h @ space.columns)


def _start(atom: PseudoAtom, spaces: dict[int, SmoothSpace], zetas: dict[int, int]) -> dict[int, Array]:
    """First zeta: the atom's lowest level in the sphere; more zetas and empty shells: the levels of an ion."""
    valence = sum(atom.occupations.values())
    charge = min(2.0, max(valence - 1.0, 0.5))
    left, electrons = charge, dict(atom.occupations)
    for l in sorted(electrons, reverse=True):
        taken = min(left, electrons[l])
        electrons[l], left = electrons[l] - taken, left - taken
    ion = solve(atom.potential, electrons, AtomSettings())
    parts = {}
    for l, space in spaces.items():
        of_ion = eigh(_ham(ion, space))[1].T
        own = eigh(_ham(atom, space))[1].T
        occupied = atom.occupations.get(l, 0.0) > 0
        rows = np.vstack([own[:1], of_ion]) if occupied else of_ion
        parts[l] = np.linalg.qr(rows[: zetas[l]].T)[0].T
    return parts


def _canonical(c: Array, space: SmoothSpace, atom: PseudoAtom) -> Array:
    """Return orthonormal combinations that diagonalise the atom's Hamiltonian, lowest first."""
    q = np.linalg.qr(c.T)[0]
    _, u = np.linalg.eigh(q.T @ _ham(atom, space) @ q)
    return np.asarray((q @ u).T)


def _signed(functions: Array) -> Array:
    """Positive at the largest value; the end is exactly zero."""
    peak = np.argmax(np.abs(functions), axis=1)
    signed = functions * np.sign(functions[np.arange(len(functions)), peak])[:, None]
    signed[:, -1] = 0.0
    return np.asarray(signed)


def _band_errors(
    crystal: Crystal, points: list[tuple[BlochStates, int]], orbitals: dict[int, tuple[SmoothSpace, Array]]
) -> tuple[float, float]:
    occupied, gap = [], []
    for states, n_occupied in points:
        bands = orbital_bands(crystal, states, [orbitals] * len(crystal.atoms))
        errors = bands[: n_occupied + 1] - states.energies[: n_occupied + 1]
        occupied.append(float(errors[:n_occupied].mean()))
        gap.append(float(errors[n_occupied]))
    return float(np.mean(occupied)), float(np.mean(gap))


def orbital_bands(crystal: Crystal, states: BlochStates, orbitals: list[dict[int, tuple[SmoothSpace, Array]]]) -> Array:
    """Return the bands of a plane-wave Hamiltonian restricted to orbitals on each site, Hartree."""
    blocks = []
    for site, shells in enumerate(orbitals):
        for l, (space, c) in shells.items():
            sums = bloch_sums(crystal, states.waves, site, l, space.radial) @ c.T
            blocks.append(sums.reshape(len(states.waves), -1))
    a = np.concatenate(blocks, axis=1)
    return np.asarray(eigh(a.conj().T @ states.hamiltonian @ a, a.conj().T @ a, eigvals_only=True))

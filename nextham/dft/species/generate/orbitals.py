"""Numerical atomic orbitals: those that lift the bands of a few elemental crystals least."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize

from nextham.dft.species.generate.bands import BandEnergy, SmoothSpace, Target, project
from nextham.dft.species.generate.crystal import Crystal, PlaneWaves, diamond, simple_cubic
from nextham.dft.species.generate.gth import Potential
from nextham.dft.species.generate.pseudo_atom import AtomSettings, PseudoAtom, fixed_part, solve
from nextham.dft.species.generate.radial import Mesh
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
        conduction_weight: of empty states; occupied ones have 1.
        conduction_bands: empty bands counted, per atom.
        diamond_scales, cubic_scales: bonds of the diamond and simple cubic references (four and six neighbours,
            as in zincblende and rocksalt) in units of twice the covalent radius.
        max_steps: of the optimiser.
    """

    radius: float = 7.0
    cutoff_ry: float = 100.0
    zetas: dict[int, int] = field(default_factory=lambda: {0: 2, 1: 2, 2: 1})
    conduction_weight: float = 0.1
    conduction_bands: int = 1
    diamond_scales: tuple[float, ...] = (1.0, 1.15)
    cubic_scales: tuple[float, ...] = (1.1, 1.3)
    max_steps: int = 300


@dataclass(frozen=True, eq=False)
class Orbitals:
    """Radial functions of an element.

    Attributes:
        mesh: where they are given.
        cutoff_ry: see OrbitalSettings.
        functions: R(r) of each l, (n_zeta, n), orthonormal, zero at the end.
        occupied_error, empty_error: mean error of the occupied bands and of the lowest empty one, in the diamond
            structure against plane waves in the same potential, Hartree.
    """

    mesh: Mesh
    cutoff_ry: float
    functions: dict[int, Array]
    occupied_error: float
    empty_error: float


def optimise(atom: PseudoAtom, settings: OrbitalSettings) -> Orbitals:
    """Return the orbitals of least spillage for a spin-averaged pseudo-atom."""
    mesh = Mesh(settings.radius)
    q_max = float(np.sqrt(settings.cutoff_ry))
    spaces = {l: SmoothSpace(mesh, l, q_max) for l in settings.zetas}
    crystals = reference_crystals(atom, settings)
    wave_limit = reference_waves(atom.potential, q_max)
    targets: list[Target] = []
    for crystal in crystals:
        n_occupied = int(np.ceil(crystal.n_electrons / 2.0))
        n_bands = n_occupied + settings.conduction_bands * len(crystal.atoms)
        waves = PlaneWaves(crystal, wave_limit)
        for k, weight in K_POINTS:
            states = waves.states(np.array(k), n_bands)
            weights = np.where(np.arange(n_bands) < n_occupied, weight, weight * settings.conduction_weight)
            targets.append(project(crystal, states, spaces, weights))
    distance = BandEnergy(targets, {l: space.size for l, space in spaces.items()}, settings.zetas)
    start = distance.pack(_start(atom, spaces, settings.zetas))
    options = {"maxiter": settings.max_steps, "maxcor": 30, "ftol": 1e-7}
    result = minimize(distance, start, jac=True, method="L-BFGS-B", options=options)
    parts = {l: _canonical(c, spaces[l], atom) for l, c in distance.unpack(result.x).items()}
    occupied, empty = _errors(distance, targets[: len(K_POINTS)], parts, int(np.ceil(crystals[0].n_electrons / 2.0)))
    return Orbitals(
        mesh=mesh,
        cutoff_ry=settings.cutoff_ry,
        functions={l: _signed(c @ spaces[l].functions) for l, c in parts.items()},
        occupied_error=occupied,
        empty_error=empty,
    )


def _errors(
    distance: BandEnergy, targets: list[Target], parts: dict[int, Array], n_occupied: int
) -> tuple[float, float]:
    errors = np.array([distance.bands(t, parts)[0] - t.energies for t in targets])
    return float(errors[:, :n_occupied].mean()), float(errors[:, n_occupied].mean())


def reference_crystals(atom: PseudoAtom, settings: OrbitalSettings) -> list[Crystal]:
    """Return crystals at bonds around twice the covalent radius (B. Cordero et al., Dalton Trans. 2008, 2832)."""
    from ase.data import covalent_radii

    # Hydrogen's own bond is shorter than any it makes in a crystal.
    bond = 2.0 * max(float(covalent_radii[atom.potential.number]), 0.6) / BOHR_ANG
    four = [diamond(atom, bond * scale) for scale in settings.diamond_scales]
    return four + [simple_cubic(atom, bond * scale) for scale in settings.cubic_scales]


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

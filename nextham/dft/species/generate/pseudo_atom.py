"""Self-consistent PBE atom with a separable pseudopotential, in a spherical Bessel basis."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from nextham.dft.species.generate.functional import pbe
from nextham.dft.species.generate.gth import Potential
from nextham.dft.species.generate.mixing import Mixer
from nextham.dft.species.generate.radial import BesselBasis, Mesh
from nextham.exceptions import NexthamError

Array = NDArray[np.float64]
Level = tuple[int, float | None]  # (l, j); j = None: averaged over spin

HARDNESS: Final = 4.5  # the basis ends where a Gaussian's transform, exp(-q²r²/2), is 4e-5
Q_RANGE: Final = (8.0, 22.0)  # bohr⁻¹
_MAX_STEPS = 200


@dataclass(frozen=True)
class AtomSettings:
    """How a pseudo-atom is solved.

    Attributes:
        radius: of the sphere, bohr.
        spin_orbit: j-resolved levels; else averages.
        tolerance: change of the density, electrons.
        n_levels: levels kept of each (l, j).
    """

    radius: float = 18.0
    spin_orbit: bool = False
    tolerance: float = 1e-9
    n_levels: int = 2


@dataclass(frozen=True, eq=False)
class PseudoAtom:
    """A solved pseudo-atom.

    Attributes:
        potential: what was solved.
        occupations: electrons of the lowest level of each l; a zero asks for the level alone.
        mesh: where functions are given.
        energies: of each (l, j), Hartree, ascending.
        orbitals: R(r) of each (l, j), (n_levels, n), positive at their largest lobe.
        density: n(r), bohr⁻³.
        local_potential: V_loc + V_H + v_xc without its gradient part.
        hartree: V_H.
        gradient_factor: 2 f_σ dn/dr, see BesselBasis.potential.
        total_energy: Hartree.
    """

    potential: Potential
    occupations: dict[int, float]
    mesh: Mesh
    energies: dict[Level, Array]
    orbitals: dict[Level, Array]
    density: Array
    hartree: Array
    local_potential: Array
    gradient_factor: Array
    total_energy: float

    def splitting(self, l: int, level: int = 0) -> float:
        """Return ε(l + 1/2) - ε(l - 1/2), Hartree."""
        return float(self.energies[l, l + 0.5][level] - self.energies[l, l - 0.5][level])


@cache
def _basis(mesh: Mesh, l: int, q_max: float) -> BesselBasis:
    return BesselBasis(mesh, l, q_max)


def q_max(potential: Potential) -> float:
    """Return the end of the Bessel basis, bohr⁻¹, that the hardest Gaussian of a potential needs."""
    hardest = min(potential.local_radius, *(c.radius for c in potential.channels))
    return float(np.clip(np.ceil(HARDNESS / hardest), *Q_RANGE))


def share(level: Level) -> float:
    """Return the part of a shell's electrons that level (l, j) holds, (2j + 1)/(4l + 2)."""
    l, j = level
    return 1.0 if j is None else (2 * j + 1) / (4 * l + 2)


def levels_of(l: int, *, spin_orbit: bool) -> list[Level]:
    """Return the (l, j) of a shell, j ascending; an s shell of a spin-orbit atom has j = 1/2."""
    if not spin_orbit:
        return [(l, None)]
    return [(0, 0.5)] if l == 0 else [(l, l - 0.5), (l, l + 0.5)]


@dataclass
class _Loop:
    """What stays fixed during self-consistency."""

    potential: Potential
    occupations: dict[int, float]
    settings: AtomSettings
    mesh: Mesh = field(init=False)
    levels: list[Level] = field(init=False)

    def __post_init__(self) -> None:
        self.mesh = Mesh(self.settings.radius)
        self.levels = [x for l in sorted(self.occupations) for x in levels_of(l, spin_orbit=self.settings.spin_orbit)]
        self.bases = {l: _basis(self.mesh, l, q_max(self.potential)) for l in self.occupations}
        self.ionic = self.potential.local(self.mesh.r)
        self.fixed = {level: fixed_part(self.potential, self.bases[level[0]], level[1]) for level in self.levels}

    def solve(self, n: Array, slope: Array) -> tuple[dict[Level, tuple[Array, Array]], Array, Array, Array]:
        """Return eigenpairs, V_H, v and g of an input density."""
        xc = pbe(np.maximum(n, 0.0), slope)
        hartree = self.mesh.hartree(n)
        v, g = self.ionic + hartree + xc.by_density, 2.0 * xc.by_sigma * slope
        pairs = {}
        for level, fixed in self.fixed.items():
            matrix = fixed + self.bases[level[0]].potential(v, g)
            pairs[level] = eigh(matrix, subset_by_index=[0, self.settings.n_levels - 1])
        return pairs, hartree, v, g

    def density(self, pairs: dict[Level, tuple[Array, Array]]) -> tuple[Array, Array]:
        """Return n and dn/dr of the occupied levels."""
        n, slope = np.zeros(self.mesh.n), np.zeros(self.mesh.n)
        for level, (_, vectors) in pairs.items():
            basis = self.bases[level[0]]
            electrons = self.occupations[level[0]] * share(level)
            value, derivative = vectors[:, 0] @ basis.values, vectors[:, 0] @ basis.slopes
            n += electrons * value**2 / (4.0 * np.pi)
            slope += electrons * 2.0 * value * derivative / (4.0 * np.pi)
        return n, slope


def fixed_part(potential: Potential, basis: BesselBasis, j: float | None) -> Array:
    """Return kinetic energy plus projectors in a Bessel basis, (n_basis, n_basis)."""
    matrix = np.diag(basis.kinetic)
    channel = potential.channel(basis.l)
    if channel is not None:
        overlaps = basis.overlaps(channel.projectors(basis.mesh.r))
        matrix = matrix + overlaps @ channel.coupling(j) @ overlaps.T
    return np.asarray(matrix)


def solve(potential: Potential, occupations: dict[int, float], settings: AtomSettings | None = None) -> PseudoAtom:
    """Return the self-consistent atom.

    Raises:
        NexthamError: if it does not converge.
    """
    loop = _Loop(potential, occupations, settings or AtomSettings())
    mesh = loop.mesh
    n = sum(occupations.values()) * np.exp(-(mesh.r**2) / 2.0) / (2.0 * np.pi) ** 1.5
    x = np.concatenate([n, -mesh.r * n])
    mixer = Mixer(np.concatenate([mesh.w * mesh.r**2, np.zeros(mesh.n)]))
    for _ in range(_MAX_STEPS):
        pairs, hartree, v, g = loop.solve(x[: mesh.n], x[mesh.n :])
        output = np.concatenate(loop.density(pairs))
        if mesh.volume @ np.abs(output - x)[: mesh.n] < loop.settings.tolerance:
            break
        x = mixer.next_input(x, output)
    else:
        raise NexthamError(f"the pseudo-atom of {potential.element} with electrons {occupations} does not converge")
    n, slope = output[: mesh.n], output[mesh.n :]
    orbitals = {level: _signed(c.T @ loop.bases[level[0]].values, mesh.r) for level, (_, c) in pairs.items()}
    bands = sum(occupations[level[0]] * share(level) * e[0] for level, (e, _) in pairs.items())
    # Band energies count the potential's energy; take it off, put the functionals' energy in.
    counted = mesh.volume @ (n * (v - loop.ionic) + slope * g)
    energy = bands - counted + mesh.volume @ (0.5 * n * mesh.hartree(n) + pbe(n, slope).energy)
    return PseudoAtom(
        potential=potential,
        occupations=occupations,
        mesh=mesh,
        energies={level: e for level, (e, _) in pairs.items()},
        orbitals=orbitals,
        density=n,
        hartree=hartree,
        local_potential=v,
        gradient_factor=g,
        total_energy=float(energy),
    )


def _signed(functions: Array, r: Array) -> Array:
    peak = np.argmax(np.abs(functions * r), axis=1)
    return np.asarray(functions * np.sign(functions[np.arange(len(functions)), peak])[:, None])

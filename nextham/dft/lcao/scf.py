"""Self-consistency: density -> potential -> H -> levels -> density, until input and output agree.

On the grid a step computes only what changed since the last one, V = V_last + ⟨φ|v - v_last|φ⟩ and likewise the
density, so that float32 products suffice: their rounding shrinks with the change.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property

import torch
from torch import Tensor

from nextham.dft.engine import Attempt, Cause, RunError
from nextham.dft.lcao.gint import GridIntegrator
from nextham.dft.lcao.kspace import KSpace, Solution
from nextham.dft.lcao.mixing import Mixing, PulayMixer
from nextham.dft.lcao.potential import LocalPotential
from nextham.dft.lcao.settings import LCAOSettings

_MIXED_FROM_THR = 1e-8  # tighter thresholds see the rounding of float32 changes
_RESCUE = (Mixing(0.2, 8, 0.8), Mixing(0.08, 4, 1.2))  # slower and screened: metals, slabs, long cells


@dataclasses.dataclass(frozen=True, eq=False)
class SelfConsistent:
    """A converged calculation."""

    potential: Tensor  # (n_values,) ⟨φ|V|φ⟩ of the last step's input density, Ry
    solution: Solution  # levels of that Hamiltonian
    fermi_ry: float
    energy_ry: float  # of the electrons: all but that of the ions among themselves
    steps: int
    drho: float  # ∫|ρ_out - ρ_in| per electron
    sigma_ry: float  # width of the smearing
    log: tuple[str, ...]
    attempts: tuple[Attempt, ...]  # where the first did not converge: all of them


@dataclasses.dataclass(frozen=True, eq=False)
class _OfDensity:
    """What a density makes."""

    potential: Tensor  # (n_points,) Ry
    matrix: Tensor  # (n_values,) ⟨φ|V|φ⟩, Ry
    twice: Tensor  # Ry; what the sum of levels counts twice, with its sign


class Loop:
    """The SCF of one crystal."""

    def __init__(
        self, potential: LocalPotential, integrator: GridIntegrator, settings: LCAOSettings, *, id: str
    ) -> None:
        self._potential, self._settings, self._id = potential, settings, id
        self._n_electrons = float(potential.atoms.density.sum() * potential.grid.weight)
        self._integrator = integrator
        self._single = settings.mixed_precision and settings.scf_thr >= _MIXED_FROM_THR
        self._log: list[str] = []

    @cached_property
    def first(self) -> _OfDensity:
        """What the superposed atoms make: where the first step begins, and H0."""
        return self._of(self._potential.atoms.density, _Changes(self._integrator, single=self._single))

    def run(self, kspace: KSpace) -> SelfConsistent:
        """Iterate to self-consistency.

        Raises:
            RunError: if no mixing of the ladder converges.
        """
        start, lowest = self._potential.atoms.density, math.inf
        attempts: list[Attempt] = []
        for mixing, sigma in self._ladder():
            self._log.append(f"# {mixing}, smearing {sigma:g} Ry")
            result, best, drho, steps = self._attempt(kspace, start, mixing, sigma)
            outcome = "converged" if result else Cause.UNCONVERGED.value
            tried = {**dataclasses.asdict(mixing), "smearing_sigma_ry": sigma}
            attempts.append({**tried, "steps": steps, "drho": _finite(drho), "outcome": outcome})
            if result is not None:
                return dataclasses.replace(result, attempts=tuple(attempts) if len(attempts) > 1 else ())
            if drho < lowest:
                start, lowest = best, drho
        raise RunError(
            Cause.UNCONVERGED,
            f"{self._id}: the SCF did not converge in {len(attempts)} attempts of {self._settings.scf_nmax} steps: "
            f"density error {lowest:.1e} per electron (scf_thr {self._settings.scf_thr:.0e}); raise scf_nmax or "
            "smearing_sigma_ry, or lower mixing_beta",
            log_tail="\n".join(self._log[-30:]),
            attempts=attempts,
        )

    def _ladder(self) -> list[tuple[Mixing, float]]:
        """Return the mixing and the smearing (Ry) of each attempt."""
        s = self._settings
        mixings = [Mixing(s.mixing_beta, s.mixing_history, s.mixing_kerker_inv_bohr), *(_RESCUE if s.rescue else ())]
        ladder = [(mixing, s.smearing_sigma_ry) for mixing in mixings]
        if s.rescue and s.rescue_smearing_sigma_ry is not None:
            ladder.append((_RESCUE[0], s.rescue_smearing_sigma_ry))
        return ladder

    def _of(self, density: Tensor, change: _Changes) -> _OfDensity:
        potential, twice = self._potential.of_density(density)
        return _OfDensity(potential, change.matrix(potential), twice)

    def _attempt(
        self, kspace: KSpace, density: Tensor, mixing: Mixing, sigma: float
    ) -> tuple[SelfConsistent | None, Tensor, float, int]:
        """Return the converged result or None, the best input density with its error, and the steps made."""
        mixer = PulayMixer(mixing, self._potential.grid)
        change = _Changes(self._integrator, single=self._single)  # rounding of a failed attempt is not taken over
        best, lowest, step = density, math.inf, 0
        for step in range(1, self._settings.scf_nmax + 1):
            if density is self._potential.atoms.density:
                now = self.first
                change.begin(now)
            else:
                now = self._of(density, change)
            solution = kspace.solve(now.matrix, sigma)
            output = change.density(solution.density_matrix)
            weight = self._potential.grid.weight
            output = output * (self._n_electrons / (output.sum() * weight))
            error = (output - density).abs().sum() * (weight / self._n_electrons)
            numbers = torch.stack([error, solution.fermi, solution.free_energy + now.twice])
            drho, fermi, energy = numbers.cpu().tolist()
            self._log.append(f"{step:4d}  drho {drho:.3e}  E_F {fermi:.8f} Ry  E(electrons) {energy:.9f} Ry")
            if not math.isfinite(drho):
                return None, best, lowest, step
            if drho < self._settings.scf_thr:
                log = tuple(self._log)
                found = SelfConsistent(now.matrix, solution, fermi, energy, step, drho, sigma, log, ())
                return found, density, drho, step
            if drho < lowest:
                best, lowest = density, drho
            density = mixer.next(density, output)
        return None, best, lowest, step


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


class _Changes:
    """Grid integrals of what changed; the first call of each kind is float64 from scratch."""

    def __init__(self, integrator: GridIntegrator, *, single: bool) -> None:
        self._integrator, self._single = integrator, single
        self._matrix: tuple[Tensor, Tensor] | None = None  # potential on the grid, its matrix
        self._density: tuple[Tensor, Tensor] | None = None  # density matrix, its density on the grid

    def begin(self, known: _OfDensity) -> None:
        """Count from a potential whose matrix was made from scratch."""
        self._matrix = known.potential, known.matrix

    def matrix(self, potential: Tensor) -> Tensor:
        """Return ⟨φ|V|φ⟩, (n_values,)."""
        if self._matrix is None or not self._single:
            found = self._integrator.potential_matrix(potential)
        else:
            old, matrix = self._matrix
            found = matrix + self._integrator.potential_matrix(potential - old, dtype=torch.float32)
        self._matrix = potential, found
        return found

    def density(self, density_matrix: Tensor) -> Tensor:
        """Return ρ, (n_points,)."""
        if self._density is None or not self._single:
            found = self._integrator.density(density_matrix)
            if self._single:
                self._integrator.to_single()
        else:
            old, rho = self._density
            found = rho + self._integrator.density(density_matrix - old, dtype=torch.float32)
        self._density = density_matrix, found
        return found

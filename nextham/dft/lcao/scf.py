"""Self-consistency: density -> potential -> H -> levels -> density, until input and output agree.

On the grid a step computes only what changed since the last one, V = V_last + ⟨φ|v - v_last|φ⟩ and likewise the
density, so that float32 products suffice: their rounding shrinks with the change.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from nextham.dft.engine import Cause, RunError
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
    log: tuple[str, ...]


class Loop:
    """The SCF of one crystal."""

    def __init__(
        self, potential: LocalPotential, integrator: GridIntegrator, kspace: KSpace, settings: LCAOSettings, *, id: str
    ) -> None:
        self._potential, self._kspace, self._settings, self._id = potential, kspace, settings, id
        self._n_electrons = float(potential.atoms.density.sum() * potential.grid.weight)
        self._integrator = integrator
        self._single = settings.mixed_precision and settings.scf_thr >= _MIXED_FROM_THR
        self._log: list[str] = []

    def run(self) -> SelfConsistent:
        """Iterate to self-consistency.

        Raises:
            RunError: if no mixing of the ladder converges.
        """
        s = self._settings
        ladder = [Mixing(s.mixing_beta, s.mixing_history, s.mixing_kerker_inv_bohr), *(_RESCUE if s.rescue else ())]
        start, lowest = self._potential.atoms.density, math.inf
        for mixing in ladder:
            self._log.append(f"# {mixing}")
            result, best, drho = self._attempt(start, mixing)
            if result is not None:
                return result
            if drho < lowest:
                start, lowest = best, drho
        raise RunError(
            Cause.UNCONVERGED,
            f"{self._id}: the SCF did not converge in {len(ladder)} attempts of {s.scf_nmax} steps: density "
            f"error {lowest:.1e} per electron (scf_thr {s.scf_thr:.0e}); raise scf_nmax or smearing_sigma_ry, "
            "or lower mixing_beta",
            log_tail="\n".join(self._log[-30:]),
        )

    def _attempt(self, density: Tensor, mixing: Mixing) -> tuple[SelfConsistent | None, Tensor, float]:
        """Return the converged result or None, and the best input density with its error."""
        mixer = PulayMixer(mixing, self._potential.grid)
        change = _Changes(self._integrator, single=self._single)  # rounding of a failed attempt is not taken over
        best, lowest = density, math.inf
        for step in range(1, self._settings.scf_nmax + 1):
            potential, twice = self._potential.of_density(density)
            matrix = change.matrix(potential)
            solution = self._kspace.solve(matrix, self._settings.smearing_sigma_ry)
            output = change.density(solution.density_matrix)
            weight = self._potential.grid.weight
            output = output * (self._n_electrons / (output.sum() * weight))
            error = (output - density).abs().sum() * (weight / self._n_electrons)
            numbers = torch.stack([error, solution.fermi, solution.free_energy + twice])
            drho, fermi, energy = numbers.cpu().tolist()
            self._log.append(f"{step:4d}  drho {drho:.3e}  E_F {fermi:.8f} Ry  E(electrons) {energy:.9f} Ry")
            if not math.isfinite(drho):
                return None, best, lowest
            if drho < self._settings.scf_thr:
                log = tuple(self._log)
                return SelfConsistent(matrix, solution, fermi, energy, step, drho, log), density, drho
            if drho < lowest:
                best, lowest = density, drho
            density = mixer.next(density, output)
        return None, best, lowest


class _Changes:
    """Grid integrals of what changed; the first call of each kind is float64 from scratch."""

    def __init__(self, integrator: GridIntegrator, *, single: bool) -> None:
        self._integrator, self._single = integrator, single
        self._matrix: tuple[Tensor, Tensor] | None = None  # potential on the grid, its matrix
        self._density: tuple[Tensor, Tensor] | None = None  # density matrix, its density on the grid

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

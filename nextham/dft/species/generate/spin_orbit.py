"""Spin-orbit strengths k_ij fitted to the splittings of an all-electron Dirac atom.

The published PBE tables have none. Every channel with l > 0 is fitted on its lowest valence level, and
with two projectors on the next one too, in the neutral atom and in those ions that keep a valence
electron, wherever the level is bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.dft.species.generate import dirac, pseudo_atom
from nextham.dft.species.generate.configuration import LETTERS, Shell, first_valence_n, ionised, split_valence
from nextham.dft.species.generate.gth import Channel, Potential

Array = NDArray[np.float64]

CHARGES: Final = (0, 1, 2)
_BOUND = -0.02  # Hartree: levels above it feel the sphere they are solved in
_OCCUPIED_WEIGHT = 3.0
_RIDGE = 1e-3  # holds back the combination of two strengths that the splittings do not fix
_STEP = 1e-2
_ROUNDS = 5
_SETTINGS = pseudo_atom.AtomSettings(radius=22.0, spin_orbit=True)


@dataclass(frozen=True)
class Splitting:
    """One level's spin-orbit splitting in both atoms.

    Attributes:
        charge: of the ion.
        l: angular momentum.
        level: 0 for the lowest valence level, 1 for the next.
        name: of the all-electron shell, e.g. "4p".
        weight: in the fit, relative.
        all_electron, pseudo: ε(l + 1/2) - ε(l - 1/2), Hartree.
        shift: pseudo minus all-electron mean energy, Hartree: the potential's own error.
    """

    charge: int
    l: int
    level: int
    name: str
    weight: float
    all_electron: float
    pseudo: float
    shift: float

    @property
    def relative_error(self) -> float:
        """(pseudo - all-electron) / all-electron."""
        return self.pseudo / self.all_electron - 1.0


@dataclass(frozen=True)
class _Ion:
    """One ion's all-electron result and what its pseudo-atom is given."""

    charge: int
    atom: dirac.AllElectronAtom
    electrons: dict[int, float]  # of each l


def fit(potential: Potential) -> tuple[Potential, list[Splitting]]:
    """Return the potential with fitted strengths, and how well it does on every level used."""
    channels = [c for c in potential.channels if c.l > 0]
    if not channels:
        return potential, []
    core, _ = split_valence(potential.number, potential.valence)
    ions = [_all_electron(potential, charge) for charge in CHARGES if charge < potential.valence]
    x = np.concatenate([_start(c) for c in channels])
    rows = _compare(_with(potential, channels, x), ions, core)
    for _ in range(_ROUNDS):
        columns = []
        for i in range(len(x)):
            moved = x.copy()
            moved[i] += _STEP * max(abs(x[i]), 1e-3)
            there = _compare(_with(potential, channels, moved), ions, core)
            columns.append((_residual(there) - _residual(rows)) / (moved[i] - x[i]))
        step = _ridge_step(np.array(columns).T, -_residual(rows), x)
        x = x + step
        rows = _compare(_with(potential, channels, x), ions, core)
        if np.abs(step).max() < 1e-4 * np.abs(x).max():
            break
    return _with(potential, channels, x), rows


def _ridge_step(jacobian: Array, target: Array, x: Array) -> Array:
    scale = np.maximum(np.abs(x), 1e-3)
    scaled = jacobian * scale
    damping = _RIDGE * np.eye(len(x))
    return np.asarray(
        np.linalg.lstsq(np.vstack([scaled, damping]), np.concatenate([target, np.zeros(len(x))]), rcond=None)[0] * scale
    )


def _start(channel: Channel) -> Array:
    """Small positive strengths: one number, or the first two diagonal elements."""
    return np.full(min(len(channel.h), 2), 0.01)


def strength(channel: Channel, x: Array) -> Array:
    """Return the k matrix of diagonal elements x; k_12 keeps the ratio of h_12 to h_22."""
    k = np.zeros_like(channel.h)
    k[0, 0] = x[0]
    if len(x) > 1:
        k[1, 1] = x[1]
        k[0, 1] = k[1, 0] = x[1] * channel.h[0, 1] / channel.h[1, 1]
    return k


def _with(potential: Potential, channels: list[Channel], x: Array) -> Potential:
    for channel in channels:
        count = len(_start(channel))
        potential = potential.with_spin_orbit(channel.l, strength(channel, x[:count]))
        x = x[count:]
    return potential


def _all_electron(potential: Potential, charge: int) -> _Ion:
    core, valence = split_valence(potential.number, potential.valence)
    electrons = ionised(valence, charge)
    shells: dict[Shell, float] = core | electrons
    by_l = {l: count for (_, l), count in electrons.items()}
    for channel in potential.channels:
        n = first_valence_n(core, channel.l)
        for shell in ((n, channel.l), (n + 1, channel.l)):
            shells.setdefault(shell, 0.0)
        by_l.setdefault(channel.l, 0.0)
    return _Ion(charge, dirac.solve(potential.number, shells), by_l)


def _compare(potential: Potential, ions: list[_Ion], core: dict[Shell, float]) -> list[Splitting]:
    rows = []
    for ion in ions:
        pseudo = pseudo_atom.solve(potential, ion.electrons, _SETTINGS)
        for channel in potential.channels:
            n, l = first_valence_n(core, channel.l), channel.l
            for level in range(2 if l and len(channel.h) > 1 else 1 if l else 0):
                if ion.atom.average(n + level, l) > _BOUND:
                    continue
                low, high = pseudo.energies[l, l - 0.5][level], pseudo.energies[l, l + 0.5][level]
                occupied = level == 0 and ion.electrons[l] > 0
                rows.append(
                    Splitting(
                        charge=ion.charge,
                        l=l,
                        level=level,
                        name=f"{n + level}{LETTERS[l]}",
                        weight=_OCCUPIED_WEIGHT if occupied else 1.0,
                        all_electron=ion.atom.splitting(n + level, l),
                        pseudo=pseudo.splitting(l, level),
                        shift=float((l * low + (l + 1) * high) / (2 * l + 1) - ion.atom.average(n + level, l)),
                    )
                )
    return rows


def _residual(rows: list[Splitting]) -> Array:
    return np.array([row.weight * row.relative_error for row in rows])

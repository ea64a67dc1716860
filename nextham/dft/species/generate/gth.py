"""Goedecker-Teter-Hutter potentials: parameters, local part, projectors.

Form: C. Hartwigsen, S. Goedecker, J. Hutter, Phys. Rev. B 58, 3641 (1998); PBE parameters: M. Krack,
Theor. Chem. Acc. 114, 145 (2005). Hartree and Bohr.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, gamma

from nextham.exceptions import InputError

Array = NDArray[np.float64]

CUT_ENERGY: Final = 2e-5  # Hartree: strength of a channel times the part of a projector's norm the window may take
_LEAST_STRENGTH = 0.05  # Hartree: channels that carry spin-orbit coupling alone have h = 0
_WINDOW_START = 0.85  # the window falls from 1 here to 0 at 1, in units of the cut radius
_SEARCH_STEP = 0.05


@dataclass(frozen=True, eq=False)
class Channel:
    """Projectors of one l: V = Σ_ij |p_i> (h_ij + k_ij L·S) <p_j|.

    Attributes:
        l: angular momentum.
        radius: of the Gaussians, bohr.
        h: (n, n) Hartree, averaged over spin.
        k: (n, n) Hartree, spin-orbit strength.
    """

    l: int
    radius: float
    h: Array
    k: Array

    def coupling(self, j: float | None = None) -> Array:
        """Return h + k <L·S> of total angular momentum j; h alone for j = None or l = 0.

        <L·S> = l/2 for j = l + 1/2 and -(l + 1)/2 for j = l - 1/2.
        """
        if j is None or self.l == 0:
            return self.h
        return self.h + self.k * (self.l / 2 if j > self.l else -(self.l + 1) / 2)

    def projectors(self, r: Array) -> Array:
        """Return p_i(r) of unit norm in 3D before the window, (n, n_r); zero from the cut radius on.

        p_i = √2 r^(l+2i-2) exp(-r²/2r_l²) / (r_l^(l+(4i-1)/2) √Γ(l+(4i-1)/2)), times the window.
        """
        return self._gaussians(r) * window(r, self.cut_radius)

    def _gaussians(self, r: Array) -> Array:
        rows = []
        for i in range(1, len(self.h) + 1):
            power = self.l + (4 * i - 1) / 2
            norm = np.sqrt(2.0) / (self.radius**power * np.sqrt(gamma(power)))
            rows.append(norm * r ** (self.l + 2 * i - 2) * np.exp(-0.5 * (r / self.radius) ** 2))
        return np.array(rows)

    @cached_property
    def cut_radius(self) -> float:
        """Radius, bohr, where the window ends: the smallest at which it moves levels by CUT_ENERGY at most."""
        allowed = CUT_ENERGY / max(np.abs(self.h).max(), _LEAST_STRENGTH)
        r = np.linspace(0.0, 14.0 * self.radius, 2000)
        shells = (self._gaussians(r) * r) ** 2
        norms = np.sqrt(shells.sum(axis=1))
        cut = self.radius
        while True:
            lost = np.sqrt((shells * (1.0 - window(r, cut)) ** 2).sum(axis=1)) / norms
            if lost.max() < allowed:
                return float(round(cut, 2))
            cut += _SEARCH_STEP


@dataclass(frozen=True, eq=False)
class Potential:
    """One element's pseudopotential.

    Attributes:
        element: symbol.
        number: atomic number.
        valence: electrons it keeps.
        local_radius: r_loc, bohr.
        local_coefficients: C_1, C_2, ... Hartree.
        channels: non-local part, l ascending.
    """

    element: str
    number: int
    valence: int
    local_radius: float
    local_coefficients: tuple[float, ...]
    channels: tuple[Channel, ...]

    def local(self, r: Array) -> Array:
        """Return V_loc = -Z erf(r/√2 r_loc)/r + exp(-x²/2) Σ C_i x^(2i-2), x = r/r_loc, Hartree."""
        x = r / self.local_radius
        safe = np.maximum(r, 1e-12)
        coulomb = np.where(
            r > 1e-8, erf(safe / (np.sqrt(2.0) * self.local_radius)) / safe, np.sqrt(2.0 / np.pi) / self.local_radius
        )
        series = sum(c * x ** (2 * i) for i, c in enumerate(self.local_coefficients))
        return np.asarray(-self.valence * coulomb + np.exp(-0.5 * x**2) * series)

    def channel(self, l: int) -> Channel | None:
        """Return the channel of l, if the potential has one."""
        return next((c for c in self.channels if c.l == l), None)

    def with_spin_orbit(self, l: int, k: Array) -> Potential:
        """Return the potential with another k in channel l."""
        return replace(self, channels=tuple(replace(c, k=k) if c.l == l else c for c in self.channels))


def window(r: Array, cut: float) -> Array:
    """Return a factor that falls from 1 to 0 with three continuous derivatives and ends at ``cut``.

    Gaussians have no end, and the range of a Hamiltonian grows with that of its projectors.
    """
    x = np.clip((r / cut - _WINDOW_START) / (1.0 - _WINDOW_START), 0.0, 1.0)
    return np.asarray(1.0 - x**4 * (35.0 - 84.0 * x + 70.0 * x**2 - 20.0 * x**3))


@cache
def table() -> dict[str, Any]:
    """Return the published parameters with their sources, as stored."""
    text = files(__package__).joinpath("gth_pbe.json").read_text()
    document: dict[str, Any] = json.loads(text)
    return document


def potential(element: str) -> Potential:
    """Return an element's published potential, spin-orbit strengths still zero.

    Raises:
        InputError: if the table has no such element.
    """
    from ase.data import atomic_numbers

    known = table()["elements"]
    if element not in known:
        raise InputError(
            f"no pseudopotential of {element!r} can be generated; the generator knows {' '.join(known)}. "
            "For others take fully relativistic UPF and .orb files of a library (PseudoDojo, ABACUS), lock their "
            "folder (nextham species lock DIR) and name it in species.source (--species)"
        )
    entry = known[element]
    return Potential(
        element=element,
        number=atomic_numbers[element],
        valence=entry["valence"],
        local_radius=entry["local_radius"],
        local_coefficients=tuple(entry["local_coefficients"]),
        channels=tuple(
            Channel(l=c["l"], radius=c["radius"], h=np.array(c["h"]), k=np.zeros_like(np.array(c["h"])))
            for c in entry["channels"]
        ),
    )

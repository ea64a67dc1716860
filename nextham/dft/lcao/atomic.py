"""Superposed atoms on the grid: local pseudopotential, neutral-atom density, core density.

Form factors of a spherical f(r), all as radial integrals by Simpson's rule over the pseudopotential's mesh:

    v(q)   = (4π/q) ∫ (r V_loc + 2Z erf r) sin(qr) dr - 8πZ e^(-q²/4)/q²,   v(0) = 4π ∫ r (r V_loc + 2Z) dr
    ρ(q)   = ∫ 4πr²ρ j_0(qr) dr, scaled to Z electrons;   ρ_c(q) = 4π ∫ r² ρ_c j_0(qr) dr

The smooth parts are tabulated in q and interpolated by cubic splines.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import erf
from torch import Tensor

from nextham.dft.lcao.cache import cached
from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.species.upf import Pseudopotential, simpson_weights

_DQ = 0.01  # 1/Bohr


@dataclasses.dataclass(frozen=True, eq=False)
class AtomicFields:
    """What the superposed atoms put on the grid, each (n_points,)."""

    local: Tensor  # V_loc, Ry
    density: Tensor  # neutral-atom density, scaled to the number of electrons
    core: Tensor | None  # core density; None if no element has one


def superposed(crystal: Crystal, grid: FFTGrid) -> AtomicFields:
    """Return the fields of the superposed atoms."""
    fractional = crystal.structure.fractional
    q = grid.g2.clamp(min=0).sqrt()
    waves = torch.zeros((3, *q.shape), dtype=torch.complex128, device=grid.device)
    has_core = False
    for z in crystal.elements:
        pseudo = crystal.species[z].pseudo
        has_core |= pseudo.rho_core is not None
        factors = form_factors(pseudo, q, float(np.sqrt(grid.ecut_ry)))
        weight = grid.structure_factor(fractional[crystal.numbers == z]) * (grid.sphere / grid.volume)
        for k in range(3):
            waves[k] += factors[k] * weight
    density = grid.to_real(waves[1])
    density *= crystal.n_electrons / float(density.sum() * grid.weight)
    return AtomicFields(grid.to_real(waves[0]), density, grid.to_real(waves[2]) if has_core else None)


def form_factors(pseudo: Pseudopotential, q: Tensor, q_max: float) -> Tensor:
    """Return v, ρ and ρ_c at wave numbers q, (3, ...); beyond q_max they are not meant to be used."""
    n = int(q_max / _DQ) + 40  # the spline is less exact near its end
    key = f"{pseudo.sha256} {_DQ} {n}"
    table = cached("form-factors", key, lambda: _smooth_parts(pseudo, np.arange(n, dtype=np.float64) * _DQ))
    spline = CubicSpline(np.arange(n, dtype=np.float64) * _DQ, table[1:], bc_type=((1, np.zeros(3)), "not-a-knot"))
    c = torch.from_numpy(np.ascontiguousarray(np.moveaxis(spline.c, 2, 1))).to(q.device)  # (4, 3, n - 1)
    interval = (q / _DQ).long().clamp(max=n - 2)
    t = q - interval.to(q.dtype) * _DQ
    out = torch.stack(
        [
            ((c[0, k][interval] * t + c[1, k][interval]) * t + c[2, k][interval]) * t + c[3, k][interval]
            for k in range(3)
        ]
    )
    tail = 8 * np.pi * pseudo.z_valence * torch.exp(-q * q / 4) / (q * q).clamp(min=1e-16)
    out[0] = torch.where(q > 1e-8, out[0] - tail, float(table[0, 0]))
    return out


def _smooth_parts(pseudo: Pseudopotential, q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (1 + n_q, 3): first row v(0) and zeros, then the smooth parts of v, ρ and ρ_c."""
    n, charge = pseudo.n_integrals, 2 * pseudo.z_valence
    r, weight = pseudo.r[:n], simpson_weights(pseudo.rab[:n])
    density = pseudo.rho_atom[:n] * weight
    density = density * (pseudo.z_valence / density.sum())
    core = np.zeros(n) if pseudo.rho_core is None else 4 * np.pi * r**2 * pseudo.rho_core[:n] * weight
    local = 4 * np.pi * (r * pseudo.local[:n] + charge * erf(r)) * r * weight
    integrands = np.stack([local, density, core], axis=1)
    rows = [np.sinc(np.outer(part, r) / np.pi) @ integrands for part in np.array_split(q, max(1, len(q) // 512))]
    at_zero = 4 * np.pi * float((r * (r * pseudo.local[:n] + charge) * weight).sum())
    return np.concatenate([[[at_zero, 0.0, 0.0]], *rows])

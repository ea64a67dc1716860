"""The electrostatic energy of the ions among themselves, by Ewald's sum on the FFT grid.

    E = ½ ∫ρ V_H[ρ] + Σ_(i,j,R) Z_i Z_j erfc(r/2s)/r - Σ_i Z_i²/(√π s) - 4π s² (Σ_i Z_i)²/Ω      (Ry: e² = 2)

ρ holds each ion as a Gaussian of width s; the sum over directed pairs is what points have beyond Gaussians, the next
term the energy of each Gaussian by itself, the last that of the uniform background that makes the cell neutral.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from scipy.special import erfc

from nextham.dft.lcao.crystal import Crystal
from nextham.dft.lcao.grid import FFTGrid
from nextham.dft.lcao.neighbours import neighbours

_NARROW: Final = 6.5  # width times the largest G: e^(-42) of the energy lies beyond the sphere
_REACH: Final = 12.5  # widths: erfc(r/2s) is 1e-18 from there on


def ion_energy(crystal: Crystal, grid: FFTGrid) -> float:
    """Return the energy of the valence charges of a crystal in a neutral background, Ry per cell."""
    width = _NARROW / math.sqrt(grid.ecut_ry)
    charges = np.array([crystal.species[int(z)].pseudo.z_valence for z in crystal.numbers])
    waves = torch.zeros_like(grid.g2, dtype=torch.complex128)
    for z in crystal.elements:
        own = crystal.numbers == z
        waves += crystal.species[z].pseudo.z_valence * grid.structure_factor(crystal.structure.fractional[own])
    density = grid.to_real(waves * torch.exp(-grid.g2 * (width**2 / 2)) * (grid.sphere / grid.volume))
    smooth = float(density @ grid.hartree(density)) * grid.weight / 2
    reach = np.full(crystal.n_atoms, _REACH * width / 2)
    found = neighbours(crystal, reach, reach)
    r = np.linalg.norm(found.vectors, axis=1)
    other = r > 0  # each ion is beside itself in the list
    products = charges[found.ij[other]].prod(axis=1)
    near = float((products * erfc(r[other] / (2 * width)) / r[other]).sum())
    alone = float((charges**2).sum()) / (math.sqrt(math.pi) * width)
    background = 4 * math.pi * width**2 * float(charges.sum()) ** 2 / crystal.volume
    return smooth + near - alone - background

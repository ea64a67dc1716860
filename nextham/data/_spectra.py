"""The checks that need eigenvalues: positive overlap, electron count, the engine's printed levels."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.special import erfc, expit

from nextham.core import LCAOSystem
from nextham.data.settings import CheckSettings
from nextham.exceptions import CheckError
from nextham.physics.bands import KMesh, Levels, eigenproblem, gap
from nextham.physics.bloch import bloch_sum
from nextham.units import RYDBERG_EV

_PRINTED: Final = 5e-9  # relative: half of the last of the nine digits that a matrix element is printed with


def spectral_facts(
    system: LCAOSystem,
    settings: CheckSettings,
    *,
    levels: Levels | None,
    time_reversal: bool,
    skipped: dict[str, str],
) -> dict[str, Any]:
    """Return what the eigenvalues say.

    Args:
        system: one structure.
        settings: tolerances.
        levels: what the engine printed.
        time_reversal: whether H is even under time reversal, so that k and -k have the same levels.
        skipped: gains the checks that could not be done.
    """
    if "overlap" not in system.operators:
        skipped |= dict.fromkeys(("electron-count", "bands"), "there is no overlap")
        return {}
    mesh = k_mesh(system.cells[0], settings.mesh_spacing_inv_ang)
    has_h = "hamiltonian" in system.operators
    half = KMesh.of(mesh, time_reversal=time_reversal or not has_h)
    k, weight = half.k, half.weights
    if not has_h:
        skipped |= dict.fromkeys(("electron-count", "bands"), "there is no H")
        span = np.array([scipy.linalg.eigvalsh(s[0])[[0, -1]] for s in bloch_sum(system, "overlap", k)])
        return {"mesh": mesh, **_overlap_range(system, k, span, settings, skipped)}
    solved = eigenproblem(system, k)
    facts: dict[str, Any] = {"mesh": mesh, **_overlap_range(system, k, solved.overlap_range, settings, skipped)}
    facts |= _electrons(system, solved.energies, weight, settings, skipped)
    if levels is None or not len(levels.k):
        skipped["bands"] = "there are no printed levels"
        return facts
    return facts | _bands(system, levels, settings)


def k_mesh(cell: NDArray[np.float64], spacing_inv_ang: float) -> tuple[int, int, int]:
    """Return the Γ-centred mesh whose steps along the reciprocal vectors (with 2π) are at most so long.

    >>> k_mesh(5.0 * np.eye(3), 0.7)
    (2, 2, 2)
    """
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    n = np.maximum(1, np.ceil(np.linalg.norm(reciprocal, axis=1) / spacing_inv_ang - 1e-9))
    return int(n[0]), int(n[1]), int(n[2])


def _overlap_range(
    system: LCAOSystem,
    k: NDArray[np.float64],
    span: NDArray[np.float64],
    settings: CheckSettings,
    skipped: dict[str, str],
) -> dict[str, float]:
    lowest, cutoff = float(span[:, 0].min()), system.meta[0].pair_cutoff_ang
    if lowest <= settings.overlap_min and cutoff is not None:
        skipped["overlap-positive"] = f"pairs beyond {cutoff:g} Å were left out before they came here"
        return {"overlap_min": lowest}
    if lowest <= settings.overlap_min:
        where = np.round(k[int(np.argmin(span[:, 0]))], 4).tolist()
        raise CheckError(
            "overlap-positive",
            f"{system.ids[0]}: S(k) has the eigenvalue {lowest:.2e} at k = {where}, it must exceed "
            f"{settings.overlap_min:g}; positions, cell and matrices are not of one run, or atoms lie on each other",
        )
    return {"overlap_min": lowest, "overlap_condition": float((span[:, 1] / span[:, 0]).max())}


def _electrons(
    system: LCAOSystem,
    energies: NDArray[np.float64],
    weight: NDArray[np.float64],
    settings: CheckSettings,
    skipped: dict[str, str],
) -> dict[str, Any]:
    """N = Σ_k w_k Σ_n f((ε_nk - E_F)/σ) of our own levels on our own mesh, against the engine's electrons.

    E_F is the engine's, of its own denser mesh: exact for insulators, up to some tenths of an electron
    for metals. A wrong unit, a lost shell or a foreign H is off by one or more.
    """
    meta = system.meta[0]
    if meta.n_electrons is None or meta.fermi_energy_ev is None:
        skipped["electron-count"] = "the engine names no number of electrons or no Fermi level"
        return {"gap_ev": None if meta.n_electrons is None else gap(energies, meta.n_electrons)}
    count = float(
        weight @ np.nansum(occupations(energies - meta.fermi_energy_ev, meta.smearing, meta.smearing_ev), axis=1)
    )
    error = count - meta.n_electrons
    if abs(error) > settings.electron_tolerance:
        raise CheckError(
            "electron-count",
            f"{system.ids[0]}: the levels below E_F = {meta.fermi_energy_ev:.3f} eV hold {count:.3f} electrons, the "
            f"engine has {meta.n_electrons:g} (tolerance {settings.electron_tolerance:g}); "
            "H, S and the log are not of one run",
        )
    return {"electrons": count, "electron_error": error, "gap_ev": gap(energies, meta.n_electrons)}


def occupations(above: NDArray[np.float64], smearing: str, width_ev: float | None) -> NDArray[np.float64]:
    """Return the occupation 0..1 of levels at ε - E_F: ½ erfc(x/σ), or Fermi-Dirac, or a step without width.

    Methfessel-Paxton and cold smearing count like Gaussian ones here: the difference is far below the tolerance.
    """
    if not width_ev or smearing.startswith("fix"):
        return np.where(np.isnan(above), np.nan, above < 0)
    x = above / width_ev
    return np.asarray(expit(-x) if smearing.startswith("fd") else erfc(x) / 2)


def _bands(system: LCAOSystem, levels: Levels, settings: CheckSettings) -> dict[str, Any]:
    n_k = len(levels.k)
    wanted = n_k if settings.band_k_points == 0 else min(n_k, settings.band_k_points)
    chosen = np.unique(np.linspace(0, n_k - 1, wanted).round().astype(int))
    printed = np.asarray(levels.energies)[chosen]
    own = eigenproblem(system, levels.k[chosen]).energies
    if printed.shape[1] > own.shape[1]:
        raise CheckError(
            "bands",
            f"{system.ids[0]}: the engine printed {printed.shape[1]} levels at each k, but the matrices have "
            f"{own.shape[1]}; the basis is not the run's",
        )
    error = np.abs(own[:, : printed.shape[1]] - printed)
    beyond = np.nan_to_num(error - half_last_digit(printed, settings.printed_digits), nan=np.inf)
    odd = np.flatnonzero((beyond > settings.band_tolerance_ev).any(axis=1))
    if len(odd):
        beyond[odd] -= rounding_of_levels(system, levels.k[chosen][odd])[:, : printed.shape[1]]
    k, band = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
    if beyond[k, band] > settings.band_tolerance_ev:
        where = np.round(levels.k[chosen][k], 6).tolist()
        raise CheckError(
            "bands",
            f"{system.ids[0]}: level {band + 1} at k = {where} is {own[k, band]:.6f} eV from the matrices and "
            f"{printed[k, band]:.6f} eV in the engine's output (tolerance {settings.band_tolerance_ev:g} eV); "
            "matrices and log are not of one run, or the file is misread",
        )
    return {"band_error_ev": float(error.max()), "n_band_k": len(chosen)}


def rounding_of_levels(system: LCAOSystem, k: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far the printed digits of H and S can move each level, (n_k, n_bands) eV: δε = c†(δH - ε δS)c.

    Nothing where |c|² is of order one. Where S(k) is nearly singular, empty levels some hundred eV up have a large
    |c|² and move by 1e-3 eV.
    """
    solved = eigenproblem(system, k, vectors=True)
    assert solved.vectors is not None
    size = (np.abs(solved.vectors) ** 2).sum(axis=1)
    return np.asarray(_PRINTED * size * (np.abs(solved.energies) + RYDBERG_EV))


def half_last_digit(energies: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Return half a unit of the last of so many significant digits of each number.

    >>> half_last_digit(np.array([-12.3456, 0.5]), 6)
    array([5.e-05, 5.e-07])
    """
    exponent = np.floor(np.log10(np.maximum(np.abs(energies), 1e-12)))
    return np.asarray(0.5 * 10.0 ** (exponent - digits + 1))

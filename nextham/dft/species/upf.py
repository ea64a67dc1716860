"""UPF 2 pseudopotentials: norm-conserving, local part, projectors and atomic densities.

Energies in Rydberg, lengths in Bohr, as the files have them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import xml.etree.ElementTree as ET
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import atomic_number
from nextham.core._arrays import frozen
from nextham.dft.species.upf_xml import Tag, child, document, values
from nextham.exceptions import InputError

_NOTHING: Final = 1e-10  # a projector ends where |r β(r)| stays below this
_INTEGRALS_END_BOHR: Final = 15.0  # the tails beyond are noise of the generator
_FEWEST_POINTS: Final = 11
_MOST_POINTS: Final = 10**7
_MOST_PROJECTORS: Final = 1000
_HIGHEST_L: Final = 6
_MESH_TOLERANCE: Final = 0.01
_TAIL_TOLERANCE: Final = 0.01
_DENSITY_TOLERANCE: Final = 0.1
_COUPLING_NOISE: Final = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Projector:
    """One non-local projector β, up to its end."""

    l: int
    j: float  # total angular momentum; NaN in a scalar-relativistic file
    r_beta: NDArray[np.float64]  # (n,) r β(r) on the first n points of the mesh


@dataclasses.dataclass(frozen=True, eq=False)
class Pseudopotential:
    """What a UPF file says about an element; the mesh has an odd number of points (Simpson's rule)."""

    number: int
    z_valence: float
    r: NDArray[np.float64]  # (n_mesh,) Bohr
    rab: NDArray[np.float64]  # (n_mesh,) dr/di
    local: NDArray[np.float64]  # (n_mesh,) V_loc, Ry
    rho_atom: NDArray[np.float64]  # (n_mesh,) 4π r² ρ of the neutral pseudo-atom
    rho_core: NDArray[np.float64] | None  # (n_mesh,) core density of the non-linear core correction
    projectors: tuple[Projector, ...]  # sorted by l
    coupling: NDArray[np.float64]  # (n_projectors, n_projectors) D, Ry
    functional: str
    has_so: bool  # fully relativistic
    sha256: str

    def __repr__(self) -> str:
        kind = "fully" if self.has_so else "scalar"
        return f"Pseudopotential(Z={self.number}, {self.z_valence:g} electrons, {kind} relativistic)"

    @cached_property
    def n_integrals(self) -> int:
        """How many mesh points enter integrals over V_loc and densities: odd, just past 15 Bohr."""
        beyond = np.flatnonzero(self.r > _INTEGRALS_END_BOHR)
        return 2 * ((int(beyond[0]) + 2) // 2) - 1 if len(beyond) else len(self.r)

    @property
    def projector_cutoff(self) -> float:
        """Radius of the widest projector in Bohr, 0 without projectors."""
        return max((float(self.r[len(p.r_beta) - 1]) for p in self.projectors), default=0.0)


def simpson_weights(rab: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights w with ∫ f dr = Σ w f, composite Simpson in the index of an odd number of points."""
    w = np.full(len(rab), 2.0)
    w[1::2] = 4.0
    w[[0, -1]] = 1.0
    weights: NDArray[np.float64] = w * rab / 3.0
    return weights


def read_upf(path: str | Path) -> Pseudopotential:
    """Read a norm-conserving UPF 2 file.

    Raises:
        InputError: if it is missing, cut short, of another format, not norm-conserving, or at odds with itself.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no pseudopotential file {path}")
    data = path.read_bytes()
    root = document(data.decode("utf-8", errors="replace"), path)
    header = Tag(child(root, "PP_HEADER", path), path)
    if header.flag("is_ultrasoft") or header.flag("is_paw") or header.word("pseudo_type", "NC") not in ("NC", "SL"):
        raise InputError(f"{path} is ultrasoft or PAW; orbital Hamiltonians need a norm-conserving UPF file")
    number = _element(header, path)
    valence = float(header.integer("z_valence", 1, number))
    n_mesh = header.integer("mesh_size", _FEWEST_POINTS, _MOST_POINTS)
    n = n_mesh - (n_mesh + 1) % 2  # an even mesh loses its last point, as in ABACUS
    mesh = child(root, "PP_MESH", path)
    r, rab = (frozen(values(mesh, tag, n_mesh, path)[:n], np.float64) for tag in ("PP_R", "PP_RAB"))
    _check_mesh(r, rab, path)
    local, rho_atom = (frozen(values(root, tag, n_mesh, path)[:n], np.float64) for tag in ("PP_LOCAL", "PP_RHOATOM"))
    _check_valence(valence, float(-r[-1] * local[-1] / 2), float(simpson_weights(rab) @ rho_atom), path)
    core = values(root, "PP_NLCC", n_mesh, path)[:n] if header.flag("core_correction") else None
    projectors, coupling = _projectors(root, header, n, path)
    return Pseudopotential(
        number=number,
        z_valence=valence,
        r=r,
        rab=rab,
        local=local,
        rho_atom=rho_atom,
        rho_core=None if core is None else frozen(core, np.float64),
        projectors=projectors,
        coupling=coupling,
        functional=header.word("functional", ""),
        has_so=header.flag("has_so"),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _check_mesh(r: NDArray[np.float64], rab: NDArray[np.float64], path: Path) -> None:
    if r[0] < 0 or (np.diff(r) <= 0).any():
        raise InputError(f"{path}: PP_R does not ascend from 0, so that it is no radial mesh; fetch the file again")
    slopes = (r[2:] - r[:-2]) / 2
    if (np.abs(rab[1:-1] - slopes) > _MESH_TOLERANCE * slopes).any() or (rab < 0).any():
        raise InputError(f"{path}: PP_RAB is not the derivative of the mesh PP_R; fetch the file again")


def _check_valence(valence: float, tail: float, electrons: float, path: Path) -> None:
    """Compare z_valence with the charge -r V_loc / 2 at the end of the mesh and with the atomic density.

    Of 96 fully relativistic files (70 of PseudoDojo, the embedded ones) the first differs by 3e-4 at most. The second
    differs by 6e-3, more where a mesh ends inside of a wide atom; the engines scale it.
    """
    if abs(tail - valence) > _TAIL_TOLERANCE * valence:
        raise InputError(
            f"{path}: PP_HEADER has z_valence={valence:g}, but PP_LOCAL ends as the potential of a charge of "
            f"{tail:.3g}; fetch the file again"
        )
    if abs(electrons - valence) > _DENSITY_TOLERANCE * valence:
        raise InputError(
            f"{path}: PP_HEADER has z_valence={valence:g}, but PP_RHOATOM holds {electrons:.3g} electrons; "
            "fetch the file again"
        )


def _element(header: Tag, path: Path) -> int:
    try:
        return atomic_number(header.word("element").capitalize())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _projectors(root: ET.Element, header: Tag, n: int, path: Path) -> tuple[tuple[Projector, ...], NDArray[Any]]:
    count = header.integer("number_of_proj", 0, _MOST_PROJECTORS)
    section = root.find("PP_NONLOCAL")
    listed = [] if section is None else [e for e in section if re.fullmatch(r"PP_BETA\.\d+", e.tag)]
    if len(listed) != count:
        raise InputError(
            f"{path}: PP_HEADER has number_of_proj={count}, but PP_NONLOCAL holds {len(listed)} projectors; "
            "fetch the file again"
        )
    if section is None or not count:
        return (), frozen(np.zeros((0, 0)), np.float64)
    found = tuple(_projector(root, section, b, n, path) for b in range(1, count + 1))
    if [p.l for p in found] != sorted(p.l for p in found):
        raise InputError(f"{path} does not list its projectors by ascending l, which ABACUS's convention needs")
    if header.flag("has_so") and any(np.isnan(p.j) for p in found):
        raise InputError(f"{path} says has_so but its PP_SPIN_ORB section is incomplete; fetch the file again")
    coupling = values(section, "PP_DIJ", count * count, path).reshape(count, count)
    _check_coupling(coupling, found, path)
    return found, frozen(coupling, np.float64)


def _projector(root: ET.Element, section: ET.Element, b: int, n: int, path: Path) -> Projector:
    tag = f"PP_BETA.{b}"
    l = Tag(child(section, tag, path), path).integer("angular_momentum", 0, _HIGHEST_L)
    r_beta = values(section, tag, None, path)[:n]
    if not r_beta.any():
        raise InputError(f"{path}: {tag} is empty or zero; fetch the file again")
    return Projector(l, _total_momentum(root, b, l, path), frozen(_ended(r_beta), np.float64))


def _check_coupling(coupling: NDArray[np.float64], found: tuple[Projector, ...], path: Path) -> None:
    """Refuse D that is not symmetric, or that couples projectors of other angular momenta."""
    noise = _COUPLING_NOISE * np.abs(coupling).max()
    if (np.abs(coupling - coupling.T) > noise).any():
        raise InputError(f"{path}: PP_DIJ is not symmetric; fetch the file again")
    momenta = np.array([(p.l, 0.0 if np.isnan(p.j) else p.j) for p in found])
    other = (momenta[:, None] != momenta).any(axis=2)
    if (np.abs(coupling[other]) > noise).any():
        raise InputError(f"{path}: PP_DIJ couples projectors of different l or j; fetch the file again")


def _total_momentum(root: ET.Element, b: int, l: int, path: Path) -> float:
    tag = root.find(f"PP_SPIN_ORB/PP_RELBETA.{b}")
    if tag is None:
        return float("nan")
    attributes = Tag(tag, path)
    j = attributes.real("jjj")
    if attributes.integer("lll", 0, _HIGHEST_L) != l or abs(abs(j - l) - 0.5) > 1e-6 or j < 0:
        raise InputError(
            f"{path}: PP_RELBETA.{b} gives l, j = {attributes.word('lll')}, {j:g}, but PP_BETA.{b} has l = {l}, "
            "and j is l + 1/2 or l - 1/2; fetch the file again"
        )
    return round(2 * j) / 2


def _ended(r_beta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut a projector where ABACUS does: an odd number of points, so that the last one above noise may go too."""
    above = np.flatnonzero(np.abs(r_beta) > _NOTHING)
    end = int(above[-1]) if len(above) else len(r_beta)
    return r_beta[: end + (end % 2 == 0)]

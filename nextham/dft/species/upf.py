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
from nextham.exceptions import InputError

_NOTHING: Final = 1e-10  # a projector ends where |r β(r)| stays below this
_INTEGRALS_END_BOHR: Final = 15.0  # the tails beyond are noise of the generator


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
        InputError: if it is missing, cut short, of another format, or not norm-conserving.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no pseudopotential file {path}")
    data = path.read_bytes()
    root = _document(data.decode("utf-8", errors="replace"), path)
    header = _Tag(_child(root, "PP_HEADER", path), path)
    if header.flag("is_ultrasoft") or header.flag("is_paw") or header.word("pseudo_type", "NC") not in ("NC", "SL"):
        raise InputError(f"{path} is ultrasoft or PAW; orbital Hamiltonians need a norm-conserving UPF file")
    n_mesh = header.integer("mesh_size")
    mesh = _child(root, "PP_MESH", path)
    n = n_mesh - (n_mesh + 1) % 2  # an even mesh loses its last point, as in ABACUS
    core = _values(root, "PP_NLCC", n_mesh, path)[:n] if header.flag("core_correction") else None
    projectors, coupling = _projectors(root, header, n, path)
    return Pseudopotential(
        number=_element(header, path),
        z_valence=header.real("z_valence"),
        r=frozen(_values(mesh, "PP_R", n_mesh, path)[:n], np.float64),
        rab=frozen(_values(mesh, "PP_RAB", n_mesh, path)[:n], np.float64),
        local=frozen(_values(root, "PP_LOCAL", n_mesh, path)[:n], np.float64),
        rho_atom=frozen(_values(root, "PP_RHOATOM", n_mesh, path)[:n], np.float64),
        rho_core=None if core is None else frozen(core, np.float64),
        projectors=projectors,
        coupling=coupling,
        functional=header.word("functional", ""),
        has_so=header.flag("has_so"),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _document(text: str, path: Path) -> ET.Element:
    """Parse the XML without its free-text head, which often is not XML; documents with a DTD are refused."""
    if not re.search(r"<UPF\s[^>]*version\s*=\s*[\"']2", text):
        raise InputError(f"{path} is not a UPF file of version 2; convert it, e.g. with upf tools of Quantum ESPRESSO")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path} holds a document type declaration, which no UPF file needs; it is not read")
    body = re.sub(r"<PP_INFO\b.*?</PP_INFO\s*>", "", text, count=1, flags=re.DOTALL)
    try:
        return ET.fromstring(body)  # noqa: S314  (entities are refused above)
    except ET.ParseError as error:
        raise InputError(f"{path} is cut short or damaged ({error}); fetch the file again") from None


class _Tag:
    """The attributes of one XML tag, with errors that name the file."""

    def __init__(self, element: ET.Element, path: Path) -> None:
        self._attributes = {name.lower(): value.strip() for name, value in element.attrib.items()}
        self._where = f"{path}: {element.tag}"

    def word(self, name: str, default: str | None = None) -> str:
        if name not in self._attributes and default is None:
            raise InputError(f"{self._where} has no attribute {name}; the file is damaged or not a UPF 2 file")
        return self._attributes.get(name, default or "")

    def flag(self, name: str) -> bool:
        return self.word(name, "F").strip(".").lower() in ("t", "true")

    def real(self, name: str) -> float:
        try:
            return float(self.word(name).replace("D", "E").replace("d", "e"))
        except ValueError:
            raise InputError(f"{self._where} has {name}={self.word(name)!r}, which is not a number") from None

    def integer(self, name: str) -> int:
        return round(self.real(name))


def _element(header: _Tag, path: Path) -> int:
    try:
        return atomic_number(header.word("element").capitalize())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _child(parent: ET.Element, tag: str, path: Path) -> ET.Element:
    found = parent.find(tag)
    if found is None:
        raise InputError(f"{path} has no {tag} section; it is cut short or not a UPF 2 file")
    return found


def _values(parent: ET.Element, tag: str, count: int, path: Path) -> NDArray[np.float64]:
    words = (_child(parent, tag, path).text or "").split()
    if len(words) < count:
        raise InputError(f"{path}: {tag} holds {len(words)} numbers where {count} are due; fetch the file again")
    try:
        values = np.array(words[:count], dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: {tag} holds a word that is not a number ({error})") from None
    if not np.isfinite(values).all():
        raise InputError(f"{path}: {tag} holds a number that is not finite")
    return values


def _projectors(root: ET.Element, header: _Tag, n: int, path: Path) -> tuple[tuple[Projector, ...], NDArray[Any]]:
    count = header.integer("number_of_proj")
    if not count:
        return (), frozen(np.zeros((0, 0)), np.float64)
    section = _child(root, "PP_NONLOCAL", path)
    found = []
    for b in range(1, count + 1):
        l = _Tag(_child(section, f"PP_BETA.{b}", path), path).integer("angular_momentum")
        words = (section.findtext(f"PP_BETA.{b}") or "").split()
        r_beta = _values(section, f"PP_BETA.{b}", min(len(words), n) or 1, path)
        found.append(Projector(l, _total_momentum(root, b, l, path), frozen(_ended(r_beta), np.float64)))
    if [p.l for p in found] != sorted(p.l for p in found):
        raise InputError(f"{path} does not list its projectors by ascending l, which ABACUS's convention needs")
    coupling = _values(section, "PP_DIJ", count * count, path).reshape(count, count)
    if header.flag("has_so") and any(np.isnan(p.j) for p in found):
        raise InputError(f"{path} says has_so but its PP_SPIN_ORB section is incomplete; fetch the file again")
    return tuple(found), frozen(coupling, np.float64)


def _total_momentum(root: ET.Element, b: int, l: int, path: Path) -> float:
    tag = root.find(f"PP_SPIN_ORB/PP_RELBETA.{b}")
    if tag is None:
        return float("nan")
    attributes = _Tag(tag, path)
    j = attributes.real("jjj")
    if attributes.integer("lll") != l or abs(abs(j - l) - 0.5) > 1e-6:
        raise InputError(
            f"{path}: PP_RELBETA.{b} gives l, j = {attributes.word('lll')}, {j}, but PP_BETA.{b} has l = {l}"
        )
    return j


def _ended(r_beta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut a projector where ABACUS does: an odd number of points, so that the last one above noise may go too."""
    above = np.flatnonzero(np.abs(r_beta) > _NOTHING)
    end = int(above[-1]) if len(above) else len(r_beta)
    return r_beta[: end + (end % 2 == 0)]

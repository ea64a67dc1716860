"""STRU: the crystal as ABACUS reads it, and writing it.

Read by our own parser: it must fold positions and scale units with ABACUS's own constants, or the R labels of the
matrices would not fit. Cell and positions leave here in Å (CODATA).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import Structure, atomic_number
from nextham.dft.engine import Cause, RunError
from nextham.dft.geometry import folded
from nextham.exceptions import InputError
from nextham.units import ABACUS_BOHR_ANG, BOHR_ANG

_KEYWORDS: Final = (
    *("ATOMIC_SPECIES", "NUMERICAL_ORBITAL", "NUMERICAL_DESCRIPTOR", "ABFS_ORBITAL", "LATTICE_CONSTANT"),
    *("LATTICE_VECTORS", "LATTICE_PARAMETERS", "ATOMIC_POSITIONS"),
)
_CENTRES: Final = {"xy": (0.5, 0.5, 0.0), "xz": (0.5, 0.0, 0.5), "yz": (0.0, 0.5, 0.5), "xyz": (0.5, 0.5, 0.5)}
_ONE_ANGSTROM_BOHR: Final = 1.8897261246257702  # LATTICE_CONSTANT that is read back as 1 Å


@dataclasses.dataclass(frozen=True)
class Species:
    """One ATOMIC_SPECIES line with its orbital file."""

    upf: str = ""
    orb: str = ""
    mass: float = 1.0


@dataclasses.dataclass(frozen=True)
class StruFile:
    """What a STRU says; atoms in the order of ABACUS's matrices."""

    fractional: NDArray[np.float64]  # (n_atoms, 3) folded into [0, 1) as ABACUS folds
    lat0_bohr: float  # LATTICE_CONSTANT
    cell_bohr: NDArray[np.float64]  # (3, 3)
    labels: tuple[str, ...]  # of each atom, e.g. "Fe1"
    numbers: NDArray[np.int64]  # (n_atoms,)
    species: Mapping[str, Species]  # by label, in type order
    moments: NDArray[np.float64]  # (n_atoms, 3) Bohr magnetons at the start
    z_before_3_9: NDArray[np.float64]  # (n_atoms,) their z parts where noncolin is 0: of a vector 3.8 took the length

    @cached_property
    def structure(self) -> Structure:
        """The folded crystal in Å."""
        cell = self.cell_bohr * BOHR_ANG
        return Structure(self.numbers, self.fractional @ cell, cell)


def read_stru(path: str | Path) -> StruFile:
    """Read a STRU file.

    Raises:
        RunError: if it is missing, cut short, or says what this reader does not know.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(Cause.MISSING_FILE, f"there is no {path}; a run folder holds INPUT, STRU and OUT.*")
    try:
        return _parsed(path.read_text())
    except InputError as error:
        raise RunError(Cause.BAD_INPUT, f"{path}: {error}") from None
    except (ValueError, IndexError, StopIteration, RuntimeError) as error:
        raise RunError(Cause.BAD_INPUT, f"{path} is not a complete STRU file: {error}") from None


def element_of(label: str) -> int:
    """Return the atomic number of an atom label such as Fe, Fe1 or Fe_up.

    Raises:
        InputError: if it names no element.
    """
    name = re.match(r"([A-Z][a-z]?)(?![A-Za-z])", label)
    if name:
        with contextlib.suppress(InputError):
            return atomic_number(name[1])
    raise InputError(f"atom label {label!r} names no element; a label is an element symbol, or one with a number: Fe1")


def _parsed(text: str) -> StruFile:
    sections = _sections(text)
    if "LATTICE_PARAMETERS" in sections:
        raise InputError("LATTICE_PARAMETERS (latname) is not supported; write the cell as LATTICE_VECTORS")
    for name in ("ATOMIC_SPECIES", "LATTICE_CONSTANT", "LATTICE_VECTORS", "ATOMIC_POSITIONS"):
        if name not in sections:
            raise InputError(f"the section {name} is missing")
    lat0 = float(sections["LATTICE_CONSTANT"][0].split()[0])
    rows = np.array([[float(w) for w in line.split()[:3]] for line in sections["LATTICE_VECTORS"][:3]])
    if rows.shape != (3, 3):
        raise InputError("LATTICE_VECTORS needs three rows of three numbers")
    orbitals = [line.split()[0] for line in sections.get("NUMERICAL_ORBITAL", [])]
    species = {}
    for k, line in enumerate(sections["ATOMIC_SPECIES"]):
        words = [*line.split(), ""]
        species[words[0]] = Species(words[2], orbitals[k] if k < len(orbitals) else "", float(words[1]))
    labels, coordinates, moments, lengths = _atoms(sections["ATOMIC_POSITIONS"][1:], list(species))
    mode = sections["ATOMIC_POSITIONS"][0].split()[0]
    fractional = folded(_fractional(coordinates, mode, lat0=lat0, cell_bohr=lat0 * rows))
    numbers = np.array([element_of(label) for label in labels], dtype=np.int64)
    return StruFile(fractional, lat0, lat0 * rows, tuple(labels), numbers, species, moments, lengths)


def _sections(text: str) -> dict[str, list[str]]:
    """Lines without comments and blanks, by the keyword above them."""
    found: dict[str, list[str]] = {}
    here: list[str] = []
    for raw in text.splitlines():
        line = re.split(r"//|#", raw)[0].strip()
        if not line:
            continue
        if line.split()[0] in _KEYWORDS:
            here = found[line.split()[0]] = []
        else:
            here.append(line)
    return found


def _atoms(
    lines: Sequence[str], types: Sequence[str]
) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    labels: list[str] = []
    coordinates, moments, old_z = [], [], []
    stream = iter(lines)
    for name in types:
        label = _next(stream, f"the atoms of {name} are missing").split()[0]
        if label != name:
            raise InputError(
                f"ATOMIC_POSITIONS has {label} where ATOMIC_SPECIES has {name}; both must list the types in one order"
            )
        type_moment = float(_next(stream, f"the magnetism of {name} is missing").split()[0])
        count = int(_next(stream, f"the number of {name} atoms is missing").split()[0])
        for k in range(count):
            words = _next(stream, f"{name} has {k} of its {count} atoms").split()
            coordinates.append([float(w) for w in words[:3]])
            moment, z = _moment(words[3:], type_moment)
            moments.append(moment)
            old_z.append(z)
            labels.append(name)
    if left := next(stream, None):
        raise InputError(f"{left.split()[0]!r} follows the atoms of the last type; no such type in ATOMIC_SPECIES")
    return labels, np.array(coordinates), np.array(moments), np.array(old_z)


def _next(stream: Iterator[str], problem: str) -> str:
    line = next(stream, None)
    if line is None:
        raise InputError(problem)
    return line


def _moment(words: Sequence[str], default: float) -> tuple[NDArray[np.float64], float]:
    """Starting moment (3,) of the words after the coordinates: flags, mag, angle1, angle2, velocities; its z in 3.8."""
    values: dict[str, list[float]] = {}
    key = "m"
    for word in words:
        if re.fullmatch(r"[A-Za-z]\w*", word):
            key = "mag" if word == "magmom" else word
            values[key] = []
        else:
            values.setdefault(key, []).append(float(word))
    moment = np.array(values.get("mag", [default]))
    if len(moment) == 3 and not {"angle1", "angle2"} & values.keys():
        return moment, float(np.linalg.norm(moment))
    length = moment[0] if len(moment) == 1 else np.linalg.norm(moment)
    polar, azimuth = (np.deg2rad(values.get(name, [0.0])[0]) for name in ("angle1", "angle2"))
    direction = [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)]
    turned = length * np.array(direction)
    return turned, float(turned[2])


def _fractional(
    x: NDArray[np.float64], mode: str, *, lat0: float, cell_bohr: NDArray[np.float64]
) -> NDArray[np.float64]:
    if mode == "Direct":
        return x
    angstrom = re.fullmatch(r"Cartesian_angstrom(?:_center_(xyz|xy|xz|yz))?", mode)
    if mode not in ("Cartesian", "Cartesian_au") and not angstrom:
        raise InputError(
            f"the coordinate mode {mode!r} is not one of Direct, Cartesian, Cartesian_au, "
            "Cartesian_angstrom and Cartesian_angstrom_center_xy|xz|yz|xyz"
        )
    bohr: NDArray[np.float64] = x / ABACUS_BOHR_ANG if angstrom else x * (lat0 if mode == "Cartesian" else 1.0)
    centre = np.array(_CENTRES[angstrom[1]]) if angstrom and angstrom[1] else np.zeros(3)
    out: NDArray[np.float64] = np.linalg.solve(cell_bohr.T, bohr.T).T + centre
    return out


def write_stru(
    structure: Structure, *, species: Mapping[str, Species], moments: NDArray[np.float64] | None = None
) -> str:
    """Return the text of a STRU: lengths in Å times the lattice constant of 1 Å, folded Direct coordinates.

    Args:
        structure: atoms grouped by element.
        species: files and mass of each element symbol.
        moments: starting moments (n_atoms, 3) in Bohr magnetons.

    Raises:
        InputError: if the atoms of an element do not stand together, or an element has no species.
    """
    symbols = structure.symbols
    types = list(dict.fromkeys(symbols))
    if symbols != sorted(symbols, key=types.index):
        raise InputError("a STRU lists the atoms of one element together; use Structure.grouped()")
    if missing := [name for name in types if name not in species]:
        raise InputError(f"there is no pseudopotential and orbital given for {missing[0]}")
    vectors = "\n".join(" ".join(f"{x: .16f}" for x in row) for row in structure.cell)
    lines = ["ATOMIC_SPECIES", *(f"{t} {species[t].mass:.6g} {species[t].upf}" for t in types), ""]
    lines += ["NUMERICAL_ORBITAL", *(species[t].orb for t in types), ""]
    lines += ["LATTICE_CONSTANT", f"{_ONE_ANGSTROM_BOHR!r}", "", "LATTICE_VECTORS", vectors, ""]
    lines += ["ATOMIC_POSITIONS", "Direct"]
    fractional = folded(structure.fractional)
    for t in types:
        atoms = [k for k, name in enumerate(symbols) if name == t]
        lines += ["", t, "0.0", str(len(atoms))]
        for k in atoms:
            moment = "" if moments is None else _polar(*moments[k].tolist())
            lines.append(" ".join(f"{x:.16f}" for x in fractional[k]) + " 1 1 1" + moment)
    return "\n".join(lines) + "\n"


def _polar(x: float, y: float, z: float) -> str:
    """Words of a moment as length and angles in degrees: of a vector ABACUS 3.8 takes the length for the z part."""
    across = math.hypot(x, y)
    if not across:
        return f" mag {z:.15g}"
    azimuth = math.degrees(math.atan2(y, x))
    polar = f" mag {math.hypot(across, z):.15g} angle1 {math.degrees(math.atan2(across, z)):.15g}"
    return polar + (f" angle2 {azimuth:.15g}" if azimuth else "")

"""Species: the pseudopotential and the orbitals of an element, and whether they belong together."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from nextham.core import OrbitalBasis, atomic_number, symbol
from nextham.dft.species.orb import OrbitalSet, read_orb
from nextham.dft.species.upf import Pseudopotential, read_upf
from nextham.exceptions import InputError

# "PBE", "SLA PW PBX PBC", "XC_GGA_X_PBE+XC_GGA_C_PBE"; but not "PBESOL" or "SLA PW PSX PSC"
_PBE_WORDS: Final = frozenset({"PBE", "SLA", "PW", "PBX", "PBC", "XC", "GGA", "X", "C"})


@dataclasses.dataclass(frozen=True, eq=False)
class Species:
    """One element as the engine sees it."""

    pseudo: Pseudopotential
    orbitals: OrbitalSet
    upf_name: str
    orb_name: str

    @property
    def number(self) -> int:
        """Atomic number."""
        return self.orbitals.number

    @property
    def key(self) -> str:
        """What identifies both files."""
        return f"{self.pseudo.sha256}-{self.orbitals.sha256}"

    def __repr__(self) -> str:
        return f"Species({symbol(self.number)}, {self.pseudo.z_valence:g} electrons, {basis_of({0: self})})"


def load_species(name: str, upf: Path, orb: Path) -> Species:
    """Read the two files of an element and check that they can carry a spin-orbit PBE calculation.

    Raises:
        InputError: if a file is broken, of another element, without spin-orbit coupling or not PBE.
    """
    return _loaded(name, upf, orb, (upf.stat().st_mtime_ns, orb.stat().st_mtime_ns))


@lru_cache(maxsize=256)
def _loaded(name: str, upf: Path, orb: Path, _stamps: tuple[int, int]) -> Species:
    pseudo, orbitals = read_upf(upf), read_orb(orb)
    number = atomic_number(name)
    for found, path in ((pseudo.number, upf), (orbitals.number, orb)):
        if found != number:
            raise InputError(f"{path} is of {symbol(found)}, but it is named for {name}; choose a file of {name}")
    check_pseudopotential(pseudo, upf)
    return Species(pseudo, orbitals, upf.name, orb.name)


def check_pseudopotential(pseudo: Pseudopotential, path: Path) -> None:
    """Check that a pseudopotential can carry a spin-orbit PBE calculation.

    Raises:
        InputError: if it has no spin-orbit coupling, or is not PBE.
    """
    if pseudo.projectors and not pseudo.has_so:
        raise InputError(
            f"{path} is scalar-relativistic; spin-orbit coupling needs a fully relativistic UPF file (has_so = T)"
        )
    words = set(re.findall("[A-Z0-9]+", pseudo.functional.upper()))
    if words and not (words <= _PBE_WORDS and (words >= {"PBE"} or words >= {"PBX", "PBC"})):
        raise InputError(f"{path} was made with {pseudo.functional}; a PBE pseudopotential is needed")


def basis_of(species: Mapping[int, Species]) -> OrbitalBasis:
    """Return the orbital basis of some species."""
    return OrbitalBasis({s.number: s.orbitals.shells for s in species.values()})

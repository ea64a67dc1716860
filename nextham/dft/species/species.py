"""Species: the pseudopotential and the orbitals of an element, and whether they belong together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from nextham.core import OrbitalBasis, atomic_number, symbol
from nextham.dft.species.orb import OrbitalSet, read_orb
from nextham.dft.species.upf import Pseudopotential, read_upf
from nextham.exceptions import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Species:
    """One element as the engine sees it."""

    pseudo: Pseudopotential
    orbitals: OrbitalSet

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
    if pseudo.projectors and not pseudo.has_so:
        raise InputError(
            f"{upf} is scalar-relativistic; spin-orbit coupling needs a fully relativistic UPF file (has_so = T)"
        )
    if pseudo.functional and "PBE" not in pseudo.functional.upper().replace("SLA PW PBX PBC", "PBE"):
        raise InputError(f"{upf} was made with {pseudo.functional}; this engine computes with PBE")
    return Species(pseudo, orbitals)


def basis_of(species: Mapping[int, Species]) -> OrbitalBasis:
    """Return the orbital basis of some species."""
    return OrbitalBasis({s.number: s.orbitals.shells for s in species.values()})

"""The species set that ships with the project: one UPF and one .orb file per element, and how each was made."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Final

from nextham.dft.engine import Cause, RunError
from nextham.dft.species.files import SpeciesFiles, file_sha256
from nextham.dft.species.provenance import PROVENANCE, read_provenance
from nextham.exceptions import InputError

_ELSEWHERE: Final = (
    "name folders with fully relativistic UPF and .orb files of every element (pseudo_dir and orbital_dir)"
)


def embedded_folder() -> Path:
    """Return the folder of the embedded files."""
    return Path(str(files("nextham.dft.species"))) / "set"


def embedded_elements() -> list[str]:
    """Return the elements of the embedded set, by atomic number."""
    from ase.data import atomic_numbers

    return sorted(read_provenance(embedded_folder()).get("elements", {}), key=lambda name: atomic_numbers[name])


def embedded_files(element: str) -> SpeciesFiles:
    """Return an element's UPF and .orb files, their checksums compared with the provenance table.

    Raises:
        InputError: if the set has no such element, or a file is not the one that was shipped.
    """
    folder = embedded_folder()
    records = read_provenance(folder).get("elements", {})
    if element not in records:
        raise InputError(_missing([element]))
    found = SpeciesFiles(folder / f"{element}.upf", folder / f"{element}.orb")
    for path, kind in ((found.upf, "upf"), (found.orb, "orb")):
        if not path.is_file() or file_sha256(path) != records[element][f"{kind}_sha256"]:
            raise InputError(f"{path} is missing or not the file of {PROVENANCE}; reinstall nextham")
    return found


def embedded_species(symbols: Iterable[str], *, id: str) -> dict[str, SpeciesFiles]:
    """Return the embedded files of each element of a structure, in the order given.

    Raises:
        RunError: if the set has no such element; all that it lacks are named.
    """
    names = list(dict.fromkeys(symbols))
    missing = sorted(set(names) - set(embedded_elements()))
    if missing:
        raise RunError(Cause.MISSING_FILE, f"{id}: {_missing(missing)}")
    return {name: embedded_files(name) for name in names}


def _missing(names: list[str]) -> str:
    return f"the embedded species set has no {', '.join(names)}; it has {' '.join(embedded_elements())}; {_ELSEWHERE}"

"""The species set that ships with the project: one UPF and one .orb file per element, and how each was made."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from nextham.dft.species.generate.build import PROVENANCE, read_provenance
from nextham.exceptions import InputError


def embedded_folder() -> Path:
    """Return the folder of the embedded files."""
    return Path(str(files("nextham.dft.species"))) / "set"


def embedded_elements() -> list[str]:
    """Return the elements of the embedded set, by atomic number."""
    from ase.data import atomic_numbers

    return sorted(read_provenance(embedded_folder()).get("elements", {}), key=lambda name: atomic_numbers[name])


def embedded_files(element: str) -> tuple[Path, Path]:
    """Return an element's UPF and .orb files, their checksums compared with the provenance table.

    Raises:
        InputError: if the set has no such element, or a file is not the one that was shipped.
    """
    folder = embedded_folder()
    records = read_provenance(folder).get("elements", {})
    if element not in records:
        raise InputError(
            f"the embedded species set has no {element!r}; it has {' '.join(embedded_elements())}. "
            "Point species.source at a folder with fully relativistic UPF and .orb files of every element"
        )
    paths = folder / f"{element}.upf", folder / f"{element}.orb"
    for path, kind in zip(paths, ("upf", "orb"), strict=True):
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != records[element][f"{kind}_sha256"]:
            raise InputError(f"{path} is missing or not the file of {PROVENANCE}; reinstall nextham")
    return paths

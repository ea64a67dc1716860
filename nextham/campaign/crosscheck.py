"""S(R) of records or crystals against ABACUS's own two-centre integrals."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from nextham.campaign.runs import load_structures
from nextham.core import LCAOSystem, Provenance
from nextham.data.store import Store
from nextham.dft.abacus.overlaps import Difference, Overlaps
from nextham.dft.lcao.engine import LCAOEngine
from nextham.dft.lcao.settings import LCAOSettings
from nextham.dft.settings import EMBEDDED
from nextham.dft.species.files import file_sha256
from nextham.dft.species.source import embedded_species, locked_species
from nextham.exceptions import InputError, NexthamError

_SHA: Final = "@sha256:"


def differences(path: Path, *, species: str = EMBEDDED, ids: Sequence[str] = ()) -> Iterator[Difference]:
    """Yield how far S of each structure is from that of the binding.

    Args:
        path: a store, or a structure file, whose S the embedded engine computes.
        species: embedded, or the folder of the orbital files; of crystals it must be locked.
        ids: structures of the store; with none, all.

    Raises:
        InputError: if the binding or an orbital file is not there, or a file is not the record's.
    """
    Overlaps.check()
    pairs = _of_crystals(path, species) if path.is_file() else _of_store(path, species, ids)
    made: dict[tuple[Path, ...], Overlaps] = {}
    for system, files in pairs:
        key = tuple(files.values())
        if key not in made:
            made[key] = Overlaps(files)
        yield made[key].difference(system)


def _of_store(path: Path, species: str, ids: Sequence[str]) -> Iterator[tuple[LCAOSystem, Mapping[str, Path]]]:
    folder = embedded_species().folder if species == EMBEDDED else Path(species)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; name that of the orbital files with --species")
    store = Store(path)
    for id in store.known(ids or store.ids):
        yield store.read(id, ("overlap",)), _orbital_files(store.provenance(id), folder)


def _orbital_files(meta: Provenance, folder: Path) -> dict[str, Path]:
    """Return the orbital file of each element of a record: that of the name and content it was made with."""
    found = {}
    for element, text in meta.orbitals.items():
        name, _, digest = text.partition(_SHA)
        here = sorted(folder.rglob(name)) if name else []
        if not here:
            raise InputError(
                f"{meta.id} has the orbitals {name or 'of an unknown file'} for {element}, which {folder} does not "
                "hold; name the folder of its orbital files with --species"
            )
        same = [path for path in here if not digest or file_sha256(path) == digest]
        if not same:
            raise InputError(
                f"{here[0]} is not the file of {meta.id}: its SHA-256 differs; name another with --species"
            )
        found[element] = same[0]
    return found


def _of_crystals(path: Path, species: str) -> Iterator[tuple[LCAOSystem, Mapping[str, Path]]]:
    source = locked_species(species)
    engine = LCAOEngine(LCAOSettings(), source)
    for id, crystal in load_structures([path]):
        if isinstance(crystal, NexthamError):
            raise crystal
        with tempfile.TemporaryDirectory() as folder:
            system = engine.h0(crystal, id=id, folder=Path(folder)).system
        yield system, {name: files.orb for name, files in source.files(crystal.symbols, id=id).items()}

"""Where an engine's species come from: the embedded set, a locked folder, or folders named in its own settings."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable
from importlib.resources import files as resource
from pathlib import Path
from typing import Protocol

from nextham.core import atomic_number
from nextham.dft.engine import Cause, RunError
from nextham.dft.settings import EMBEDDED, RecipeSettings, SpeciesSettings
from nextham.dft.species.files import NamedFolders, SpeciesFiles, file_sha256
from nextham.dft.species.lock import LOCK, Lock, read_lock
from nextham.exceptions import InputError


class SpeciesSource(Protocol):
    """Gives each element its files."""

    @property
    def sha256(self) -> str:
        """What the files hold; empty where they are found by name alone."""
        ...

    def files(self, symbols: Iterable[str], *, id: str) -> dict[str, SpeciesFiles]:
        """Return the files of each element of a structure, in the order given.

        Raises:
            RunError: if an element has none.
        """
        ...


@dataclasses.dataclass(frozen=True)
class LockedSpecies:
    """A folder whose files must be those of its lock; the embedded set is one."""

    folder: Path
    lock: Lock
    relock: str = ""  # command that locks the folder anew; there is none for the embedded set

    @property
    def elements(self) -> list[str]:
        """Elements by atomic number."""
        return sorted(self.lock.elements, key=atomic_number)

    @property
    def sha256(self) -> str:
        """What the files hold."""
        return self.lock.sha256

    def files(self, symbols: Iterable[str], *, id: str) -> dict[str, SpeciesFiles]:
        """Return the files of each element, in the order given, their checksums compared with the lock.

        Raises:
            RunError: if an element is not in the lock, or a file is not the one that was locked.
        """
        names = list(dict.fromkeys(symbols))
        if missing := [name for name in names if name not in self.lock.elements]:
            raise RunError(Cause.MISSING_FILE, f"{id}: {self._lack(sorted(missing))}")
        for problem in (problem for name in names for problem in self.problems(name)):
            raise RunError(Cause.BAD_INPUT, f"{id}: {problem}")
        return {name: self.files_of(name) for name in names}

    def files_of(self, element: str) -> SpeciesFiles:
        """Return the files of an element of the lock, as they are."""
        entry = self.lock.elements[element]
        return SpeciesFiles((self.folder / entry.upf.path).resolve(), (self.folder / entry.orb.path).resolve())

    def problems(self, element: str) -> list[str]:
        """Return what is wrong with the files of an element of the lock, a sentence each."""
        mend = f"restore it, or lock again: {self.relock}" if self.relock else "reinstall nextham"
        entry = self.lock.elements[element]
        found = []
        for file in (entry.upf, entry.orb):
            path = self.folder / file.path
            if not path.is_file():
                found.append(f"{path} of the species lock is gone; {mend}")
            elif (now := file_sha256(path)) != file.sha256:
                short = f"its SHA-256 is {now[:12]}, the lock has {file.sha256[:12]}"
                found.append(f"{path} has changed since it was locked ({short}); {mend}")
        return found

    def _lack(self, missing: list[str]) -> str:
        if not self.relock:
            return (
                f"the embedded species set has no {', '.join(missing)}; it has {' '.join(self.elements)}; lock a "
                "folder with fully relativistic UPF and .orb files of every element (nextham species lock DIR) and "
                "name it in species.source (--species)"
            )
        lacking = ", ".join(f"{name} ({self.lock.incomplete.get(name, 'no UPF and no .orb file')})" for name in missing)
        return (
            f"the locked species of {self.folder} lack {lacking}; add what is missing, then lock again: {self.relock}"
        )


def embedded_species() -> LockedSpecies:
    """Return the set that ships with the project."""
    folder = Path(str(resource("nextham.dft.species"))) / "set"
    return LockedSpecies(folder, read_lock(folder / LOCK))


def locked_species(source: str, lock: str | Path | None = None) -> LockedSpecies:
    """Return a locked source by its name in the settings.

    Raises:
        InputError: if there is no such folder, or no lock of it.
    """
    if source == EMBEDDED:
        return embedded_species()
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(
            f"species.source: there is no folder {source}; name one, or {EMBEDDED} for the set that ships with nextham"
        )
    path = Path(lock) if lock else folder / LOCK
    relock = shlex.join(["nextham", "species", "lock", source, *(["-o", str(lock)] if lock else [])])
    if not path.is_file():
        raise InputError(f"species.source: there is no lock {path}; check and lock the files with: {relock}")
    try:
        return LockedSpecies(folder, read_lock(path), relock)
    except InputError as error:
        raise InputError(f"species.source: {error}; make it anew with: {relock}") from None


def check_source(species: SpeciesSettings, recipe: RecipeSettings) -> None:
    """Refuse settings that name two sources, or a lock of none; nothing is looked up on disk.

    Raises:
        InputError: naming the keys.
    """
    named = _named(recipe)
    if species.source and named:
        raise InputError(f"species.source and {', '.join(named)} name two places for species; keep one of them")
    if species.lock and species.source in (None, "", EMBEDDED):
        raise InputError("species.lock is the lock of a folder; name the folder in species.source")


def open_source(species: SpeciesSettings, recipe: RecipeSettings) -> SpeciesSource:
    """Return where the species of an engine come from, checked as far as no element needs to be known.

    Raises:
        InputError: if settings name two sources, or a folder or lock is missing or broken.
    """
    check_source(species, recipe)
    if species.source:
        return locked_species(species.source, species.lock)
    if recipe.default_source and not _named(recipe):
        return locked_species(recipe.default_source)
    folders = NamedFolders(recipe)
    folders.check()
    return folders


def _named(recipe: RecipeSettings) -> list[str]:
    """Return the keys of an engine's section that name species."""
    return [f"{recipe.section}.{key}" for key in recipe.species_keys if getattr(recipe, key)]

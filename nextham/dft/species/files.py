"""Which pseudopotential and orbital file each element uses."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from nextham.dft.engine import Cause, RunError
from nextham.exceptions import InputError


class SpeciesSettings(Protocol):
    """The settings of any engine that say where species are."""

    @property
    def pseudo_dir(self) -> str:
        """Folder with one UPF file per element."""
        ...

    @property
    def orbital_dir(self) -> str:
        """Folder with one .orb file per element."""
        ...

    @property
    def pseudopotentials(self) -> dict[str, str]:
        """Element: file."""
        ...

    @property
    def orbitals(self) -> dict[str, str]:
        """Element: file."""
        ...


@dataclasses.dataclass(frozen=True)
class SpeciesFiles:
    """The two files of one element."""

    upf: Path
    orb: Path


@dataclasses.dataclass(frozen=True)
class _Kind:
    """One of the two kinds of files, under the names of its settings."""

    words: str
    suffix: str
    dir_key: str
    map_key: str


_UPF = _Kind("pseudopotential", ".upf", "pseudo_dir", "pseudopotentials")
_ORB = _Kind("orbital file", ".orb", "orbital_dir", "orbitals")


def check_folders(settings: SpeciesSettings) -> None:
    """Check that the folders of pseudopotentials and orbitals are there.

    Raises:
        InputError: if one is not set or does not exist.
    """
    for kind in (_UPF, _ORB):
        folder, files = _setting(settings, kind)
        if not folder and not files:
            raise InputError(
                f"{kind.dir_key} is not set; name the folder with one {kind.suffix} file per element, "
                f"or list the files under {kind.map_key}"
            )
        if folder and not Path(folder).is_dir():
            raise InputError(f"{kind.dir_key}: there is no folder {folder}")


def find_species(symbols: Iterable[str], settings: SpeciesSettings, *, id: str) -> dict[str, SpeciesFiles]:
    """Return the files of each element, in the order given.

    Raises:
        RunError: if an element has no file, or several and none is chosen.
    """
    check_folders(settings)
    names = list(dict.fromkeys(symbols))
    upf = _find(names, settings, _UPF, id=id)
    orb = _find(names, settings, _ORB, id=id)
    return {name: SpeciesFiles(upf[name], orb[name]) for name in names}


def _setting(settings: SpeciesSettings, kind: _Kind) -> tuple[str, Mapping[str, str]]:
    return getattr(settings, kind.dir_key), getattr(settings, kind.map_key)


def _find(symbols: list[str], settings: SpeciesSettings, kind: _Kind, *, id: str) -> dict[str, Path]:
    folder, chosen = _setting(settings, kind)
    found: dict[str, Path] = {}
    missing: list[str] = []
    for name in symbols:
        if name in chosen:
            path = Path(folder) / chosen[name]  # an absolute path stays as it is
            if not path.is_file():
                raise RunError(
                    Cause.MISSING_FILE, f"{id}: {kind.map_key} names {path} for {name}, which does not exist"
                )
            found[name] = path.resolve()
            continue
        here = _matches(folder, name, kind.suffix)
        if len(here) > 1:
            listed = ", ".join(p.name for p in here)
            raise RunError(
                Cause.BAD_INPUT,
                f"{id}: {folder} holds several {kind.words}s of {name} ({listed}); "
                f"choose one with {kind.map_key}: {{{name}: {here[0].name}}}",
            )
        if here:
            found[name] = here[0].resolve()
        else:
            missing.append(name)
    if missing:
        raise RunError(
            Cause.MISSING_FILE,
            f"{id}: {folder or kind.map_key} holds no {kind.words} (*{kind.suffix}) of {', '.join(missing)}; "
            f"add it there or name it under {kind.map_key}",
        )
    return found


def _matches(folder: str, symbol: str, suffix: str) -> list[Path]:
    """Return files named after the element: Si.upf, Si_ONCV_PBE-1.0.upf, but not Sr.upf for S."""
    named = re.compile(rf"{symbol}(?![A-Za-z]).*{re.escape(suffix)}$", re.IGNORECASE)
    return sorted(path for path in Path(folder).iterdir() if named.match(path.name)) if folder else []


@lru_cache(maxsize=1024)
def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a pseudopotential or orbital file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""Which pseudopotential and orbital file each element uses."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from nextham.dft.engine import Cause, RunError
from nextham.dft.settings import RecipeSettings
from nextham.exceptions import InputError


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


@dataclasses.dataclass(frozen=True)
class NamedFolders:
    """Files found by their names in the folders of an engine's settings; nothing vouches for their content."""

    settings: RecipeSettings
    sha256 = ""  # nothing is locked

    def check(self) -> None:
        """Check that the folders of pseudopotentials and orbitals are there.

        Raises:
            InputError: if one is not set or does not exist.
        """
        for kind in (_UPF, _ORB):
            folder, files = self._setting(kind)
            if not folder and not files:
                raise InputError(
                    f"{kind.dir_key} is not set; name the folder with one {kind.suffix} file per element, "
                    f"or list the files under {kind.map_key}; or set species.source in place of both folders"
                )
            if folder and not Path(folder).is_dir():
                raise InputError(f"{kind.dir_key}: there is no folder {folder}")

    def files(self, symbols: Iterable[str], *, id: str) -> dict[str, SpeciesFiles]:
        """Return the files of each element, in the order given.

        Raises:
            RunError: if an element has no file, or several and none is chosen.
        """
        names = list(dict.fromkeys(symbols))
        upf, orb = (self._find(names, kind, id) for kind in (_UPF, _ORB))
        return {name: SpeciesFiles(upf[name], orb[name]) for name in names}

    def _setting(self, kind: _Kind) -> tuple[str, Mapping[str, str]]:
        return getattr(self.settings, kind.dir_key), getattr(self.settings, kind.map_key)

    def _find(self, symbols: list[str], kind: _Kind, id: str) -> dict[str, Path]:
        folder, chosen = self._setting(kind)
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


def check_heads(species: Mapping[str, SpeciesFiles], *, id: str) -> None:
    """Compare what the files say of themselves with what they are taken for; formats are left to who reads them.

    Raises:
        RunError: if a file is of another element, or a pseudopotential has no spin-orbit coupling.
    """
    for element, files in species.items():
        for path, (named, scalar) in ((path, _head(path)) for path in (files.upf, files.orb)):
            if named not in ("", element):
                text = f"{path} is of {named}, but it is named for {element}; choose a file of {element}"
                raise RunError(Cause.BAD_INPUT, f"{id}: {text}")
            if scalar:
                text = f"{path} is scalar-relativistic; spin-orbit coupling needs a fully relativistic UPF file"
                raise RunError(Cause.BAD_INPUT, f"{id}: {text} (has_so = T)")


def _head(path: Path) -> tuple[str, bool]:
    """Return the element that a file names, empty if none, and whether it is a scalar-relativistic UPF file."""
    state = path.stat()
    return _read_head(path, (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=1024)
def _read_head(path: Path, _state: tuple[int, int]) -> tuple[str, bool]:
    text = path.read_text(errors="replace")
    header = re.search(r"<PP_HEADER\b[^>]*>", text)
    if header is None:
        named = re.search(r"^\s*Element\s+([A-Za-z]+)", text, re.MULTILINE)
        return named[1] if named else "", False
    found = dict(re.findall(r"(\w+)\s*=\s*[\"']\s*\.?(\w+)", header[0]))
    scalar = found.get("has_so", "")[:1] in ("F", "f") and found.get("number_of_proj") != "0"
    return found.get("element", "").capitalize(), scalar


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a pseudopotential or orbital file, computed anew only if the file changes."""
    state = path.stat()
    return _sha256(path, (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=1024)
def _sha256(path: Path, _state: tuple[int, int]) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""The lock of a folder of species: which two files each element uses, and their checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from nextham.console import first_problem
from nextham.core import atomic_number
from nextham.exceptions import InputError, reason_of
from nextham.files import whole

LOCK: Final = "species.lock.json"


def _element(name: str) -> str:
    atomic_number(name)
    return name


def _confined(path: str) -> str:
    """Refuse a path that leaves the folder, so that a lock from elsewhere names nothing but the folder's files."""
    parts = PurePosixPath(path).parts
    if not parts or "\\" in path or ":" in path or PurePosixPath(path).is_absolute() or ".." in parts:
        raise ValueError(f"{path!r} is not a path within the folder of the species")
    return path


Element = Annotated[str, AfterValidator(_element)]


class LockedFile(BaseModel):
    """One file that must stay as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, AfterValidator(_confined)]  # relative to the folder, with /
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class LockedElement(BaseModel):
    """The files of one element, and what they hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upf: LockedFile
    orb: LockedFile
    valence: float  # electrons that the pseudopotential leaves
    has_so: bool  # fully relativistic
    functional: str
    orbitals: str  # e.g. 2s2p1d
    radius_bohr: float  # of the orbitals
    cutoff_ry: float  # plane waves that the orbitals were made for


class Lock(BaseModel):
    """The elements of a folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    elements: dict[Element, LockedElement] = Field(default_factory=dict)
    incomplete: dict[Element, str] = Field(default_factory=dict)  # elements that cannot be used: what they lack

    @property
    def sha256(self) -> str:
        """Hash of the contents of all files, wherever they lie and whatever they are called."""
        rows = [f"{name} {e.upf.sha256} {e.orb.sha256}" for name, e in sorted(self.elements.items())]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def with_elements(self, elements: dict[str, LockedElement]) -> Lock:
        """Return the lock with some elements added or replaced."""
        merged = dict(sorted((self.elements | elements).items()))
        left = {name: why for name, why in self.incomplete.items() if name not in merged}
        return Lock(elements=merged, incomplete=left)


def read_lock(path: Path) -> Lock:
    """Read a lock.

    Raises:
        InputError: if it cannot be read or is something else.
    """
    try:
        return Lock.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"the species lock {path} cannot be read: {reason_of(error)}") from None
    except ValidationError as error:
        raise InputError(f"{path} is not a species lock of version 1 ({first_problem(error, Lock)})") from None


def write_lock(path: Path, lock: Lock) -> None:
    """Write a lock, whole or not at all.

    Raises:
        WriteError: if it cannot be written.
    """
    with whole(path) as part:
        part.write_text(lock.model_dump_json(indent=1) + "\n")

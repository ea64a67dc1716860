"""files.json: every file of a published store with its size and sha256, so that nothing else is taken for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from nextham import __version__
from nextham.console import first_problem
from nextham.data.checksums import digest_of, sha256_of
from nextham.data.layout import ABOUT, FILES, LEDGER, MANIFEST, operator_of
from nextham.data.patience import Patience
from nextham.data.remote import Location
from nextham.exceptions import InputError

INDEX_VERSION: Final = 1
SUMS: Final = "SHA256SUMS"
CARD, CITATION, LICENSE, CROISSANT = "README.md", "CITATION.cff", "LICENSE", "croissant.json"
SPLITS: Final = "splits"
SPLIT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.json")
_LIMIT: Final = 2**28  # bytes of a files.json: a million files
_NAMES: Final = (ABOUT, MANIFEST, LEDGER, CARD, CITATION, LICENSE, CROISSANT)
_IN_SHARD: Final = re.compile(r"shard-\d{5}\.zarr/([a-z][A-Za-z0-9_]*/)?(zarr\.json|c(/\d+)*)")
_SHA256: Final = r"^[0-9a-f]{64}$"


class FileEntry(BaseModel):
    """One file: only names that a store has, so none leads out of its folder."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=_SHA256)

    @field_validator("path")
    @classmethod
    def _known(cls, path: str) -> str:
        folder, _, name = path.rpartition("/")
        if path in _NAMES or _IN_SHARD.fullmatch(path) or (folder == SPLITS and SPLIT_NAME.fullmatch(name)):
            return path
        raise ValueError(f"{path!r} is not a name of a file in a store")

    @classmethod
    def of(cls, root: Path, path: str) -> Self:
        """Return the entry of a file as it is."""
        return cls(path=path, size=(root / path).stat().st_size, sha256=sha256_of(root / path))

    def holds(self, file: Path) -> bool:
        """Return whether a file is what the entry says."""
        return file.is_file() and file.stat().st_size == self.size and sha256_of(file) == self.sha256


class ShardEntry(BaseModel):
    """The files of one shard."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(pattern=r"^shard-\d{5}\.zarr$")
    structures: int = Field(ge=0)
    sha256: str = Field(pattern=_SHA256)  # as in store.json: over names and contents
    files: tuple[FileEntry, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for file in self.files:
            if not file.path.startswith(f"{self.name}/"):
                raise ValueError(f"{file.path!r} is not in {self.name}")
        if digest_of({self.key(file): file.sha256 for file in self.files}) != self.sha256:
            raise ValueError(f"the files of {self.name} do not agree with its sha256")
        return self

    @classmethod
    def of(cls, root: Path, about: Mapping[str, Any]) -> Self:
        """Return the entry of a shard in a folder, as store.json describes it."""
        name = about["name"]
        names = sorted(path.relative_to(root).as_posix() for path in (root / name).rglob("*") if path.is_file())
        files = tuple(FileEntry.of(root, path) for path in names)
        return cls(name=name, structures=len(about["ids"]), sha256=about["sha256"], files=files)

    def key(self, file: FileEntry) -> str:
        """Return a file's name in the shard's folder."""
        return file.path.removeprefix(f"{self.name}/")

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.files)

    @property
    def index_files(self) -> tuple[FileEntry, ...]:
        """All but the operators' numbers."""
        return tuple(file for file in self.files if operator_of(self.key(file)) is None)

    def bytes_of(self, operator: str) -> int:
        """Return the bytes of an operator's numbers."""
        return sum(file.size for file in self.files if operator_of(self.key(file)) == operator)


class Index(BaseModel):
    """All files of a published store but the index itself and the list of checksums."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    index_version: int = INDEX_VERSION
    code_version: str = __version__
    name: str
    files: tuple[FileEntry, ...]
    shards: tuple[ShardEntry, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        seen: set[str] = set()
        for file in self.all_files:
            if file.path in seen:
                raise ValueError(f"{file.path!r} is listed twice")
            seen.add(file.path)
        if absent := {ABOUT, MANIFEST} - {file.path for file in self.files}:
            raise ValueError(f"{min(absent)} is not listed")
        if wrong := [file.path for file in self.files if _IN_SHARD.fullmatch(file.path)]:
            raise ValueError(f"{wrong[0]!r} is listed outside its shard")
        return self

    @property
    def all_files(self) -> tuple[FileEntry, ...]:
        """Every file."""
        return (*self.files, *(file for shard in self.shards for file in shard.files))

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.all_files)

    @property
    def splits(self) -> dict[str, FileEntry]:
        """The split files by their names without ending."""
        found = (file for file in self.files if file.path.startswith(f"{SPLITS}/"))
        return {file.path.removeprefix(f"{SPLITS}/").removesuffix(".json"): file for file in found}

    def entry(self, path: str) -> FileEntry:
        """Return a file's entry."""
        return self._by_path[path]

    def __contains__(self, path: object) -> bool:
        return path in self._by_path

    @cached_property
    def _by_path(self) -> dict[str, FileEntry]:
        return {file.path: file for file in self.all_files}

    def text(self) -> str:
        """Return the content of files.json."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"

    def sums(self, own: str) -> str:
        """Return the content of SHA256SUMS; ``own`` is the sha256 of files.json."""
        lines = [f"{file.sha256}  {file.path}" for file in self.all_files]
        return "\n".join([*lines, f"{own}  {FILES}"]) + "\n"

    @classmethod
    def of(cls, root: Path, name: str, shards: Iterable[Mapping[str, Any]]) -> Self:
        """Return the index of a folder, whose shards are as store.json describes them."""
        entries = [ShardEntry.of(root, shard) for shard in shards]
        splits = sorted(f"{SPLITS}/{path.name}" for path in (root / SPLITS).glob("*.json"))
        top = [FileEntry.of(root, path) for path in (*_NAMES, *splits) if (root / path).is_file()]
        return cls(name=name, files=tuple(top), shards=tuple(entries))

    @classmethod
    def read(cls, root: Location, patience: Patience = Patience()) -> tuple[Self, bytes]:  # noqa: B008  (frozen)
        """Return the index of a published store, and its file's content.

        Raises:
            InputError: if there is none, it is damaged, or of a newer version.
        """
        where = root / FILES
        content = where.read_bytes() if isinstance(where, Path) else where.read_bytes(_LIMIT, patience)
        try:
            found = json.loads(content)
            version, code = found["index_version"], found.get("code_version", "?")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{where} is damaged ({error}); it must be published again") from None
        if version != INDEX_VERSION:
            raise InputError(
                f"{where} has version {version!r}, written by nextham {code}; this is nextham {__version__}, which "
                f"reads version {INDEX_VERSION}: upgrade nextham"
            )
        try:
            return cls.model_validate(found), content
        except ValidationError as error:
            raise InputError(f"{where} is refused: {first_problem(error, cls)}") from None

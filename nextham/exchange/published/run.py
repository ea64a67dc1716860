"""Published files as a campaign sees them: read in bounded memory, told apart by their checksums."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from nextham.core import Structure
from nextham.dft.engine import RunResult
from nextham.exceptions import InputError
from nextham.exchange.bounded import bounded
from nextham.exchange.published.layout import open_published
from nextham.exchange.published.reader import Reading, published_id, read_published


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a file holds."""

    formula: str
    edges: int
    megabytes: float


@dataclasses.dataclass(frozen=True)
class PublishedRun:
    """One file, to be read later or elsewhere."""

    id: str
    path: Path
    reading: Reading = dataclasses.field(default_factory=Reading)
    memory_gb: float = 8.0  # beside the file itself, which is mapped

    def read(self) -> RunResult:
        """Read it.

        Raises:
            RunError: like read_published, and if it needs too much memory.
        """
        mapped_gb = self.path.stat().st_size / 1e9 if self.path.is_file() else 0.0
        with bounded(self.memory_gb, self.id, self.path, mapped_gb=mapped_gb):
            return read_published(self.path, id=self.id, reading=self.reading)

    def contents(self) -> Contents:
        """Open it and return what it holds, without reading its matrices.

        Raises:
            RunError: if it cannot be opened.
        """
        file = open_published(self.path)
        formula = Structure(file.numbers, file.positions, file.cell).formula
        return Contents(formula, len(file.ij), round(self.path.stat().st_size / 1e6, 3))

    def fingerprint(self) -> str:
        """Return a hash of the file's checksums and of how it is read; empty if it is no archive."""
        digest = hashlib.sha256(f"{version('nextham')} {self.path.name} {self.reading}".encode())
        fermi, waves = self.path.with_name(f"efermi_{self.path.name}"), self.path.with_name("wfc.pth")
        try:
            for path in (self.path, *(p for p in (fermi, waves) if p.is_file())):
                with zipfile.ZipFile(path) as archive:
                    members = [(m.filename, m.CRC, m.file_size) for m in archive.infolist()]
                digest.update(repr(members).encode())
        except (OSError, zipfile.BadZipFile):
            return ""
        return digest.hexdigest()


def published_runs(paths: Iterable[Path], *, id: str = "", reading: Reading, memory_gb: float) -> list[PublishedRun]:
    """Return the files that paths name; a folder stands for every ``.pth`` in it that holds matrices.

    Raises:
        InputError: if a path does not exist, a folder holds none, or one id is given for several files.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"there is no {path}")
        here = sorted(p for p in path.glob("*.pth") if not p.name.startswith(("efermi_", "wfc")))
        if path.is_dir() and not here:
            raise InputError(f"{path} holds no .pth file")
        files += here if path.is_dir() else [path]
    if id and len(files) > 1:
        raise InputError(f"--id names one structure, but {len(files)} files are given; leave it out")
    return [PublishedRun(id or published_id(path), path, reading, memory_gb) for path in files]

"""DeepH's folders as a campaign sees them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from nextham.dft.engine import RunResult
from nextham.exceptions import InputError
from nextham.exchange.bounded import bounded
from nextham.exchange.deeph.layout import kind_of
from nextham.exchange.deeph.reader import read_deeph


@dataclasses.dataclass(frozen=True)
class DeephRun:
    """One folder, to be read later or elsewhere."""

    id: str
    path: Path
    rydberg_ev: float | None = None
    memory_gb: float = 8.0

    def read(self) -> RunResult:
        """Read it.

        Raises:
            RunError: like read_deeph, and if it needs too much memory.
        """
        with bounded(self.memory_gb, self.id, self.path):
            return read_deeph(self.path, id=self.id, rydberg_ev=self.rydberg_ev)

    def fingerprint(self) -> str:
        """Return a hash of its small files, of size and time of its matrices, and of how it is read."""
        digest = hashlib.sha256(f"{version('nextham')} {self.rydberg_ev}".encode())
        for path in sorted(p for p in self.path.iterdir() if p.is_file()):
            about = path.stat()
            digest.update(f"{path.name} {about.st_size} ".encode())
            digest.update(str(about.st_mtime_ns).encode() if path.suffix == ".h5" else path.read_bytes())
        return digest.hexdigest()


def deeph_runs(
    paths: Iterable[Path], *, id: str = "", rydberg_ev: float | None = None, memory_gb: float = 8.0
) -> list[DeephRun]:
    """Return the folders that paths name; one that is no folder of DeepH itself stands for those in it.

    Raises:
        InputError: if a path does not exist, holds no such folder, or one id is given for several.
    """
    import h5py  # noqa: F401  (here, not in each process: what is missing is then told once)

    folders: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise InputError(f"there is no folder {path}")
        here = [path] if kind_of(path) else sorted(p for p in path.iterdir() if p.is_dir() and kind_of(p))
        if not here:
            raise InputError(f"{path} is no folder of DeepH and holds none; it needs lat.dat or POSCAR, and info.json")
        folders += here
    if id and len(folders) > 1:
        raise InputError(f"--id names one structure, but {len(folders)} folders are given; leave it out")
    return [DeephRun(id or folder.resolve().name, folder, rydberg_ev, memory_gb) for folder in folders]

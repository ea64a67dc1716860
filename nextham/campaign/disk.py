"""Room on the disk: what a campaign takes, the limit beyond which no run is started, and what becomes of runs."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tarfile
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Final

from nextham.campaign.folder import CampaignFolder, read_json
from nextham.campaign.settings import Runs
from nextham.dft.engine import Cause, RunError
from nextham.exceptions import InputError
from nextham.files import whole

_GB: Final = 1e9
_LEAST_FREE_BYTES: Final = 64_000_000  # of the disk itself; less, and the next run fails on its way
_AGE_S: Final = 60  # walking through the folder of a large campaign takes seconds
_SMALL_BYTES: Final = 1_000_000  # inputs and logs
_ARCHIVE: Final = ".tar.xz"
_PRESET: Final = 1  # of xz: a quarter larger than the best, at a tenth of the time


@dataclasses.dataclass(frozen=True)
class DiskLimit:
    """Says before each run whether there is room for it."""

    folder: CampaignFolder
    limit_gb: float | None

    def check(self, id: str) -> None:
        """Refuse to start a run where there is no room.

        Raises:
            RunError: with what is used and the ways out; the structure is no further than before.
        """
        free = shutil.disk_usage(self.folder.results).free
        if free < _LEAST_FREE_BYTES:
            raise RunError(
                Cause.DISK_FULL, f"{id} is not started: the disk of {self.folder.results} is full; make room there"
            )
        if self.limit_gb is None:
            return
        used = _recent(self.folder, int(time.monotonic() // _AGE_S)) / _GB
        if used > self.limit_gb:
            raise RunError(
                Cause.DISK_LIMIT,
                f"{id} is not started: {self.folder.results} holds {used:.1f} GB and campaign.disk_gb is "
                f"{self.limit_gb:g}; make room there (campaign.runs: delete keeps no runs) or raise it",
            )


@lru_cache(maxsize=4)
def _recent(folder: CampaignFolder, _minute: int) -> int:
    return sum(used_bytes(folder).values())


def used_bytes(folder: CampaignFolder) -> dict[str, int]:
    """Return the bytes below a results folder by what they hold; of chunks that are done their receipts tell."""
    done: set[str] = set()
    stores = runs = 0
    for receipt in (folder.results / "chunks").glob("*.json"):
        try:
            taken = read_json(receipt, mend="")["bytes"]
            stores, runs = stores + int(taken["store"]), runs + int(taken["runs"])
        except (InputError, KeyError, TypeError, ValueError):
            continue  # it is walked through
        done.add(receipt.stem)
    stores += sum(tree_bytes(path) for path in _folders(folder.results / "chunks") if path.name not in done)
    runs += sum(tree_bytes(path) for path in _folders(folder.runs("")) if path.name not in done)
    own = tree_bytes(folder.results, leave_out=(folder.results / "chunks", folder.runs("")))
    return {"chunks": stores, "runs": runs, "other": own}


def _folders(path: Path) -> list[Path]:
    return [inner for inner in path.iterdir() if inner.is_dir()] if path.is_dir() else []


def tree_bytes(path: Path, *, leave_out: Collection[Path] = ()) -> int:
    """Return the bytes of all files below a path, links not followed; what vanishes meanwhile does not count."""
    total = 0
    for folder, inner, files in os.walk(path):
        here = Path(folder)
        inner[:] = [name for name in inner if here / name not in leave_out]
        for name in files:
            try:
                total += (here / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def tidy(runs: Path, done: Collection[str], failed: Collection[str], what: Runs, *, workers: int) -> None:
    """See to the run folders of a chunk whose store is written.

    Of a failed structure inputs and logs stay in any case: files of more than a megabyte go, unless runs are kept.

    Args:
        runs: holds a folder for each structure.
        done: structures in the store.
        failed: structures in quarantine.
        what: becomes of the folders.
        workers: archives made at a time.

    Raises:
        WriteError: if an archive cannot be written.
    """
    if what is Runs.KEEP:
        return
    finished = [runs / id for id in done if (runs / id).is_dir()]
    left = [runs / id for id in failed if (runs / id).is_dir()]
    if what is Runs.ARCHIVE:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(_archive, [*finished, *left]))
    else:
        for folder in finished:
            shutil.rmtree(folder, ignore_errors=True)
        for folder in left:
            _drop_large(folder)
    if runs.is_dir() and not any(runs.iterdir()):
        runs.rmdir()


def _archive(folder: Path) -> None:
    """Put a run folder into one file that nextham import-abacus reads; links become the files that they point to."""
    target = folder.with_name(folder.name + _ARCHIVE)
    with whole(target) as part, tarfile.open(part, "w:xz", preset=_PRESET, dereference=True) as archive:
        archive.add(folder, arcname=folder.name)
    shutil.rmtree(folder)


def _drop_large(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size > _SMALL_BYTES:
            path.unlink()

"""Download a published store or a part of it: parallel, resumable, verified; again, and it mends what is damaged."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nextham.console import size_text, transfer
from nextham.data.checksums import sha256_of
from nextham.data.crew import Crew
from nextham.data.fetching import Fetching, Report
from nextham.data.layout import ABOUT, FILES, ORIGIN
from nextham.data.remote import Location, located
from nextham.data.selection import Plan, Selection, Source, planned
from nextham.data.transfer import Traffic
from nextham.data.workplace import Workplace, workplace
from nextham.exceptions import InputError, WriteError

_ROOM: Final = 50e6  # bytes of the disk that are left alone


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to download, and how."""

    source: str | Location
    out: Path
    selection: Selection = field(default_factory=Selection)
    sha256: str = ""  # of files.json, if it is known from elsewhere
    jobs: int = 8
    overwrite: bool = False


def plan(request: Request, traffic: Traffic) -> Plan:
    """Return what would be fetched, and write nothing."""
    with _planned(request, traffic) as found:
        return found


def download(request: Request, traffic: Traffic) -> Report:
    """Fetch a store or a part of one; it appears under its name when all of it is there.

    What an interrupted download left is used, and so is what a store of the same selection holds: only what is
    missing or damaged there is fetched.

    Raises:
        InputError: if the source or the selection cannot be used, or a file cannot be had: its name is told.
        WriteError: if the disk is full or forbids writing.
    """
    if request.out.name in ("", ".."):
        raise InputError(f"{request.out} is no name for a store; choose a folder that is not there yet")
    begin = time.monotonic()
    with _planned(request, traffic) as found, workplace(request.out) as work:
        same = _checked_target(request, found)
        _check_room(found, work, same=same)
        report = Report(
            source=str(found.source.root), out=str(work.out), structures=len(found.ids), bytes_on_disk=found.size
        )
        with transfer(f"downloading {work.out}", found.traffic) as traffic.moved:
            Fetching(found, work, same, traffic, report, Crew(request.jobs, traffic)).run()
    report.bytes_received, report.retries = traffic.received, traffic.retries
    report.seconds = round(time.monotonic() - begin, 3)
    return report


@contextmanager
def _planned(request: Request, traffic: Traffic) -> Iterator[Plan]:
    root = located(request.source)
    if isinstance(root, Path) and not (root / FILES).is_file():
        what = "was not published: it has no files.json" if root.exists() else "does not exist"
        raise InputError(f"{root} {what}; give the folder or address that nextham publish made")
    with tempfile.TemporaryDirectory(prefix="nextham-") as folder:
        source = Source.open(root, Path(folder), traffic)
        if request.sha256 and source.sha256 != request.sha256.lower():
            raise InputError(
                f"{root}: the sha256 of files.json is {source.sha256}, not {request.sha256}; "
                "it is another version of the dataset, or not the publisher's"
            )
        yield planned(source, request.selection, traffic)


def _checked_target(request: Request, found: Plan) -> bool:
    """Return whether a store of the same selection is there; refuse whatever else is, unless it may be replaced."""
    out = request.out
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not (out / ABOUT).is_file() and not (out / ORIGIN).is_file():
        raise InputError(f"{out} exists already and is not a store; choose another name")
    if found.whole and (out / FILES).is_file() and sha256_of(out / FILES) == found.source.sha256:
        return True
    try:
        origin = json.loads((out / ORIGIN).read_text())
    except (OSError, ValueError):
        origin = {}
    if isinstance(origin, dict) and origin.get("identity") == found.identity:
        return True
    if not request.overwrite:
        raise InputError(
            f"{out} holds something else than this selection of {found.source.root}; choose another name or pass "
            "--overwrite"
        )
    return False


def _check_room(found: Plan, work: Workplace, *, same: bool) -> None:
    try:
        free = shutil.disk_usage(work.folder).free
        here = sum(path.stat().st_size for path in work.folder.rglob("*") if path.is_file())
    except OSError as error:
        raise WriteError.of(work.out, error) from error
    needed = 0 if same else found.size - here
    if needed > free - _ROOM:
        raise InputError(
            f"{work.out} takes {size_text(needed)}, but its disk has {size_text(free)} left; make room, choose "
            "another place, or a part with --max-gb"
        )

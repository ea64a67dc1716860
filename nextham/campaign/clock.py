"""Files from the future: what a clock that was ahead, or a machine whose clock is, leaves behind.

Snakemake runs a job again whose input is newer than its output, and gives a job up whose output, made just now, is
older than its input: so one file from the future stops a workflow. What lies in the future is given the present.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nextham.files import partial

_SLACK_S: Final = 2.0
_PRUNED: Final = (".zarr", "runs")  # Snakemake looks at no single file of these


def settle(results: Path) -> list[Path]:
    """Give files of a results folder that lie in the future the present time; return them, oldest first.

    Their order stays: what was newer stays newer, if only by a millisecond. The present is that of the disk.
    """
    now = _time_of_disk(results)
    ahead = sorted((path.stat().st_mtime, path) for path in _watched(results))
    found = [path for mtime, path in ahead if mtime > now + _SLACK_S]
    for k, path in enumerate(found):
        time = now - 0.001 * (len(found) - k)
        os.utime(path, (time, time))
    return found


def _time_of_disk(folder: Path) -> float:
    with partial(folder / "clock") as part:
        part.touch()
        return part.stat().st_mtime


def _watched(results: Path) -> Iterator[Path]:
    for folder, inner, files in os.walk(results):
        inner[:] = [name for name in inner if not name.endswith(_PRUNED)]
        yield from (Path(folder) / name for name in (*inner, *files) if (Path(folder) / name).exists())

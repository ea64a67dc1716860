"""Tables that follow from the species files alone: kept in the process, and on disk by the hash of their sources.

The folder is $NEXTHAM_CACHE, else ~/.cache/nextham (or $XDG_CACHE_HOME/nextham). Files hold plain arrays, appear whole
or not at all, and may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_VERSION: Final = 1  # raise it when a table changes meaning
_KEPT_BYTES: Final = 512 * 2**20
_kept: OrderedDict[str, Array] = OrderedDict()


def cache_folder() -> Path:
    """Return where tables are kept on disk."""
    if chosen := os.environ.get("NEXTHAM_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nextham"


def cached(kind: str, key: str, make: Callable[[], Array]) -> Array:
    """Return a table made once: from this process, from disk, or now.

    Args:
        kind: what the table is; the name of its folder.
        key: everything that it depends on, in words.
        make: computes it.
    """
    digest = hashlib.sha256(f"{_VERSION} {kind} {key}".encode()).hexdigest()
    if digest in _kept:
        _kept.move_to_end(digest)
        return _kept[digest]
    path = cache_folder() / "lcao" / kind / f"{digest[:32]}.npy"
    table = _read(path)
    if table is None:
        table = make()
        _write(path, table)
    table.flags.writeable = False
    _kept[digest] = table
    while sum(t.nbytes for t in _kept.values()) > _KEPT_BYTES and len(_kept) > 1:
        _kept.popitem(last=False)
    return table


def forget() -> None:
    """Drop the tables that this process keeps (disk files stay)."""
    _kept.clear()


def _read(path: Path) -> Array | None:
    """Return the array of a file; None if there is none, or if it is damaged."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        table = np.load(path, allow_pickle=False)
        if isinstance(table, np.ndarray) and table.dtype == np.float64:
            return table
    return None


def _write(path: Path, table: Array) -> None:
    """Write under another name, then rename; a disk that cannot be written to is no reason to stop."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            np.save(file, table, allow_pickle=False)
        temporary.replace(path)
    except OSError:
        if temporary is not None:
            temporary.unlink(missing_ok=True)

"""Reading files that come from anywhere in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nextham.dft.engine import Cause, RunError
from nextham.workers import limited_memory


@contextmanager
def bounded(memory_gb: float, id: str, path: Path, *, mapped_gb: float = 0.0) -> Iterator[None]:
    """Let what is read inside take so much memory, beside what is mapped from disk.

    Raises:
        RunError: if it needs more.
    """
    try:
        with limited_memory(mapped_gb + memory_gb):
            yield
    except MemoryError:
        text = f"{id}: reading {path} takes more than {memory_gb:g} GB; allow more with --memory-gb"
        raise RunError(Cause.OUT_OF_MEMORY, text) from None

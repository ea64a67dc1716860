"""Measurements on disk: one line a structure as it is measured, so that a score that was stopped goes on."""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter, ValidationError

from nextham.exceptions import WriteError
from nextham_bench.measure import Measured


class Kept:
    """An append-only file of measurements, each under a key that says of what and how it was made.

    Numbers come back bit by bit. What is in memory is where each line starts. A line that was cut off, or that this
    version cannot read, is as if it were not there.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Open or begin a file.

        Args:
            path: the file; without one, a temporary file that is gone at the end.

        Raises:
            WriteError: if it cannot be written.
        """
        self.path = path
        try:
            if path is None:
                self._file = tempfile.TemporaryFile("w+b")  # noqa: SIM115  # closed by __exit__
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("a+b")
        except OSError as error:
            raise WriteError.of(path or Path(tempfile.gettempdir()), error) from error
        self._start: dict[str, int] = {}
        self._index()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._start

    def add(self, key: str, measured: Measured) -> None:
        """Append a measurement.

        Raises:
            WriteError: if the file cannot be written.
        """
        line = json.dumps({"key": key}).encode()[:-1] + b', "measured": ' + _adapter().dump_json(measured) + b"}\n"
        try:
            self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._file.flush()
            start = self._file.tell() - len(line)  # where it went, whatever another process has appended meanwhile
        except OSError as error:
            raise WriteError.of(self.path or Path(tempfile.gettempdir()), error) from error
        self._start[key] = start

    def get(self, key: str) -> Measured:
        """Return the measurement of a key that is there."""
        self._file.seek(self._start[key])
        return _adapter().validate_python(json.loads(self._file.readline())["measured"])

    def remove(self) -> None:
        """Remove the file: its measurements are in a score."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _index(self) -> None:
        self._file.seek(0)
        start = 0
        for line in self._file:
            if (key := _key_of(line)) is not None:
                self._start[key] = start
            start += len(line)
        if start and not line.endswith(b"\n"):
            self._file.write(b"\n")  # what follows begins a line of its own


def _key_of(line: bytes) -> str | None:
    """Return the key of a whole line."""
    try:
        found = json.loads(line)
        _adapter().validate_python(found["measured"])
        return str(found["key"])
    except (ValueError, KeyError, TypeError, ValidationError):
        return None


@cache
def _adapter() -> TypeAdapter[Measured]:
    return TypeAdapter(Measured)

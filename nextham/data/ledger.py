"""Ledger: what happened to each structure of a campaign, one JSON line an event."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nextham.exceptions import InputError, WriteError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One event: a stage of one structure that went well or did not."""

    id: str
    stage: str  # "h0", "scf", "import", "check", "write"
    ok: bool
    cause: str = ""  # a Cause of the engine, or the name of a check
    message: str = ""
    log_tail: str = ""
    attempts: tuple[Mapping[str, Any], ...] = ()  # settings tried, in order
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    time: str = ""  # UTC, ISO 8601


class Ledger:
    """An append-only file of events; several processes may write to it.

    >>> import tempfile
    >>> ledger = Ledger(Path(tempfile.mkdtemp()) / "ledger.jsonl")
    >>> ledger.success("GaAs-1", "scf", scf_steps=12)
    >>> ledger.failure("Fe-1", "scf", "unconverged", "Fe-1 did not converge in 100 steps")
    >>> ledger.summary()
    {'ok': 1, 'unconverged': 1}
    """

    def __init__(self, path: str | Path, *, text: str | None = None) -> None:
        """Args: path: the file; text: what it holds, where nothing is read from the file or written to it."""
        self.path = Path(path)
        self._text = text

    def success(self, id: str, stage: str, **facts: Any) -> None:
        """Note that a stage went well, with what was measured."""
        self.add(Entry(id=id, stage=stage, ok=True, facts=facts))

    def failure(
        self,
        id: str,
        stage: str,
        cause: str,
        message: str,
        *,
        log_tail: str = "",
        attempts: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Note that a stage failed, why, and what was tried."""
        self.add(
            Entry(
                id=id,
                stage=stage,
                ok=False,
                cause=str(cause),
                message=message,
                log_tail=log_tail,
                attempts=tuple(attempts),
            )
        )

    def entries(self) -> list[Entry]:
        """Return all events in the order they were written; none if nothing was.

        Raises:
            InputError: if a line is not an event. Lines that were cut off are left out.
        """
        if self._text is None and not self.path.is_file():
            return []
        found = []
        lines = (self.path.read_text() if self._text is None else self._text).split("\n")
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
                found.append(Entry(**{**fields, "attempts": tuple(fields.get("attempts", ()))}))
            except (ValueError, TypeError):
                if line.endswith("}"):  # else a line that was cut off by the end of its process
                    raise InputError(f"{self.path}, line {number} is not an event of a ledger; remove it") from None
        return found

    def last(self) -> dict[str, Entry]:
        """Return the latest event of each structure."""
        return {entry.id: entry for entry in self.entries()}

    def summary(self) -> dict[str, int]:
        """Return how many structures ended well ("ok") and how many by each cause, most frequent first."""
        count = Counter("ok" if entry.ok else entry.cause for entry in self.last().values())
        return dict(count.most_common())

    def add(self, entry: Entry) -> Entry:
        """Append an event and return it as it stands there; one without a time happened now.

        Raises:
            WriteError: if the file cannot be written.
        """
        assert self._text is None, "a ledger elsewhere is only read"
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        stamped = dataclasses.replace(entry, time=entry.time or now)
        line = json.dumps({k: v for k, v in vars(stamped).items() if v not in ("", (), {})}, default=str) + "\n"
        try:
            self._append(line)
        except OSError as error:
            raise WriteError.of(self.path, error) from error
        return stamped

    def _append(self, line: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(handle).st_size
            cut_off = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            os.write(handle, ("\n" * cut_off + line).encode())  # one write: lines of two processes do not mix
        finally:
            os.close(handle)

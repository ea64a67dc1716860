"""Outcomes kept on disk until the store is written, so that an interrupted campaign goes on where it was."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nextham.campaign.outcome import Outcome, Rules
from nextham.data.ledger import Entry
from nextham.data.record_file import load_record, save_record
from nextham.exceptions import WriteError
from nextham.files import clear_leftovers

_NAME: Final = "finished.npz"


@dataclasses.dataclass(frozen=True)
class Saved:
    """Where the outcome of one structure is kept, and what it must follow from to be of use again."""

    folder: Path
    id: str
    rules: Rules
    fingerprint: Callable[[], str]  # of the crystal and what computes it; empty: nothing is kept

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / _NAME

    def key(self) -> str:
        """Return a hash of all that the outcome follows from; empty: nothing is kept."""
        fingerprint = self.fingerprint()
        if not fingerprint:
            return ""
        checks, store = self.rules.settings.checks, self.rules.settings.store
        settings = [checks.model_dump(mode="json"), store.fraction_bits, store.spin_tolerance_ry]
        asked = json.dumps([self.id, self.rules.stage, sorted(self.rules.required), settings])
        return hashlib.sha256(f"{fingerprint} {asked}".encode()).hexdigest()

    def write(self, outcome: Outcome, key: str) -> Outcome:
        """Keep an outcome that would come out again; return it, with a note where the disk refuses."""
        if not key or not outcome.lasting:
            return outcome
        entry = outcome.entry
        note = {"key": key, "entry": {**vars(entry), "facts": dict(entry.facts)}}
        try:
            save_record(self.path, outcome.record, note)
        except WriteError as error:
            return outcome.noted(not_saved=str(error))
        return outcome

    def read(self) -> Outcome | str:
        """Return the outcome that is kept, or why it is of no use."""
        try:
            record, note = load_record(self.path)
            entry = Entry(**{**note["entry"], "attempts": tuple(note["entry"]["attempts"])})
            if note["key"] == self.key():
                return Outcome(entry, record).noted(read_back=True)
        except Exception as error:  # whatever it is, computing it again mends it or tells more
            return f"the saved result cannot be used: {error}"
        return "the saved result is of another crystal, other settings, species files or version"

    def remove(self) -> None:
        """Remove what is kept, what killed processes left of it, and the folder if there is nothing else."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
            clear_leftovers(self.path)
            self.folder.rmdir()

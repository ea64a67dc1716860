"""The errors that reach a user: one sentence that says what, where and how to mend it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final, Self


class NexthamError(Exception):
    """Bad input or a failed run, told in one clear sentence.

    The command lines print the sentence and exit with status 1; a campaign writes it to the ledger
    and goes on.
    """


class InputError(NexthamError, ValueError):
    """What the user handed over (a file, a setting, an argument) cannot be used."""


class CheckError(NexthamError):
    """A record fails one of the dataset's checks.

    Args:
        check: short name of the check, e.g. ``"hermitian"``; the ledger counts by it.
        message: the sentence for people.
    """

    def __init__(self, check: str, message: str) -> None:
        super().__init__(message)
        self.check = check


class WriteError(NexthamError):
    """The output itself cannot be written: no structure is to blame, and going on is of no use."""

    @classmethod
    def of(cls, path: Path, error: Exception) -> Self:
        """Return the sentence for what went wrong with a path."""
        reason = reason_of(error) if isinstance(error, OSError) else f"unexpected {type(error).__name__}: {error}"
        return cls(f"{path} cannot be written: {reason}")


def reason_of(error: OSError) -> str:
    """Return in words what the operating system refused, and the way out."""
    return _REASONS.get(error.errno or 0) or f"{error.strerror or error}; check the path"


_FULL: Final = "the disk is full; make room and start the command again"
_FORBIDDEN: Final = "permission denied; choose another place or change the permissions"
_REASONS: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another place",
    errno.EEXIST: "a file is where a folder is needed; choose another place",
    errno.EISDIR: "a folder is where a file is needed; choose another name",
}

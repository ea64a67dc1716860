"""The errors that reach a user: one sentence that says what, where and how to mend it."""

from __future__ import annotations


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

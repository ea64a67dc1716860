"""Calling a command as its user would."""

from __future__ import annotations

import typer
from typer.testing import CliRunner


def call(app: typer.Typer, *words: object, fails: type[BaseException] | None = None) -> str:
    """Return what a command prints, or the sentence of the error that it must fail with."""
    result = CliRunner().invoke(app, [str(w) for w in words])
    if fails:
        assert isinstance(result.exception, fails), result.output
        return str(result.exception)
    assert result.exit_code == 0, result.exception
    return result.stdout

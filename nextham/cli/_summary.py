"""What a campaign prints when it is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from nextham.campaign import Summary


def run_and_tell(campaign: Callable[[], Summary], as_json: bool) -> None:
    """Run a campaign and print what became of it; a script gets each reason too where nothing was stored.

    Raises:
        NothingStoredError: if no structure gave a record.
    """
    from nextham.campaign import NothingStoredError

    try:
        summary = campaign()
    except NothingStoredError as error:
        if as_json:
            _print(error.summary, as_json)
        raise
    _print(summary, as_json)


def _print(summary: Summary, as_json: bool) -> None:
    if as_json:
        failed = [{"id": e.id, "stage": e.stage, "cause": e.cause, "message": e.message} for e in summary.failed]
        found = {"store": str(summary.store), "stored": summary.stored, "read_back": summary.read_back}
        found |= {"skipped": summary.skipped, "failed": failed}
        typer.echo(json.dumps(found, indent=1))
        return
    for entry in summary.failed:
        typer.echo(f"failed: {entry.message}")
    typer.echo(str(summary))

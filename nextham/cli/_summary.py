"""What a campaign prints when it is done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from nextham.campaign import Summary


def print_summary(summary: Summary, as_json: bool) -> None:
    """Print the counts and each failure's sentence."""
    if as_json:
        failed = [{"id": e.id, "stage": e.stage, "cause": e.cause, "message": e.message} for e in summary.failed]
        found = {"store": str(summary.store), "stored": summary.stored, "read_back": summary.read_back}
        found |= {"skipped": summary.skipped, "failed": failed}
        typer.echo(json.dumps(found, indent=1))
        return
    for entry in summary.failed:
        typer.echo(f"failed: {entry.message}")
    typer.echo(str(summary))

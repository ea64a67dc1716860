"""The ``nextham`` command line: parse, call one typed function, write."""

from __future__ import annotations

from typing import Annotated

import typer

from nextham import __version__
from nextham.cli import (
    abacus,
    campaign,
    configuration,
    data,
    distribute,
    engine,
    exchange,
    explain,
    fit,
    infer,
    species,
    split,
    structures,
)
from nextham.console import run

app = typer.Typer(
    name="nextham",
    help="DFT Hamiltonians with spin-orbit coupling: from DFT runs to checked datasets, models and predictions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for module in (
    structures,
    abacus,
    exchange,
    engine,
    campaign,
    data,
    split,
    distribute,
    fit,
    infer,
    explain,
    species,
    configuration,
):
    module.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nextham {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the console script."""
    run(app, "nextham")

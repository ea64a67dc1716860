"""The command line ``nextham-bench``: parse, call one typed function, write."""

from __future__ import annotations

import typer

from nextham import console
from nextham_bench.cli import board, dataset, running, scoring, submission

app = typer.Typer(
    name="nextham-bench",
    help="Score predicted Hamiltonians against a reference dataset and render the result.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for module in (scoring, running, submission, board, dataset):
    module.register(app)


def main() -> None:
    """Run the command line."""
    console.run(app, "nextham-bench")

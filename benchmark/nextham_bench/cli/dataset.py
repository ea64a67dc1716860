"""The command ``dataset``: the page of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dataset")(dataset)


def dataset(
    store: Annotated[Path, typer.Argument(help="A dataset store.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The HTML page; a .json and a .csv are written beside it.")
    ] = Path("dataset-report/index.html"),
    title: Annotated[str, typer.Option(help="Name of the dataset on the page; by default that of its folder.")] = "",
    sample: Annotated[
        int | None,
        typer.Option(min=0, help="Structures whose matrices are read for H - H0 by element; 0: none; by default all."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes that read them.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON, and write nothing.")] = False,
) -> None:
    """Write what a dataset holds as one page: elements, sizes, crystals, gaps, failures, H0's cost and worth.

    Stores of other programs' data have what their files told: without a number of electrons there is no gap.
    """
    from nextham.data.store import Store
    from nextham_bench.dataset_facts import dataset_facts
    from nextham_bench.report.dataset_page import write_dataset_page

    facts = dataset_facts(Store(store), name=title, sample=sample, jobs=jobs)
    if as_json:
        typer.echo(facts.model_dump_json(indent=1))
        return
    write_dataset_page(facts, output)
    typer.echo(f"written to {output}")

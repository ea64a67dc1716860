"""The command ``run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nextham_bench.cli.scoring import ProtocolName


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(  # noqa: PLR0913, PLR0917  # a command line's options are its arguments
    dataset: Annotated[Path, typer.Option(help="Dataset store with overlap, h0 and hamiltonian.")],
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint of nextham train, such as run/best.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of prediction, scores.json and report/.")],
    split: Annotated[Path | None, typer.Option(help="Split file; without it every structure is predicted.")] = None,
    subset: Annotated[str, typer.Option(help="Which part of the split.")] = "test",
    protocol: Annotated[
        ProtocolName, typer.Option(help="Which matrix elements the headline counts.")
    ] = ProtocolName.FULL,
    bands: Annotated[bool, typer.Option("--bands/--no-bands", help="Also compare energy levels.")] = True,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes that score.")] = 1,
    name: Annotated[str, typer.Option(help="Name of the model in tables; the checkpoint's folder otherwise.")] = "",
    device: Annotated[str, typer.Option(help="Where the network is evaluated: auto, cpu or cuda.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be run, and run nothing.")] = False,
) -> None:
    """Predict with a checkpoint, score and render: the same command again goes on where it was interrupted."""
    import shlex

    from rich.console import Console

    from nextham_bench.run import Plan, commands
    from nextham_bench.run import run as whole_run
    from nextham_bench.terminal import sentences, table

    plan = Plan(
        dataset=dataset,
        checkpoint=checkpoint,
        output=output,
        split=split,
        subset=subset,
        protocol=protocol.value,
        bands=bands,
        jobs=jobs,
        name=name,
        device=device,
    )
    if dry_run:
        from nextham.data.store import Store
        from nextham_bench.submission.folder import chosen_ids

        ids, _ = chosen_ids(Store(dataset), split, subset)
        for command in commands(plan, len(ids)):
            typer.echo(shlex.join(command))
        typer.echo(f"{len(ids)} structures would be predicted, scored and rendered to {output}")
        return
    scores = whole_run(plan)
    terminal = Console()
    terminal.print(table(scores))
    for sentence in sentences(scores):
        terminal.print(sentence, highlight=False)
    terminal.print(f"written to {output}/report/index.html", highlight=False)

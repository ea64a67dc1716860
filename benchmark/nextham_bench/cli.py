"""The command line ``nextham-bench``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nextham import console

app = typer.Typer(
    name="nextham-bench",
    help="Score predicted Hamiltonians against a reference dataset and render the result.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


class ProtocolName(StrEnum):
    """Which matrix elements the headline counts."""

    FULL = "full"
    PAPER = "paper"


class BaselineName(StrEnum):
    """Predictions that need no model."""

    ZERO = "zero"
    H0 = "h0"


@app.command()
def score(  # noqa: PLR0913, PLR0917  # a command line's options are its arguments
    reference: Annotated[
        str,
        typer.Option(help="Dataset store with overlap, h0 and hamiltonian: a folder, or an address (https, s3, hf)."),
    ],
    prediction: Annotated[
        Path | None, typer.Option(help="Prediction store: Hamiltonians, or corrections to H0.")
    ] = None,
    baseline: Annotated[BaselineName | None, typer.Option(help="Score a baseline instead of a prediction.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the scores are written.")] = Path("scores.json"),
    protocol: Annotated[
        ProtocolName,
        typer.Option(help="Headline: **full** counts all stored pairs; **paper** pairs nearer than 8 Å in H and H0."),
    ] = ProtocolName.FULL,
    split: Annotated[Path | None, typer.Option(help="Split file; without it every structure is scored.")] = None,
    subset: Annotated[str, typer.Option(help="Which part of the split.")] = "test",
    bands: Annotated[bool, typer.Option("--bands/--no-bands", help="Also compare energy levels.")] = True,
    allow_partial: Annotated[
        bool,
        typer.Option("--allow-partial", help="Score what there is when structures are missing or extra; not ranked."),
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    name: Annotated[str, typer.Option(help="Name of the model in tables; the store's name otherwise.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON instead of the table.")] = False,
) -> None:
    """Score a prediction store, or a baseline, against a reference store."""
    from rich.console import Console

    from nextham.data.remote import located
    from nextham_bench.schema import write_scores
    from nextham_bench.score import Request
    from nextham_bench.score import score as scored
    from nextham_bench.terminal import sentences, table

    request = Request(
        reference=located(reference),
        prediction=prediction,
        baseline=None if baseline is None else baseline.value,
        protocol=protocol.value,
        split=split,
        subset=subset,
        bands=bands,
        allow_partial=allow_partial,
        jobs=jobs,
        name=name,
    )
    scores = scored(request)
    write_scores(scores, output)
    if json:
        typer.echo(scores.model_dump_json(indent=1))
        return
    terminal = Console()
    terminal.print(table(scores))
    for sentence in sentences(scores):
        terminal.print(sentence, highlight=False)
    terminal.print(f"written to {output}", highlight=False)


@app.command()
def report(
    scores: Annotated[list[Path], typer.Argument(help="scores.json files; the first of a model is shown in full.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The HTML page; table.md is written beside it.")
    ] = Path("report/index.html"),
    reference: Annotated[
        str | None, typer.Option(help="Reference store, for band overlays and the parity plot.")
    ] = None,
    prediction: Annotated[Path | None, typer.Option(help="Prediction store of the first model's scores.")] = None,
) -> None:
    """Render scores as one HTML page that opens offline, and as a Markdown table."""
    from nextham_bench.report.page import write_report
    from nextham_bench.schema import read_scores

    write_report([read_scores(path) for path in scores], output, reference=reference, prediction=prediction)
    typer.echo(f"written to {output}")


@app.command()
def compare(
    scores: Annotated[list[Path], typer.Argument(help="scores.json files of the same structures; the first leads.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The HTML page; table.md and table.json are written beside it.")
    ] = Path("comparison/index.html"),
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Comparison",
    along: Annotated[
        str | None, typer.Option(help="What the names of the scores count, such as training structures: draws a curve.")
    ] = None,
) -> None:
    """Put scores of the same structures side by side, with intervals."""
    from nextham_bench.report.side_by_side import write_comparison
    from nextham_bench.schema import read_scores

    write_comparison([read_scores(path) for path in scores], output, title=title, along=along)
    typer.echo(f"written to {output}")


@app.command()
def schema() -> None:
    """Print the JSON schema of scores.json."""
    import json

    from nextham_bench.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


def main() -> None:
    """Run the command line."""
    console.run(app, "nextham-bench")

"""The commands that make scores and pages of scores."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (score, report, compare, elements, schema):
        app.command()(command)


class SchemaName(StrEnum):
    """Files that have a schema."""

    SCORES = "scores"
    CARD = "card"


class ProtocolName(StrEnum):
    """Which matrix elements the headline counts."""

    FULL = "full"
    PAPER = "paper"


class BaselineName(StrEnum):
    """Predictions that need no model."""

    ZERO = "zero"
    H0 = "h0"


def score(  # noqa: PLR0913, PLR0917  # a command line's options are its arguments
    reference: Annotated[
        str, typer.Option(help="Dataset store with overlap, h0 and hamiltonian: a folder or an address.")
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
    optics: Annotated[
        bool, typer.Option("--optics", help="Also compare optical conductivities, by pyatb (minutes a structure).")
    ] = False,
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
    from nextham_bench.score import Request, score_to
    from nextham_bench.submission.archive import refuse_archive
    from nextham_bench.terminal import sentences, table

    if prediction is not None:
        refuse_archive(prediction)
    request = Request(
        reference=located(reference),
        prediction=prediction,
        baseline=None if baseline is None else baseline.value,
        protocol=protocol.value,
        split=split,
        subset=subset,
        bands=bands,
        optics=optics,
        allow_partial=allow_partial,
        jobs=jobs,
        name=name,
    )
    scores = score_to(request, output)
    if json:
        typer.echo(scores.model_dump_json(indent=1))
        return
    terminal = Console()
    terminal.print(table(scores))
    for sentence in sentences(scores):
        terminal.print(sentence, highlight=False)
    terminal.print(f"written to {output}", highlight=False)


def report(
    scores: Annotated[list[Path], typer.Argument(help="scores.json files; the first of a model is shown in full.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The HTML page; table.md is written beside it.")
    ] = Path("report/index.html"),
    reference: Annotated[
        Path | None, typer.Option(help="Reference store, for band overlays and the parity plot.")
    ] = None,
    prediction: Annotated[Path | None, typer.Option(help="Prediction store of the first model's scores.")] = None,
    gallery: Annotated[int, typer.Option(min=0, help="Structures with ghost states that are drawn.")] = 4,
) -> None:
    """Render scores as one HTML page that opens offline, and as a Markdown table."""
    from nextham_bench.report.page import write_report
    from nextham_bench.schema import read_scores

    write_report(
        [read_scores(path) for path in scores], output, reference=reference, prediction=prediction, gallery=gallery
    )
    typer.echo(f"written to {output}")


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


def elements(
    scores: Annotated[
        list[Path],
        typer.Argument(help="One scores.json for each left-out element; its name or the file's ends in the symbol."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The HTML page; elements.csv and .json are written beside it.")
    ] = Path("elements/index.html"),
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Leave one element out",
) -> None:
    """Draw the periodic table of skill on elements that a model never saw."""
    from nextham_bench.leave_one_out import by_element, left_out
    from nextham_bench.report.elements_page import write_elements
    from nextham_bench.schema import read_scores

    write_elements(left_out(by_element([(path, read_scores(path)) for path in scores]), title), output)
    typer.echo(f"written to {output}")


def schema(of: Annotated[SchemaName, typer.Argument(help="Which file.")] = SchemaName.SCORES) -> None:
    """Print the JSON schema of scores.json or of a card."""
    import json

    from nextham_bench import schema as scores
    from nextham_bench.submission import card

    found = {SchemaName.SCORES: scores.json_schema, SchemaName.CARD: card.json_schema}[of]()
    typer.echo(json.dumps(found, indent=1))

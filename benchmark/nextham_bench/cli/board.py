"""The commands ``leaderboard add|render`` and ``eval-results``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Board = Annotated[Path, typer.Option(help="The board: a folder with one file for each entry.")]

board = typer.Typer(name="leaderboard", help="Enter scores on a board and render it.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(board)
    app.command("eval-results")(eval_results)


@board.command()
def add(
    card: Annotated[Path, typer.Argument(help="The model's card.")],
    scores: Annotated[Path, typer.Option(help="What nextham-bench score wrote.")],
    board: Board = Path("leaderboard"),
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The card's command was run here and made this checkpoint: training data, size and hashes are its.",
        ),
    ] = None,
) -> None:
    """Enter a score under a card; what does not belong together or may not be ranked is refused."""
    from nextham_bench.leaderboard.add import add as added

    typer.echo(f"{added(card, scores, board, checkpoint=checkpoint)}: added")


@board.command()
def render(
    board: Annotated[
        list[Path] | None, typer.Option(help="A board; may be repeated.", show_default="leaderboard")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of index.html and leaderboard.md, .csv and .json.")
    ] = Path("leaderboard-page"),
    reference: Annotated[
        Path | None, typer.Option(help="The dataset, for band overlays, parity plots and the gallery.")
    ] = None,
    prediction: Annotated[
        list[Path] | None, typer.Option(help="Prediction store of an entry, recognised by its hash; may be repeated.")
    ] = None,
    gallery: Annotated[int, typer.Option(min=0, help="Structures with ghost states that are drawn of each.")] = 4,
) -> None:
    """Render boards: one HTML page that opens offline, and the ranking as Markdown, CSV and JSON."""
    from nextham_bench.report.board_page import write_board

    write_board(
        board or [Path("leaderboard")], output, reference=reference, predictions=prediction or (), gallery=gallery
    )
    typer.echo(f"written to {output}/index.html")


def eval_results(
    scores: Annotated[Path, typer.Argument(help="scores.json of a model.")],
    dataset: Annotated[str, typer.Option(help="Id of the benchmark dataset on the Hub, ORGANISATION/NAME.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model repository, or any folder.")] = Path(),
    date: Annotated[str | None, typer.Option(help="Of the evaluation, YYYY-MM-DD.")] = None,
    source: Annotated[str | None, typer.Option(help="Address of the prediction or of logs.")] = None,
) -> None:
    """Write scores as .eval_results/nextham-bench.yaml, which Hugging Face shows on a model's page."""
    import datetime as dt

    from nextham.exceptions import InputError
    from nextham_bench.leaderboard.eval_results import write_eval_results
    from nextham_bench.schema import read_scores

    try:
        day = None if date is None else dt.date.fromisoformat(date)
    except ValueError:
        raise InputError(f"--date {date} is not a day such as 2026-11-28") from None
    typer.echo(f"{write_eval_results(read_scores(scores), output, dataset=dataset, date=day, source=source)}: written")

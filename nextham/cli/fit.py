"""``nextham train`` and ``nextham finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("train")(train)
    app.command("finetune")(finetune)


def train(  # noqa: PLR0913, PLR0917  (one argument per option)
    store: Annotated[str, typer.Argument(help="Store with H0, S and H: a folder or an address.")],
    split: Annotated[Path, typer.Option("--split", help="Split file with lists train and val.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for best, last, log.csv and the state.")],
    settings: Annotated[
        str | None, typer.Option(help="YAML file or JSON text with sections 'model' and 'train'.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a training that was stopped, if any.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="With --resume: begin again if the folder holds another training.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print model, size and cost, and write nothing.")] = False,
) -> None:
    """Fit a network that predicts the correction H - H0."""
    from nextham.console import load_settings
    from nextham.data.splits import Split
    from nextham.data.store import Store
    from nextham.train.cost import dry_run as cost
    from nextham.train.loop import train as run
    from nextham.train.settings import FitSettings

    chosen = load_settings(FitSettings, settings)
    opened, lists = Store(store), Split.load(split)
    if dry_run:
        typer.echo(cost(opened, lists, settings=chosen))
        return
    metrics = run(opened, lists, settings=chosen, out=out, resume=resume, restart=restart)
    _report(out, metrics)


def finetune(  # noqa: PLR0913, PLR0917  (one argument per option)
    store: Annotated[str, typer.Argument(help="Store with H0, S and H: a folder or an address.")],
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="Checkpoint folder to start from, e.g. DIR/best.")],
    split: Annotated[Path, typer.Option("--split", help="Split file with lists train and val.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for best, last, log.csv and the state.")],
    settings: Annotated[
        str | None, typer.Option(help="YAML file or JSON text with a section 'train'; the network is the checkpoint's.")
    ] = None,
    other_h0: Annotated[
        bool, typer.Option("--other-h0", help="The store's H0 is defined otherwise than the checkpoint's, on purpose.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a fine-tuning that was stopped, if any.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print model, size and cost, and write nothing.")] = False,
) -> None:
    """Fit a checkpoint on to other data: another engine's, or with new elements."""
    from nextham.console import load_settings
    from nextham.data.splits import Split
    from nextham.data.store import Store
    from nextham.train.cost import dry_run as cost
    from nextham.train.loop import finetune as run
    from nextham.train.settings import FitSettings
    from nextham.train.task import Start

    chosen = load_settings(FitSettings, settings)
    opened, lists, start = Store(store), Split.load(split), Start(checkpoint, other_h0)
    if dry_run:
        typer.echo(cost(opened, lists, settings=chosen, start=start))
        return
    _report(out, run(opened, lists, start, settings=chosen, out=out, resume=resume))


def _report(out: Path, metrics: dict[str, float]) -> None:
    typer.echo(f"{out / 'best'}: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))

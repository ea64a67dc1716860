"""The ``config`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("config")(config)


def config(
    file: Annotated[Path | None, typer.Argument(help="Config file to check.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of the config.")] = False,
) -> None:
    """Check a config file and print it with all defaults, or print the schema that editors use."""
    import yaml

    from nextham.config import Config, json_schema
    from nextham.console import read_yaml

    if schema:
        typer.echo(json_schema(), nl=False)
        return
    values = read_yaml(file, "config file") if file is not None else {}
    checked = Config.parse(values, where=str(file or "the defaults"))
    typer.echo(yaml.safe_dump(checked.model_dump(mode="json"), sort_keys=False), nl=False)

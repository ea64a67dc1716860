"""The commands ``info``, ``show``, ``pack`` and ``verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

StorePath = Annotated[str, typer.Argument(help="A store: a folder, or an address (https, s3, hf).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Settings = Annotated[str | None, typer.Option("--settings", help="YAML file, or YAML/JSON text.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (info, show, pack, verify):
        app.command()(command)


def info(
    store: StorePath,
    split: Annotated[Path | None, typer.Option(help="Count the structures of a split's subsets.")] = None,
    as_json: Json = False,
) -> None:
    """Say what a store holds: structures, elements, basis, operators, sizes, versions."""
    from nextham.data.splits import Split
    from nextham.data.store import Store
    from nextham.data.summary import store_facts

    opened = Store(store)
    facts = store_facts(opened)
    if split is not None:
        subsets = Split.load(split).checked(opened.ids, store).ids
        facts["split"] = {name: len(ids) for name, ids in subsets.items()}
    _print(facts, store, as_json)


def show(
    store: StorePath, id: Annotated[str, typer.Argument(help="Id of a structure.")], as_json: Json = False
) -> None:
    """Show one structure: the crystal, its run, its certificate and a summary of its operators."""
    from nextham.data.store import Store
    from nextham.data.summary import record_facts

    _print(record_facts(Store(store), id), id, as_json)


def pack(
    stores: Annotated[list[str], typer.Argument(help="Stores: folders or addresses.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The store to write.")],
    settings: Settings = None,
    overwrite: Overwrite = False,
) -> None:
    """Put the structures of several stores into one, number by number, with their ledgers."""
    from nextham.console import load_settings
    from nextham.data.settings import StoreSettings
    from nextham.data.store import Store, merge_stores

    merge_stores(stores, output, settings=load_settings(StoreSettings, settings), overwrite=overwrite)
    typer.echo(f"{output}: {len(Store(output))} structures from {len(stores)} stores")


def verify(
    store: Annotated[str, typer.Argument(help="A store: a folder or an address; with --pyabacus also a crystal.")],
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    pyabacus: Annotated[
        bool, typer.Option("--pyabacus", help="Compare S(R) with the two-centre integrals of ABACUS's Python binding.")
    ] = False,
    species: Annotated[
        str, typer.Option(help="With --pyabacus: embedded, or the folder of the orbital files.")
    ] = "embedded",
    id: Annotated[list[str] | None, typer.Option(help="With --pyabacus: structures; by default all.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="With --pyabacus: largest difference of S.")] = 1e-6,
) -> None:
    """Compare every file and record of a store with the checksum it was written with.

    What a download brought is mended by the same download again.
    """
    if pyabacus:
        _verify_overlaps(Path(store), species, id or [], tolerance)
        return
    from nextham.data.store import Store
    from nextham.data.verify import verify as verified
    from nextham.exceptions import InputError

    opened = Store(store)
    problems = verified(opened, jobs=jobs)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise InputError(f"{store} has {len(problems)} problem{'s' * (len(problems) != 1)}")
    typer.echo(f"{store}: {len(opened)} structures, all checksums agree")


def _verify_overlaps(path: Path, species: str, ids: list[str], tolerance: float) -> None:
    from nextham.campaign.crosscheck import differences
    from nextham.exceptions import InputError

    found = []
    for difference in differences(path, species=species, ids=ids):
        typer.echo(str(difference))
        found.append(difference)
    bad = [difference for difference in found if not difference.largest <= tolerance]
    if bad:
        raise InputError(f"{path}: S of {len(bad)} of {len(found)} structures differs by more than {tolerance:g}")
    typer.echo(f"{path}: S of {len(found)} structures is that of ABACUS's two-centre integrals within {tolerance:g}")


def _print(facts: dict[str, Any], title: str, as_json: bool) -> None:
    """Print nested facts as JSON, or as one table with a section per mapping."""
    if as_json:
        import json

        typer.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE, show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if isinstance(value, dict):
            table.add_section()
            table.add_row(f"[cyan]{name}[/cyan]", "")
            for key, inner in value.items():
                table.add_row(f"  {key}", _text(inner))
        else:
            table.add_row(name, _text(value))
    Console().print(table)


def _text(value: object) -> str:
    from rich.markup import escape

    if value is None or value in ("", [], {}, ()):
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return escape(", ".join(f"{key} {_text(inner)}" for key, inner in value.items()))
    if isinstance(value, list | tuple):
        rows = all(isinstance(item, list) for item in value)
        return escape("\n".join(map(_row, value)) if rows else " ".join(map(str, value)))
    return escape(str(value))


def _row(items: list[object]) -> str:
    return " ".join(f"{item:11.6f}" if isinstance(item, float) else f"{item!s:2}" for item in items)

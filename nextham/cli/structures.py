"""The command ``generate``: crystals from prototypes to a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nextham.core import Structure


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("generate")(generate)


def generate(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write (.extxyz).")] = None,
    settings: Annotated[
        str,
        typer.Option(help="YAML file, or YAML/JSON text: prototypes, perturbed, strain, rattle_ang, seed."),
    ] = "{}",
    only: Annotated[list[str] | None, typer.Option(help="Id to build; may be repeated. By default all.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the crystals and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Build crystals of known prototypes, ideal and strained and rattled.

    Example: nextham generate --settings "prototypes: {B3: {GaAs: 5.653}, C33: {Bi2Te3: 4.383}}" -o crystals.extxyz
    """
    from nextham.console import load_settings
    from nextham.exceptions import InputError
    from nextham.structures.files import write_extxyz
    from nextham.structures.prototypes import build
    from nextham.structures.settings import CrystalSettings

    if output is None and not dry_run:
        raise InputError("name the file to write with --output, or list the crystals with --dry-run")
    if output is not None and output.suffix != ".extxyz":
        raise InputError(
            f"{output}: crystals with ids are written as extended XYZ; call it {output.with_suffix('')}.extxyz"
        )
    if output is not None and output.exists() and not (overwrite or dry_run):
        raise InputError(f"{output} exists already; choose another name or pass --overwrite")
    found = build(load_settings(CrystalSettings, settings), only=only or None)
    if output is not None and not dry_run:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_extxyz(output, found)
    _print(found, output if not dry_run else None, as_json)


def _print(found: dict[str, Structure], output: Path | None, as_json: bool) -> None:
    if as_json:
        facts = [
            {"id": id, "formula": s.formula, "atoms": len(s), "volume_ang3": round(s.volume, 3)}
            for id, s in found.items()
        ]
        typer.echo(json.dumps({"file": output and str(output), "crystals": facts}, indent=1))
        return
    if output is None:
        for id, s in found.items():
            typer.echo(f"{id:24} {s.formula:12} {len(s):3d} atoms  {s.volume:8.2f} Å³")
    typer.echo(f"{len(found)} crystals" + (f" in {output}" if output else ""))

"""The ``species`` commands: what a set of species holds, locking a folder of them, and making such files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nextham.dft.species.lock import Lock
    from nextham.dft.species.source import LockedSpecies


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(help="Pseudopotentials and orbitals: listing, locking, making.", no_args_is_help=True)
    group.command("list")(list_species)
    group.command("lock")(lock_species)
    group.command("build")(build_species)
    app.add_typer(group, name="species")


def list_species(
    source: Annotated[str, typer.Option(help="embedded, or a locked folder.")] = "embedded",
    lock: Annotated[Path | None, typer.Option(help="Lock of the folder; by default species.lock.json in it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the elements of a set, and compare every file with its lock.

    Generated sets also tell spin-orbit splitting and band errors in meV.
    """
    from nextham.dft.species.provenance import read_provenance
    from nextham.dft.species.source import locked_species
    from nextham.exceptions import InputError

    found = locked_species(source, lock)
    made = read_provenance(found.folder)
    problems = [problem for name in found.elements for problem in found.problems(name)]
    if as_json:
        elements = {name: found.lock.elements[name].model_dump() for name in found.elements}
        lacking = {"incomplete": found.lock.incomplete, "problems": problems}
        typer.echo(json.dumps({"folder": str(found.folder), "elements": elements, **lacking}, indent=1))
    else:
        _print_table(found, made.get("elements", {}))
        typer.echo(f"files: {found.folder}")
        if made:
            typer.echo(f"parameters: {made['source']}")
        for problem in problems:
            typer.echo(f"failed: {problem}")
    if problems:
        raise InputError(f"{len(problems)} files are not those of the lock; the first: {problems[0]}")


def _print_table(found: LockedSpecies, made: Mapping[str, Mapping[str, Any]]) -> None:
    head = f"{'':3} {'Z_val':>5}  {'orbitals':9} {'bohr':>4}"
    typer.echo(f"{head}  {'level':>5} {'split':>7} {'all-el.':>7}  {'bands: occ.':>11} {'empty':>6}" if made else head)
    for name in found.elements:
        entry = found.lock.elements[name]
        row = f"{name:3} {entry.valence:5g}  {entry.orbitals:9} {entry.radius_bohr:4g}"
        if name in made:
            row += f"  {_quality(made[name])}"
        elif not made:
            row += f"  {entry.upf.path}  {entry.orb.path}"
        typer.echo(row)
    for name, why in found.lock.incomplete.items():
        typer.echo(f"{name:3} cannot be used: {why}")


def _quality(record: Mapping[str, Any]) -> str:
    neutral = next((s for s in record["splittings"] if s["charge"] == 0), None)
    split = (
        f"{neutral['level']:>5} {neutral['pseudo_mev']:7.1f} {neutral['all_electron_mev']:7.1f}"
        if neutral
        else f"{'-':>5} {'-':>7} {'-':>7}"
    )
    return f"{split}  {record['occupied_band_error_mev']:11.1f} {record['lowest_empty_band_error_mev']:6.1f}"


def lock_species(
    folder: Annotated[Path, typer.Argument(help="Holds UPF and .orb files, itself or in its direct sub-folders.")],
    choose: Annotated[
        list[str] | None,
        typer.Option(help="ELEMENT=FILE, where the folder holds several files of an element; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The lock; by default species.lock.json in the folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read and check every file of a folder, and write down the checksums of those that engines may use."""
    from nextham.dft.species.lock import LOCK, write_lock
    from nextham.dft.species.locking import lock_folder

    path = output or folder / LOCK
    made, skipped = lock_folder(folder, choose or [])
    before = _lock_before(path)
    write_lock(path, made)
    old = before.elements if before else {}
    changed = [name for name in sorted(old) if old[name] != made.elements.get(name)]
    if as_json:
        facts = {"lock": str(path), "elements": list(made.elements), "changed": changed}
        typer.echo(json.dumps({**facts, "incomplete": made.incomplete, "skipped": skipped}, indent=1))
        return
    for reason in skipped.values():
        typer.echo(f"skipped: {reason}")
    for name, why in made.incomplete.items():
        typer.echo(f"not locked: {name} ({why})")
    if changed:
        typer.echo(f"other than in the last lock: {', '.join(changed)}")
    typer.echo(f"{path}: {len(made.elements)} elements: {' '.join(made.elements)}")


def _lock_before(path: Path) -> Lock | None:
    """Return the lock that is about to be replaced, if it is one."""
    from nextham.dft.species.lock import read_lock
    from nextham.exceptions import InputError

    try:
        return read_lock(path)
    except InputError:
        return None


def build_species(
    elements: Annotated[list[str], typer.Argument(help="Chemical symbols.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for ELEMENT.upf, ELEMENT.orb, their lock and provenance.json.")
    ],
) -> None:
    """Generate pseudopotentials and orbitals from published parameters; about a minute an element."""
    from nextham.console import track
    from nextham.dft.species.generate import gth
    from nextham.dft.species.generate.build import build, write

    for name in elements:
        gth.potential(name)  # a wrong symbol is told before the first minute is spent
    for name in track(elements, "species"):
        write([build(name)], out)
    typer.echo(f"{len(elements)} species in {out}")

"""The ``species`` commands: what the embedded set holds, and making such files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(help="Pseudopotentials and orbitals: the embedded set and its generator.", no_args_is_help=True)
    group.command("list")(list_species)
    group.command("build")(build_species)
    app.add_typer(group, name="species")


def list_species() -> None:
    """List the embedded elements: electrons, orbitals, spin-orbit splitting and errors in meV."""
    from nextham.dft.species.embedded import embedded_elements, embedded_folder
    from nextham.dft.species.provenance import read_provenance

    table = read_provenance(embedded_folder())
    head = f"{'':3} {'Z_val':>5}  {'orbitals':9} {'level':>5} {'split':>7} {'all-el.':>7}"
    typer.echo(f"{head}  {'bands: occ.':>11} {'empty':>6}")
    for name in embedded_elements():
        record = table["elements"][name]
        neutral = next((s for s in record["splittings"] if s["charge"] == 0), None)
        split = (
            f"{neutral['level']:>5} {neutral['pseudo_mev']:7.1f} {neutral['all_electron_mev']:7.1f}"
            if neutral
            else f"{'-':>5} {'-':>7} {'-':>7}"
        )
        errors = f"{record['occupied_band_error_mev']:11.1f} {record['lowest_empty_band_error_mev']:6.1f}"
        typer.echo(f"{name:3} {record['valence']:5d}  {record['zetas']:9} {split}  {errors}")
    typer.echo(f"files: {embedded_folder()}")
    typer.echo(f"parameters: {table['source']}")


def build_species(
    elements: Annotated[list[str], typer.Argument(help="Chemical symbols.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for ELEMENT.upf, ELEMENT.orb, provenance.json.")],
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

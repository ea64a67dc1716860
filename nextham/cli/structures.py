"""The commands ``generate``, ``fetch-mp`` and ``structures``: crystals from where they are to one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nextham.campaign.source_settings import SourceSettings
    from nextham.structures.mp.fetch import Fetched
    from nextham.structures.settings import FilterSettings, MaterialsProjectSettings
    from nextham.structures.sourced import Gathered

Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write (.extxyz).")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List the structures and write nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_MOST_REASONS = 20  # that are printed; all of them are in the JSON


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("generate")(generate)
    app.command("fetch-mp")(fetch_mp)
    app.command("structures")(structures)


def generate(  # noqa: PLR0913, PLR0917  (options)
    output: Output = None,
    settings: Annotated[
        str,
        typer.Option(
            help="YAML file, or YAML/JSON text: the keys of source.crystals, e.g. prototypes, decorate, seed."
        ),
    ] = "{}",
    only: Annotated[list[str] | None, typer.Option(help="Id to build; may be repeated. By default all.")] = None,
    show_all: Annotated[bool, typer.Option("--list", help="List the known prototypes and their sites.")] = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Build crystals of known prototypes, ideal and strained and rattled.

    Example: nextham generate --settings "prototypes: {B3: {GaAs: 5.653}, C33: {Bi2Te3: 4.383}}" -o crystals.extxyz

    Example: nextham generate --settings "decorate: {B1: {A: [Na, Mg], B: [O, S]}}" -o crystals.extxyz
    """
    from nextham.console import load_settings
    from nextham.structures.generate import build
    from nextham.structures.prototypes import library
    from nextham.structures.settings import CrystalSettings

    if show_all:
        typer.echo("\n".join(map(str, library())))
        return
    target = _checked_output(output, overwrite=overwrite, dry_run=dry_run)
    _finish(build(load_settings(CrystalSettings, settings), only=only or None), target, as_json, {})


def fetch_mp(  # noqa: PLR0913, PLR0917  (options)
    output: Output = None,
    settings: Annotated[
        str | None,
        typer.Option(
            help="YAML file, or YAML/JSON text: the keys of source.materials_project, e.g. elements, hull_ev."
        ),
    ] = None,
    ids_from: Annotated[
        list[Path] | None,
        typer.Option("--ids", help="Text file with one Materials Project id a line; may be repeated."),
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Forget what is in the cache and ask again.")] = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Fetch structures from the Materials Project; the key comes from the environment variable MP_API_KEY.

    What was fetched stays in a cache: an interrupted command goes on, and the same query needs no network.

    Example: nextham fetch-mp --settings "{elements: [Bi, Se], n_atoms: [1, 20], hull_ev: 0.05}" -o bise.extxyz
    """
    from nextham.console import load_settings
    from nextham.structures.settings import MaterialsProjectSettings

    query = load_settings(MaterialsProjectSettings, settings)
    if ids_from:
        query = query.model_copy(update={"ids_from": (*query.ids_from, *map(str, ids_from))})
    target = _checked_output(output, overwrite=overwrite, dry_run=dry_run)
    fetched = _fetched(query, refresh=refresh)
    _finish(fetched.gathered, target, as_json, _facts(fetched))


def structures(  # noqa: PLR0913, PLR0917  (options)
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files (.cif, .vasp, .extxyz, POSCAR, STRU), or folders that hold them.")
    ] = None,
    output: Output = None,
    settings: Annotated[
        str | None,
        typer.Option(help="YAML file, or YAML/JSON text: the keys of source, e.g. prepare: {primitive: true}."),
    ] = None,
    species: Annotated[
        str, typer.Option(help="embedded, or a folder locked by nextham species lock: whose orbitals filters count.")
    ] = "embedded",
    report: Annotated[
        Path | None, typer.Option(help="JSON file to write: what each structure is, and why others were left out.")
    ] = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Gather structures of any source, reduce and filter them, drop duplicates and add perturbed copies.

    Example: nextham structures crystals/ --settings "prepare: {primitive: true, unique: true}" -o set.extxyz
    """
    from nextham.campaign.source_settings import SourceSettings
    from nextham.console import load_settings
    from nextham.files import whole
    from nextham.structures.prepare import prepared

    source = load_settings(SourceSettings, settings)
    if paths:
        source = source.model_copy(update={"kind": "structures", "paths": tuple(map(str, paths))})
    target = _checked_output(output, overwrite=overwrite, dry_run=dry_run)
    orbitals = _orbitals(species, source.prepare.filters)
    found, facts = _gathered(source)
    made = prepared(found, source.prepare, orbitals=orbitals)
    if report is not None:
        with whole(report) as part:
            part.write_text(_as_json(made, target, facts) + "\n")
    _finish(made, target, as_json, facts)


def _gathered(source: SourceSettings) -> tuple[Gathered, dict[str, object]]:
    """Return what a source holds, and what else is told of it."""
    from nextham.exceptions import InputError

    if source.kind == "prototypes":
        from nextham.structures.generate import build

        return build(source.crystals), {}
    if source.kind == "materials-project":
        fetched = _fetched(source.materials_project)
        return fetched.gathered, _facts(fetched)
    if source.kind == "structures":
        from nextham.campaign.runs import found_in
        from nextham.console import track
        from nextham.structures.files import structure_files
        from nextham.structures.prepare import gathered

        files = structure_files(source.paths)
        return gathered(found for path in track(files, "reading") for found in found_in(path)), {}
    raise InputError(
        "name files or folders of structures, or a source with kind prototypes, structures or materials-project; "
        "finished runs (kind abacus-runs) are imported by nextham import-abacus"
    )


def _fetched(query: MaterialsProjectSettings, *, refresh: bool = False) -> Fetched:
    from nextham.structures.mp.client import MPAPIClient
    from nextham.structures.mp.fetch import fetch

    return fetch(query, MPAPIClient, refresh=refresh)


def _facts(fetched: Fetched) -> dict[str, object]:
    return {
        "database": list(fetched.databases),
        "fetched_now": fetched.asked_now,
        "cache": str(fetched.cache),
    }


def _orbitals(species: str, filters: FilterSettings) -> dict[str, int] | None:
    """Return the orbitals of an atom of each element that a species source has, where filters ask for them."""
    if not (filters.max_orbitals or filters.known_species):
        return None
    from nextham.dft.species.orb import read_orb
    from nextham.dft.species.source import locked_species

    source = locked_species(species)
    return {name: read_orb(source.files_of(name).orb).n_orb for name in source.elements}


def _checked_output(output: Path | None, *, overwrite: bool, dry_run: bool) -> Path | None:
    """Return the file to write, None for a dry run.

    Raises:
        InputError: if there is none, it is of another format, or it exists already.
    """
    from nextham.exceptions import InputError

    if output is not None and output.suffix != ".extxyz":
        raise InputError(
            f"{output}: crystals with ids are written as extended XYZ; call it {output.with_suffix('')}.extxyz"
        )
    if dry_run:
        return None
    if output is None:
        raise InputError("name the file to write with --output, or list the crystals with --dry-run")
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists already; choose another name or pass --overwrite")
    return output


def _finish(found: Gathered, output: Path | None, as_json: bool, facts: Mapping[str, object]) -> None:
    """Write the structures and say what became of the others.

    Raises:
        InputError: if nothing is left to write.
    """
    from nextham.exceptions import InputError
    from nextham.structures.extxyz import write_extxyz

    if output is not None and found.found:
        write_extxyz(output, found.found)
    if as_json:
        typer.echo(_as_json(found, output, facts))
    else:
        _print(found, output, facts)
    if not found.found:
        why = ", ".join(f"{n} {reason}" for reason, n in found.reasons.items()) or "the source is empty"
        raise InputError(f"no structure is left ({why}); nothing was written")


def _as_json(found: Gathered, output: Path | None, facts: Mapping[str, object]) -> str:
    left_out = [vars(each) for each in found.left_out]
    crystals = [each.as_dict() for each in found.found]
    content = {"file": output and str(output), **facts, "crystals": crystals}
    return json.dumps(content | {"reasons": found.reasons, "left_out": left_out}, indent=1, ensure_ascii=False)


def _print(found: Gathered, output: Path | None, facts: Mapping[str, object]) -> None:
    if output is None:
        for each in found.found:
            s = each.structure
            typer.echo(f"{each.id:24} {s.formula:12} {len(s):3d} atoms  {s.volume:8.2f} Å³")
    for other in found.left_out[:_MOST_REASONS]:
        typer.echo(f"left out: {other.message}")
    if (more := len(found.left_out) - _MOST_REASONS) > 0:
        typer.echo(f"left out: {more} more, all of them with --json")
    if reasons := ", ".join(f"{n} {reason}" for reason, n in found.reasons.items()):
        typer.echo(f"{len(found.left_out)} left out: {reasons}")
    for name, value in facts.items():
        typer.echo(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
    typer.echo(f"{len(found.found)} crystals" + (f" in {output}" if output else ""))

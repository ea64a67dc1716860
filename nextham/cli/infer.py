"""``nextham predict``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nextham.cli.engine import EngineName, chosen_engine, folders_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nextham.campaign.prediction import Query, Report
    from nextham.data.ledger import Entry
    from nextham.data.remote import Location
    from nextham.dft.lcao.settings import LCAOSettings
    from nextham.dft.species.source import SpeciesSource
    from nextham.predict import Predictor

_SHOWN = 50  # structures with a line of their own


class Format(StrEnum):
    """What is written."""

    STORE = "store"
    ABACUS = "abacus"


class Device(StrEnum):
    """Where the network is evaluated."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


def predict(  # noqa: PLR0913  (options)
    *,
    source: Annotated[
        list[str],
        typer.Argument(
            help="A store with H0 and S, a folder or an address; or crystals (.cif, .vasp, .extxyz, POSCAR, STRU, or "
            "folders that hold them), whose S and H0 the embedded engine computes."
        ),
    ],
    checkpoint: Annotated[
        list[Path],
        typer.Option(
            "--checkpoint", help="Checkpoint folder, e.g. DIR/best. Of several the mean is written and the spread told."
        ),
    ],
    out: Annotated[Path, typer.Option("--output", "--out", "-o", help="Store to write, or folder of ABACUS's files.")],
    split: Annotated[Path | None, typer.Option(help="Split file; predicts one of its lists.")] = None,
    subset: Annotated[str, typer.Option(help="Which list of the split.")] = "test",
    id: Annotated[list[str] | None, typer.Option("--id", help="Predict this structure; may be repeated.")] = None,
    supercell: Annotated[
        tuple[int, int, int] | None,
        typer.Option(metavar="N1 N2 N3", help="Predict the N1 x N2 x N3 supercell of each structure."),
    ] = None,
    format: Annotated[Format, typer.Option(help="A store, or ABACUS's CSR files with STRU.")] = Format.STORE,
    bands: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Plot bands along the standard path (.html, .png, .svg); the id goes into the name."
        ),
    ] = None,
    max_memory_gb: Annotated[
        float, typer.Option(min=0.01, help="Memory of the network; what does not fit at once goes in chunks.")
    ] = 4.0,
    overlap_floor: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Damp the correction where orbitals are nearly dependent; 0 does not.",
            show_default="0.003",
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Of the network; auto takes a GPU if there is one.")] = Device.AUTO,
    settings: Annotated[
        str | None,
        typer.Option(
            "--settings", help="Of crystals: YAML file, or YAML/JSON text; sections species and lcao, as of nextham h0."
        ),
    ] = None,
    species: Annotated[
        str | None, typer.Option(help="Of crystals: embedded, or a folder locked by nextham species lock.")
    ] = None,
    species_lock: Annotated[
        Path | None, typer.Option(help="Lock of that folder; by default species.lock.json in it.")
    ] = None,
    pseudo_dir: Annotated[
        Path | None, typer.Option(help="Of crystals: folder with one UPF file per element, instead of --species.")
    ] = None,
    orbital_dir: Annotated[Path | None, typer.Option(help="Folder with one .orb file per element.")] = None,
    other_species: Annotated[
        bool,
        typer.Option("--other-species", help="Predict with pseudopotentials or orbitals that were not trained on."),
    ] = False,
    unseen_elements: Annotated[
        bool,
        typer.Option(
            "--unseen-elements", help="Predict elements that were not trained on, as the mean of those that were."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print sizes and memory, and compute nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict Hamiltonians: H0 plus the correction of a trained model.

    Of a store all structures are predicted, those of a split's list, or those named. A crystal's prediction also
    holds the S and H0 that were computed for it. A structure that cannot be predicted is told in the ledger.

    Example: nextham predict GaAs.cif --checkpoint run/best --supercell 3 3 3 -o GaAs.store --bands GaAs.html
    """
    from nextham.campaign import Target
    from nextham.campaign.prediction import plan, predict_all
    from nextham.data.remote import located
    from nextham.physics.nearnull import FLOOR
    from nextham.predict import Predictor
    from nextham.predict.plot import check_bands

    if bands is not None:
        check_bands(bands)
    floor = FLOOR if overlap_floor is None else overlap_floor
    predictor = Predictor(
        checkpoint,
        device=device.value,
        max_memory_gb=max_memory_gb,
        other_species=other_species,
        unseen_elements=unseen_elements,
        floor=floor,
    )
    places = [located(each) for each in source]
    if _is_store(places):
        given = {"--settings": settings, "--species": species, "--species-lock": species_lock}
        _refuse({**given, "--pseudo-dir": pseudo_dir, "--orbital-dir": orbital_dir}, "a store has its S and H0")
        queries = _of_store(places[0], predictor, (split, subset, id or []), supercell)
    else:
        _refuse({"--split": split}, "a split is of a store, but crystals are given")
        options = folders_of(pseudo_dir, orbital_dir)
        chosen, found = chosen_engine(settings, EngineName.LCAO, options, (species, species_lock))
        files = [place for place in places if isinstance(place, Path)]
        queries = _of_files(files, predictor, (chosen.lcao, found), id or [], supercell)
    if dry_run:
        _print_plan(*plan(queries, predictor), as_json)
        return
    report = predict_all(queries, predictor, Target(out, overwrite), abacus=format is Format.ABACUS, bands=bands)
    _print_report(report, as_json)


def _is_store(source: Sequence[Location]) -> bool:
    from nextham.data.layout import ABOUT
    from nextham.exceptions import InputError

    stores = [path for path in source if not isinstance(path, Path) or (path / ABOUT).is_file()]
    if stores and len(source) > 1:
        raise InputError(f"{stores[0]} is a store: predict it alone, or give crystals only")
    return bool(stores)


def _refuse(options: dict[str, object], why: str) -> None:
    from nextham.exceptions import InputError

    for name, value in options.items():
        if value is not None:
            raise InputError(f"{name} has no meaning here: {why}; leave it out")


def _of_store(
    path: Location,
    predictor: Predictor,
    which: tuple[Path | None, str, Sequence[str]],
    repeats: tuple[int, int, int] | None,
) -> list[Query]:
    from nextham.campaign.prediction import of_store
    from nextham.data.splits import Split
    from nextham.data.store import Store

    split, subset, ids = which
    opened = Store(path)
    predictor.check_h0(opened.h0_definition, str(path))
    chosen = ids or (Split.load(split).checked(opened.ids, str(path))[subset] if split else opened.ids)
    return of_store(opened, chosen, predictor.operators, repeats)


def _of_files(
    paths: Sequence[Path],
    predictor: Predictor,
    engine: tuple[LCAOSettings, SpeciesSource],
    ids: Sequence[str],
    repeats: tuple[int, int, int] | None,
) -> list[Query]:
    from nextham.campaign.prediction import of_files
    from nextham.dft.lcao.engine import LCAOEngine
    from nextham.structures.files import structure_files

    made = LCAOEngine(*engine)
    predictor.check_h0(made.settings.h0_definition.value, "the embedded engine (lcao.h0_definition)")
    return of_files(structure_files(paths), made, ids=ids, repeats=repeats)


def _print_plan(found: dict[str, dict[str, Any]], problems: Sequence[Entry], as_json: bool) -> None:
    """Print what would be predicted.

    Raises:
        InputError: if nothing could be.
    """
    from nextham.exceptions import InputError

    if as_json:
        typer.echo(json.dumps({"structures": found, "problems": _told(problems)}, indent=1))
    else:
        for id, facts in list(found.items())[:_SHOWN]:
            at_once = facts["edges_at_once"]
            how = "at once" if at_once == facts["edges"] else f"in chunks of {at_once}"
            typer.echo(
                f"{id:24} {facts['formula']:16} {facts['atoms']:6d} atoms {facts['orbitals']:7d} orbitals "
                f"{facts['edges']:8d} edges {how}, {facts['network_memory_gb']:.2f} GB"
            )
        _print_problems(problems)
        typer.echo(f"{len(found)} structures would be predicted")
    if not found:
        raise InputError(f"nothing can be predicted; the first reason: {problems[0].message}")


def _print_report(report: Report, as_json: bool) -> None:
    if as_json:
        facts = {"output": str(report.path), "uncertainty_mev": report.uncertainty_mev, "structures": report.facts}
        typer.echo(json.dumps({**facts, "failed": _told(report.failed)}, indent=1))
        return
    for id, facts in list(report.facts.items())[:_SHOWN]:
        spread = f"  ± {facts['uncertainty_mev']:.3g} meV" if "uncertainty_mev" in facts else ""
        times = f"S and H0 {facts['inputs_s']:.2f} s, model {facts['model_s']:.2f} s"
        typer.echo(f"{id:24} {facts['atoms']:6d} atoms  {times}{spread}")
        if facts.get("no_bands"):
            typer.echo(f"no bands: {facts['no_bands']}")
    if len(report.facts) > _SHOWN:
        typer.echo(f"... and {len(report.facts) - _SHOWN} more; the ledger has all")
    _print_problems(report.failed)
    total = len(report.facts) + len(report.failed)
    spread = "" if report.uncertainty_mev is None else f", ± {report.uncertainty_mev:.3g} meV on average"
    typer.echo(f"{report.path}: {len(report.facts)} of {total} structures{spread}")


def _print_problems(failed: Sequence[Entry]) -> None:
    for entry in failed[:_SHOWN]:
        typer.echo(f"failed: {entry.message}")


def _told(failed: Sequence[Entry]) -> list[dict[str, str]]:
    return [{"id": entry.id, "cause": entry.cause, "message": entry.message} for entry in failed]

"""The commands ``import-published``, ``import-deeph`` and ``export``: other programs' files and stores."""

from __future__ import annotations

import json
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextham.cli._summary import run_and_tell
from nextham.cli.abacus import Operator

if TYPE_CHECKING:
    from nextham.exchange.published.run import PublishedRun

Output = Annotated[Path, typer.Option("--output", "-o", help="The store to write.")]
Id = Annotated[str, typer.Option(help="Id of a single structure; by default the name of the file.")]
Require = Annotated[
    list[Operator] | None, typer.Option(help="Operators that each structure must have; by default all three.")
]
SettingsText = Annotated[
    str | None, typer.Option("--settings", help="YAML file, or YAML/JSON text; sections store and checks.")
]
MemoryGb = Annotated[float, typer.Option(min=0.1, help="Memory that reading one structure may take.")]
NumberOfWorkers = Annotated[int, typer.Option(min=1, help="Processes that read and check.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
AllowEmpty = Annotated[bool, typer.Option("--allow-empty", help="Write a store even if every structure failed.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Format(StrEnum):
    """What systems are exported to."""

    ABACUS = "abacus"
    ABACUS_311 = "abacus-3.11"
    PYATB = "pyatb"
    DEEPH = "deeph"
    DEEPH_DOCK = "deeph-dock"
    HAMGNN = "hamgnn"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("import-published")(import_published)
    app.command("import-deeph")(import_deeph)
    app.command("export")(export)


def import_published(  # noqa: PLR0913  (options)
    *,
    output: Output,
    files: Annotated[
        list[Path], typer.Argument(help="Files of the published NextHAM code (.pth), or folders of them.")
    ],
    id: Id = "",
    rydberg_ev: Annotated[
        float | None,
        typer.Option(min=13.0, max=14.0, help="eV that the converter took for 1 Ry; by default found in the numbers."),
    ] = None,
    least_cutoff_ang: Annotated[
        float,
        typer.Option(min=0.0, max=8.0, help="Files whose first missing pair is farther are taken, cut there."),
    ] = 8.0,
    memory_gb: MemoryGb = 8.0,
    require: Require = None,
    settings: SettingsText = None,
    workers: NumberOfWorkers = 1,
    overwrite: Overwrite = False,
    allow_empty: AllowEmpty = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only open the files and tell what each holds; nothing is written.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read files of the published NextHAM code, check them and write a store; what fails is told in its ledger.

    Nothing in a file is executed. Order, sign, spin layout and padding are converted, the Rydberg that the energies
    were made with is found from their last bits, and positions that are not those of the blocks from the overlaps.
    An interrupted import goes on where it was.
    """
    from nextham.campaign import DatasetSettings, Target, import_foreign
    from nextham.console import load_settings
    from nextham.core import OPERATORS
    from nextham.exchange.published.reader import Reading
    from nextham.exchange.published.run import published_runs

    runs = published_runs(files, id=id, reading=Reading(rydberg_ev, least_cutoff_ang), memory_gb=memory_gb)
    if dry_run:
        _tell_contents(runs, as_json)
        return
    campaign = partial(
        import_foreign,
        runs,
        Target(output, overwrite, allow_empty),
        settings=load_settings(DatasetSettings, settings),
        required=tuple(require) if require else tuple(OPERATORS),
        workers=workers,
    )
    run_and_tell(campaign, as_json)


def _tell_contents(runs: list[PublishedRun], as_json: bool) -> None:
    from nextham.console import track
    from nextham.exceptions import NexthamError

    found, n_failed = {}, 0
    for run in track(runs, "open"):
        try:
            found[run.id] = run.contents()
        except NexthamError as error:
            n_failed += 1
            typer.echo(f"failed: {error}", err=True)
    if not found:
        raise NexthamError(f"none of {len(runs)} files can be opened")
    if as_json:
        typer.echo(json.dumps({name: vars(contents) for name, contents in found.items()}, indent=1))
        return
    for name, contents in found.items():
        typer.echo(f"{name}: {contents.formula}, {contents.edges} edges, {contents.megabytes:.0f} MB")
    total = sum(contents.megabytes for contents in found.values())
    typer.echo(f"{len(found)} of {len(runs)} files, {total / 1e3:.2f} GB" + f" ({n_failed} failed)" * bool(n_failed))


def import_deeph(  # noqa: PLR0913  (options)
    *,
    output: Output,
    folders: Annotated[list[Path], typer.Argument(help="Folders of DeepH-pack or DeepH-dock, or folders of them.")],
    id: Id = "",
    rydberg_ev: Annotated[
        float | None,
        typer.Option(
            min=13.0,
            max=14.0,
            help="eV that 1 Ry had where the folders were made (DeepH-pack of ABACUS: 13.605698); by default energies "
            "are taken as they are.",
        ),
    ] = None,
    memory_gb: MemoryGb = 8.0,
    require: Require = None,
    settings: SettingsText = None,
    workers: NumberOfWorkers = 1,
    overwrite: Overwrite = False,
    allow_empty: AllowEmpty = False,
    as_json: Json = False,
) -> None:
    """Read folders of DeepH, check them and write a store; what fails is told in its ledger.

    S and H are required by default; H0, which DeepH does not have, is read where `nextham export` wrote it.
    """
    from nextham.campaign import DatasetSettings, Target, import_foreign
    from nextham.console import load_settings
    from nextham.exchange.deeph.run import deeph_runs

    campaign = partial(
        import_foreign,
        deeph_runs(folders, id=id, rydberg_ev=rydberg_ev, memory_gb=memory_gb),
        Target(output, overwrite, allow_empty),
        settings=load_settings(DatasetSettings, settings),
        required=tuple(require) if require else (Operator.OVERLAP, Operator.HAMILTONIAN),
        workers=workers,
    )
    run_and_tell(campaign, as_json)


def export(  # noqa: PLR0913, PLR0917  (one argument per option)
    store: Annotated[str, typer.Argument(help="A store: a dataset or a prediction, a folder or an address.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder that gets one folder per structure.")],
    format: Annotated[Format, typer.Option(help="Which program the files are for.")] = Format.ABACUS,
    id: Annotated[list[str] | None, typer.Option(help="Structures; by default all.")] = None,
    operator: Annotated[list[Operator] | None, typer.Option(help="Operators; by default all there are.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of the same names in folders that exist.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write operators for other programs; docs/conventions.md says in which order, sign, spin layout and unit.

    abacus (3.8 to 3.10) and abacus-3.11: STRU and CSR matrices in Ry. pyatb: the same with its Input. deeph: folders
    of DeepH-pack, deeph-dock: of DeepH-dock. hamgnn: one graph_data.npz of all structures. A structure that cannot be
    exported is told, the rest goes on.
    """
    from nextham.data.store import Store
    from nextham.exceptions import NexthamError
    from nextham.exchange.export import export_store

    opened = Store(store)
    names = opened.known(id or opened.ids)
    files, problems = export_store(
        opened.read, names, output, target=format.value, operators=tuple(operator or ()), overwrite=overwrite
    )
    for problem in problems:
        typer.echo(f"failed: {problem}", err=True)
    if as_json:
        typer.echo(json.dumps({name: [str(f) for f in written] for name, written in files.items()}, indent=1))
    else:
        typer.echo(f"{output}: {len(files)} structures")
    if problems:
        raise NexthamError(f"{len(problems)} of {len(names)} structures of {store} were not exported")

"""The commands ``import-published`` and ``export``: between other programs' files and stores."""

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
NumberOfWorkers = Annotated[int, typer.Option(min=1, help="Processes that read and check.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
AllowEmpty = Annotated[bool, typer.Option("--allow-empty", help="Write a store even if every structure failed.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Format(StrEnum):
    """What systems are exported to."""

    ABACUS = "abacus"
    ABACUS_311 = "abacus-3.11"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("import-published")(import_published)
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
    memory_gb: Annotated[float, typer.Option(min=0.1, help="Memory that reading one file may take.")] = 8.0,
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
    if as_json:
        typer.echo(json.dumps({name: vars(contents) for name, contents in found.items()}, indent=1))
        return
    for name, contents in found.items():
        typer.echo(f"{name}: {contents.formula}, {contents.edges} edges, {contents.megabytes:.0f} MB")
    total = sum(contents.megabytes for contents in found.values())
    typer.echo(f"{len(found)} of {len(runs)} files, {total / 1e3:.2f} GB" + f" ({n_failed} failed)" * bool(n_failed))


def export(  # noqa: PLR0913, PLR0917  (one argument per option)
    store: Annotated[Path, typer.Argument(help="A store: a dataset or a prediction.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder that gets one folder per structure.")],
    format: Annotated[Format, typer.Option(help="Layout of the matrix files.")] = Format.ABACUS,
    id: Annotated[list[str] | None, typer.Option(help="Structures; by default all.")] = None,
    operator: Annotated[list[Operator] | None, typer.Option(help="Operators; by default all there are.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of the same names in folders that exist.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write operators as ABACUS matrix files with STRU, for ABACUS and pyatb.

    H(R) and S(R) have the names that ABACUS gives them; H0(R) is data-H0R-sparse_SPIN0.csr (abacus) or h0rs1_nao.csr
    (abacus-3.11). All are nspin 4 matrices in Ry. A structure that cannot be exported is told, the rest goes on.
    """
    from nextham.console import track
    from nextham.data.store import Store
    from nextham.dft.abacus.csr import CsrLayout
    from nextham.dft.abacus.export import export_folder, refuse_used
    from nextham.exceptions import NexthamError, WriteError

    opened = Store(store)
    names = opened.known(id or opened.ids)
    if not overwrite:
        refuse_used([output / name for name in names])
    files = {}
    for name in track(names, "export"):
        try:
            system = opened.read(name)
            files[name] = export_folder(
                system, output / name, operators=tuple(operator or ()), layout=CsrLayout(format.value)
            )
        except WriteError:
            raise
        except NexthamError as error:
            typer.echo(f"failed: {error}", err=True)
    if as_json:
        typer.echo(json.dumps({name: [str(f) for f in written] for name, written in files.items()}, indent=1))
    else:
        typer.echo(f"{output}: {len(files)} structures")
    if len(files) < len(names):
        raise NexthamError(f"{len(names) - len(files)} of {len(names)} structures of {store} were not exported")

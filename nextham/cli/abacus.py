"""The command ``import-abacus``: from ABACUS's files to stores."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextham.cli._summary import run_and_tell

if TYPE_CHECKING:
    from nextham.dft.abacus.reader import FinishedRun


class Operator(StrEnum):
    """Operators of a record."""

    OVERLAP = "overlap"
    H0 = "h0"
    HAMILTONIAN = "hamiltonian"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import-abacus")(import_abacus)


def import_abacus(  # noqa: PLR0913  (options)
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The store to write.")],
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders with abacus_geths/ and abacus_scf/, or tar archives of such folders."),
    ] = None,
    h0_dir: Annotated[Path | None, typer.Option(help="Run folder of H0, instead of RUNS.")] = None,
    scf_dir: Annotated[Path | None, typer.Option(help="Run folder of the SCF, instead of RUNS.")] = None,
    id: Annotated[str, typer.Option(help="Id of a single structure; by default the folder's name.")] = "",
    require: Annotated[
        list[Operator] | None, typer.Option(help="Operators that each structure must have; by default all three.")
    ] = None,
    settings: Annotated[
        str | None, typer.Option("--settings", help="YAML file, or YAML/JSON text; sections store and checks.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read and check.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Write a store even if every structure failed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read finished ABACUS runs, check them and write a store; what fails is told in its ledger."""
    from nextham.campaign import DatasetSettings, Target, import_runs
    from nextham.console import load_settings
    from nextham.core import OPERATORS

    found = _finished_runs(runs or [], h0_dir, scf_dir, id)
    campaign = partial(
        import_runs,
        found,
        Target(output, overwrite, allow_empty),
        settings=load_settings(DatasetSettings, settings),
        required=tuple(require) if require else tuple(OPERATORS),
        workers=workers,
    )
    run_and_tell(campaign, as_json)


def _finished_runs(cases: list[Path], h0_dir: Path | None, scf_dir: Path | None, id: str) -> list[FinishedRun]:
    from nextham.dft.abacus.reader import FinishedRun, case_id
    from nextham.exceptions import InputError

    explicit = h0_dir or scf_dir
    if bool(cases) == bool(explicit):
        raise InputError("give run folders or archives, or --h0-dir and --scf-dir of one structure")
    if explicit:
        return [FinishedRun(id or case_id(explicit), h0_dir=h0_dir, scf_dir=scf_dir)]
    if id and len(cases) > 1:
        raise InputError(f"--id names one structure, but {len(cases)} runs are given; leave it out")
    if missing := [case for case in cases if not case.exists()]:
        raise InputError(f"there is no {missing[0]}")
    return [FinishedRun(id or case_id(case), case=case) for case in cases]

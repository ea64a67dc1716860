"""The commands ``h0`` and ``scf``: crystals through a DFT program to a store."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextham.cli._summary import print_summary

if TYPE_CHECKING:
    from nextham.campaign import EngineSettings, Task
    from nextham.dft.engine import Engine

_TEXTS = {
    "h0": "Compute S(R) and the zeroth-step Hamiltonian H0(R) of crystals, without self-consistency.",
    "scf": "Compute S(R), H0(R) and the self-consistent H(R) of crystals.",
}


class EngineName(StrEnum):
    """DFT programs that can be driven."""

    ABACUS = "abacus"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, text in _TEXTS.items():
        app.command(name, help=text)(_command(name))


def _command(name: str) -> Callable[..., None]:
    def command(  # noqa: PLR0913, PLR0917  (options)
        structures: Annotated[
            list[Path], typer.Argument(help="Files (.cif, .vasp, .extxyz, POSCAR, STRU), or folders that hold them.")
        ],
        output: Annotated[Path, typer.Option("--output", "-o", help="The store to write.")],
        engine: Annotated[EngineName, typer.Option(help="The DFT program.")] = EngineName.ABACUS,
        settings: Annotated[
            str | None,
            typer.Option("--settings", help="YAML file, or YAML/JSON text; sections abacus, store and checks."),
        ] = None,
        runs: Annotated[Path | None, typer.Option(help="Folder of the runs; by default OUTPUT.runs.")] = None,
        keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Keep the runs of stored structures.")] = False,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
        allow_empty: Annotated[
            bool, typer.Option("--allow-empty", help="Write a store even if every structure failed.")
        ] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the inputs and run nothing.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        from nextham.campaign import EngineSettings, RunFolders, Target, Task, run_structures
        from nextham.console import load_settings
        from nextham.structures.files import structure_files

        files = structure_files(structures)
        chosen = load_settings(EngineSettings, settings)
        if dry_run:
            _print_inputs(files, Task(name), chosen, as_json)
            return
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that running jobs are ended too
        folders = RunFolders(runs or output.with_name(f"{output.name}.runs"), keep_runs)
        target = Target(output, overwrite, allow_empty)
        program = _program(engine, chosen)
        summary = run_structures(files, program, target, task=Task(name), runs=folders, settings=chosen)
        print_summary(summary, as_json)

    return command


def _program(name: EngineName, settings: EngineSettings) -> Engine:
    """Return the engine of a name; another DFT program is another line here."""
    from nextham.dft.abacus.driver import AbacusEngine

    engine = {EngineName.ABACUS: lambda: AbacusEngine(settings.abacus)}[name]()
    typer.echo(f"{engine.build}", err=True)
    return engine


def _print_inputs(files: list[Path], task: Task, settings: EngineSettings, as_json: bool) -> None:
    """Print the inputs that each run would get.

    Raises:
        InputError: if none can be made.
    """
    from nextham.campaign import Task, load_structures
    from nextham.core import Structure
    from nextham.dft.abacus.inputs import Task as Run
    from nextham.dft.abacus.inputs import make_inputs
    from nextham.dft.abacus.settings import H0Route
    from nextham.exceptions import InputError, NexthamError

    h0 = Run.SCF1 if settings.abacus.h0_route is H0Route.SCF1 else Run.GET_HS
    runs = [h0] if task is Task.H0 else [h0, Run.SCF]
    found: dict[str, dict[str, object]] = {}
    problems: dict[str, str] = {}
    for id, structure in load_structures(files):
        try:
            if not isinstance(structure, Structure):
                raise structure
            made = {run.value: make_inputs(structure, settings.abacus, run, id=id) for run in runs}
        except NexthamError as error:
            problems[id] = str(error)
            continue
        found[id] = {run: {**inputs.texts, "sha256": inputs.sha256} for run, inputs in made.items()}
        if not as_json:
            for run, inputs in made.items():
                typer.echo(f"=== {id}: {run}\n{inputs}")
    if as_json:
        typer.echo(json.dumps({"inputs": found, "problems": problems}, indent=1))
    for problem in () if as_json else problems.values():
        typer.echo(f"failed: {problem}")
    if not found:
        raise InputError(f"no inputs could be made; the first reason: {next(iter(problems.values()))}")

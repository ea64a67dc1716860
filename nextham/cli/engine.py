"""The commands ``h0`` and ``scf``: crystals through an engine to a store."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from nextham.cli._summary import run_and_tell

if TYPE_CHECKING:
    from nextham.campaign import EngineSettings, Task
    from nextham.core import Structure
    from nextham.dft.engine import Engine
    from nextham.dft.species.source import SpeciesSource

    Descriptions = dict[str, tuple[str, dict[str, object]]]  # run: its text, and the same as JSON values
    Describe = Callable[[EngineSettings, SpeciesSource, Task, Structure, str], Descriptions]

_TEXTS = {
    "h0": "Compute S(R) and the zeroth-step Hamiltonian H0(R) of crystals, without self-consistency.",
    "scf": "Compute S(R), H0(R) and the self-consistent H(R) of crystals.",
}


class EngineName(StrEnum):
    """What can compute; each has a section of its name in the settings."""

    LCAO = "lcao"
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
        engine: Annotated[
            EngineName, typer.Option(help="lcao, the embedded engine, or a DFT program.")
        ] = EngineName.LCAO,
        settings: Annotated[
            str | None,
            typer.Option(
                "--settings", help="YAML file, or YAML/JSON text; sections species, lcao, abacus, store and checks."
            ),
        ] = None,
        species: Annotated[
            str | None,
            typer.Option(help="embedded (lcao's default), or a folder locked by nextham species lock."),
        ] = None,
        species_lock: Annotated[
            Path | None, typer.Option(help="Lock of that folder; by default species.lock.json in it.")
        ] = None,
        pseudo_dir: Annotated[
            Path | None, typer.Option(help="Folder with one UPF file per element, instead of --species.")
        ] = None,
        orbital_dir: Annotated[Path | None, typer.Option(help="Folder with one .orb file per element.")] = None,
        kspacing: Annotated[
            float | None, typer.Option(min=0.001, help="Largest distance of k points of the SCF, 1/Bohr.")
        ] = None,
        workers: Annotated[
            int,
            typer.Option(
                min=1, help="Crystals at a time, each in a process with its share of cores; max_memory_gb is for each."
            ),
        ] = 1,
        runs: Annotated[
            Path | None,
            typer.Option(help="Folder of the runs, from which an interrupted command goes on; by default OUTPUT.runs."),
        ] = None,
        keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Keep the runs of stored structures.")] = False,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
        allow_empty: Annotated[
            bool, typer.Option("--allow-empty", help="Write a store even if every structure failed.")
        ] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be run, and run nothing.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        from nextham.campaign import Computation, RunFolders, Target, Task, run_structures
        from nextham.structures.files import structure_files

        files = structure_files(structures)
        options = {**folders_of(pseudo_dir, orbital_dir), **_mesh(kspacing)}
        chosen, source = chosen_engine(settings, engine, options, (species, species_lock))
        if dry_run:
            _print_inputs(files, partial(_DESCRIBE[engine], chosen, source, Task(name)), as_json)
            return
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that running jobs are ended too
        folders = RunFolders(runs or output.with_name(f"{output.name}.runs"), keep_runs)
        how = Computation(Task(name), folders, workers)
        program = engine_of(engine, chosen, source)
        target = Target(output, overwrite, allow_empty)
        run_and_tell(lambda: run_structures(files, program, target, how, settings=chosen), as_json)

    return command


def chosen_engine(
    settings: str | None, engine: EngineName, options: dict[str, object], species: tuple[str | None, Path | None]
) -> tuple[EngineSettings, SpeciesSource]:
    """Return what the options of a command choose: settings, and where the species come from.

    Args:
        settings: YAML file, or YAML/JSON text.
        engine: what computes.
        options: keys of the engine's section that win over the settings.
        species: source and lock.

    Raises:
        InputError: if settings or options make no sense, or species are not there.
    """
    from nextham.campaign import EngineSettings
    from nextham.console import load_settings
    from nextham.dft.species.source import open_source

    chosen = _with_options(load_settings(EngineSettings, settings), engine, options)
    chosen = _with_species(chosen, *species)
    return chosen, open_source(chosen.species, getattr(chosen, engine))


def folders_of(pseudo_dir: Path | None, orbital_dir: Path | None) -> dict[str, object]:
    """Return the folders of species as keys of an engine's section."""
    return {"pseudo_dir": pseudo_dir and str(pseudo_dir), "orbital_dir": orbital_dir and str(orbital_dir)}


def _mesh(kspacing: float | None) -> dict[str, object]:
    return {} if kspacing is None else {"kspacing_inv_bohr": kspacing, "kmesh": None}


def _with_options(settings: EngineSettings, engine: EngineName, options: dict[str, object]) -> EngineSettings:
    """Return the settings with the options in the engine's section.

    Raises:
        InputError: if only another engine has a section: it would be computed otherwise than was meant.
    """
    from nextham.exceptions import InputError

    others = settings.model_fields_set & (set(EngineName) - {engine})
    if others and engine not in settings.model_fields_set:
        other = min(others)
        raise InputError(
            f"the settings have a section {other}, but the engine is {engine.value}: add --engine {other}, "
            f"or a section {engine.value} ({engine.value}: {{}} for its defaults)"
        )
    given = {key: value for key, value in options.items() if value is not None or key == "kmesh"}
    section = getattr(settings, engine).model_copy(update=given)
    return settings.model_copy(update={engine.value: section})


def _with_species(settings: EngineSettings, source: str | None, lock: Path | None) -> EngineSettings:
    """Return the settings with the species of the options; a folder of the options has its own lock."""
    if source is None and lock is None:
        return settings
    given = {"source": source or settings.species.source, "lock": lock and str(lock)}
    return settings.model_copy(update={"species": settings.species.model_copy(update=given)})


def engine_of(name: EngineName, settings: EngineSettings, species: SpeciesSource) -> Engine:
    """Return the engine of a name; another DFT program is another branch here and a line in _DESCRIBE."""
    if name is EngineName.LCAO:
        from nextham.dft.lcao.engine import LCAOEngine

        return LCAOEngine(settings.lcao, species)
    from nextham.dft.abacus.driver import AbacusEngine

    engine = AbacusEngine(settings.abacus, species)
    typer.echo(f"{engine.build}", err=True)
    return engine


def _print_inputs(files: list[Path], describe: Callable[[Structure, str], Descriptions], as_json: bool) -> None:
    """Print what each run would be.

    Raises:
        InputError: if none could be started.
    """
    from nextham.campaign import load_structures
    from nextham.core import Structure
    from nextham.exceptions import InputError, NexthamError

    found: dict[str, dict[str, object]] = {}
    problems: dict[str, str] = {}
    for id, structure in load_structures(files):
        try:
            if not isinstance(structure, Structure):
                raise structure
            made = describe(structure, id)
        except NexthamError as error:
            problems[id] = str(error)
            continue
        found[id] = {run: facts for run, (_, facts) in made.items()}
        if not as_json:
            for run, (text, _) in made.items():
                typer.echo(f"=== {id}: {run}\n{text}")
    if as_json:
        typer.echo(json.dumps({"inputs": found, "problems": problems}, indent=1))
    for problem in () if as_json else problems.values():
        typer.echo(f"failed: {problem}")
    if not found:
        raise InputError(f"no inputs could be made; the first reason: {next(iter(problems.values()))}")


def _abacus_inputs(
    settings: EngineSettings, species: SpeciesSource, task: Task, structure: Structure, id: str
) -> Descriptions:
    from nextham.campaign import Task as Wanted
    from nextham.dft.abacus.inputs import Task as Run
    from nextham.dft.abacus.inputs import make_inputs
    from nextham.dft.abacus.settings import H0Route

    h0 = Run.SCF1 if settings.abacus.h0_route is H0Route.SCF1 else Run.GET_HS
    runs = [h0] if task is Wanted.H0 else [h0, Run.SCF]
    made = {run.value: make_inputs(structure, settings.abacus, run, species=species, id=id) for run in runs}
    return {run: (str(inputs), {**inputs.texts, "sha256": inputs.sha256}) for run, inputs in made.items()}


def _lcao_plan(
    settings: EngineSettings, species: SpeciesSource, task: Task, structure: Structure, id: str
) -> Descriptions:
    from nextham.campaign import Task as Wanted
    from nextham.dft.lcao.plan import make_plan

    plan = make_plan(structure, settings.lcao, species, id=id, scf=task is Wanted.SCF)
    return {task.value: (str(plan), plan.facts())}


_DESCRIBE: Final[dict[EngineName, Describe]] = {EngineName.LCAO: _lcao_plan, EngineName.ABACUS: _abacus_inputs}

"""The commands ``nextham campaign ...``: what the workflow calls, and what people ask while it runs."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextham.cli import _status, engine

if TYPE_CHECKING:
    from nextham.campaign.assignment import Assignment
    from nextham.campaign.chunk import Work
    from nextham.campaign.plan import Plan
    from nextham.config import Config

app = typer.Typer(
    help="A campaign: thousands of structures in chunks, each a job that may be killed.", no_args_is_help=True
)
Results = Annotated[Path, typer.Argument(help="Results folder of the workflow.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app, name="campaign")


@app.command("plan")
def plan(
    results: Results,
    config: Annotated[
        Path | None, typer.Option(help="Config file; by default what the workflow wrote when it began.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read the structures, estimate what each costs, and divide them into chunks of about equal length."""
    from nextham.campaign.folder import write_json
    from nextham.exceptions import InputError

    chosen = _config(results, config)
    if chosen.source.kind == "stores":
        raise InputError("source.kind is stores: these are finished, so there is nothing to plan; run the workflow")
    work = chosen.work()
    source = [str(work.folder.crystals)] if chosen.source.built else chosen.source.items()
    found = work.make_plan(source)
    if config is not None:  # one that was refused is not the campaign's
        write_json(work.folder.config, chosen.all_set())
    _print_plan(found, as_json)


@app.command("compute")
def compute(
    results: Results,
    chunk: Annotated[str, typer.Argument(help="Name of a chunk of the plan, e.g. 00012.")],
    cores: Annotated[int, typer.Option(min=1, help="Cores that it may use.")] = 1,
) -> None:
    """Compute what is left of a chunk and write its store; it may be killed and started again at any time."""
    from nextham.campaign.chunk import compute as run

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that running jobs are ended too
    os.environ.setdefault("OMP_NUM_THREADS", str(cores))  # what its processes share
    work = _config(results).work()
    row = work.plan[chunk]
    threads = work.shape.threads
    tasks = max(1, min(row.tasks, cores // threads))
    at_a_time = 1 if row.tasks > 1 else max(1, min(row.n, cores // threads))
    done = run(work.plan, chunk, _work(work, tasks), work.campaign, workers=at_a_time)
    typer.echo(str(done))


@app.command("pack")
def pack(
    results: Results,
    output: Annotated[Path, typer.Option("--output", "-o", help="The store to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
) -> None:
    """Put the stores of all chunks into one, number by number, with the ledger of their structures."""
    from nextham.data.store import Store, merge_stores

    work = _config(results).work()
    stores = [work.folder.store(name) for name in work.plan]
    merge_stores(stores, output, settings=work.settings.store, overwrite=overwrite)
    typer.echo(f"{output}: {len(Store(output))} structures from {len(stores)} chunks")


@app.command("status")
def status(
    results: Results,
    chunks: Annotated[bool, typer.Option("--chunks", help="A line for each chunk, too.")] = False,
    as_json: Json = False,
) -> None:
    """Say where a campaign stands: structures by state and cause, yield of elements, speed, time left, room."""
    from nextham.campaign.status import status_of

    work = _config(results).work()
    found = status_of(work.plan, max_attempts=work.campaign.max_attempts)
    if as_json:
        typer.echo(json.dumps(found.facts(), indent=1, ensure_ascii=False))
    else:
        _status.print_status(found, work.campaign, chunks=chunks)


@app.command("retry")
def retry(
    results: Results,
    ids: Annotated[list[str] | None, typer.Argument(help="Structures; by default all in quarantine.")] = None,
    cause: Annotated[list[str] | None, typer.Option(help="Only those that failed by this; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Have structures in quarantine tried again by the next run of the workflow, with the settings it then has."""
    from nextham.campaign.asking import retry as ask

    work = _config(results).work()
    found = ask(work.plan, ids=ids or (), causes=cause or (), max_attempts=work.campaign.max_attempts)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        typer.echo(f"{len(found)} structures will be tried again" + (": run the workflow" if found else ""))


@app.command("restart")
def restart(results: Results) -> None:
    """Set everything that was computed aside, so that the campaign begins again, e.g. with another recipe."""
    from nextham.campaign.asking import set_aside
    from nextham.campaign.folder import CampaignFolder

    typer.echo(f"chunks, plan and ledgers are in {set_aside(CampaignFolder(results))}; delete it if they are of no use")


def _config(results: Path, file: Path | None = None) -> Config:
    """Return the config of a file, or the one that the workflow of a results folder wrote.

    Raises:
        InputError: if there is none, or it cannot be used.
    """
    from nextham.campaign.folder import CampaignFolder, read_json
    from nextham.config import Config
    from nextham.console import read_yaml

    if file is not None:
        values, where = read_yaml(file, "config file"), str(file)
    else:
        path = CampaignFolder(results).config
        values, where = read_json(path, mend="start the workflow, or give --config to nextham campaign plan"), str(path)
    return Config.parse({**values, "results": str(results)}, where=where)


def _work(work: Assignment, tasks: int) -> Work:
    """Return how the structures of a chunk become systems.

    Raises:
        InputError: if the engine is not there, or of another version than the campaign's.
    """
    from nextham.campaign import DatasetSettings, Rules, Task
    from nextham.campaign.recipe import check_version, read_recipe
    from nextham.campaign.work import Calculations, Imports
    from nextham.dft.species.source import open_source

    work.check()
    settings = DatasetSettings(store=work.settings.store, checks=work.settings.checks)
    recipe = read_recipe(work.folder) or work.recipe
    if not work.engine:
        return Imports(recipe, Rules("import", settings))
    species = open_source(work.settings.species, work.recipe_settings)
    chosen = work.settings.model_copy(update={"abacus": work.settings.abacus.with_tasks(tasks)})
    program = engine.engine_of(engine.EngineName(work.engine), chosen, species)
    check_version(work.folder, work.engine, program.version, mixed=work.campaign.mixed_versions)
    return Calculations(program, recipe, Rules(Task.SCF.value, settings), program.version)


def _print_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({name: {**vars(plan[name])} for name in plan}, indent=1))
        return
    rows = [plan[name] for name in plan]
    n, hours = sum(row.n for row in rows), sum(row.cost_s for row in rows) / 3600
    alone = sum(row.n == 1 for row in rows)
    longest = max((row.minutes for row in rows), default=0.0)
    typer.echo(
        f"{plan.folder.plan}: {n} structures in {len(rows)} chunks ({alone} of one structure), about {hours:.1f} core "
        f"hours, the longest job about {longest:.0f} minutes"
    )

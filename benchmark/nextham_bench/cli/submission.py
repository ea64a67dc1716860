"""The commands ``template``, ``seal``, ``validate`` and ``unpack``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(metavar="SUBMISSION", help="Folder with card.yml and prediction/, or a card.")]
Prediction = Annotated[
    Path | None, typer.Option(help="The prediction store, if it is not the folder prediction beside the card.")
]
Split = Annotated[Path | None, typer.Option(help="Split file; without it the whole dataset is meant.")]
Subset = Annotated[str, typer.Option(help="Which part of the split.")]


class OperatorName(StrEnum):
    """What a prediction holds."""

    CORRECTION = "correction"
    HAMILTONIAN = "hamiltonian"


class SpinName(StrEnum):
    """Which Pauli components a prediction has."""

    SCALAR = "scalar"
    TIME_REVERSAL = "time-reversal"
    FULL = "full"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (template, seal, validate, unpack):
        app.command()(command)


def template(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    reference: Annotated[
        Path | None, typer.Option(help="Dataset to predict; H itself is not needed. Without it: card and README alone.")
    ] = None,
    split: Split = None,
    subset: Subset = "test",
    operator: Annotated[
        OperatorName, typer.Option(help="What is predicted: the **correction** H - H0 or the **hamiltonian**.")
    ] = OperatorName.CORRECTION,
    spin: Annotated[
        SpinName | None,
        typer.Option(help="Pauli components of the numbers; by default those that the dataset needs."),
    ] = None,
) -> None:
    """Write an empty submission: a card to fill in, and a store that lacks nothing but the predicted numbers."""
    from nextham.core import SpinLayout
    from nextham_bench.submission.template import Template, write_template

    wanted = Template(
        reference=reference,
        split=split,
        subset=subset,
        operator=operator.value,
        spin=None if spin is None else SpinLayout(spin.value),
    )
    n = write_template(output, wanted)
    typer.echo(f"{output}: card.yml, README.md" + (f" and a store for {n} structures" if n else ""))


def seal(submission: Folder, prediction: Prediction = None) -> None:
    """Write checksums of the numbers that a prediction store now holds, and their sha256 into the card."""
    from nextham_bench.submission.folder import Submission
    from nextham_bench.submission.seal import seal as sealed

    found = Submission.at(submission, prediction)
    done = sealed(found)
    typer.echo(f"{found.prediction}: {done.n_structures} structures, sha256 {done.sha256}")
    typer.echo(f"{found.card}: " + ("sha256 written" if done.in_card else "put the sha256 under predictions"))


def validate(  # noqa: PLR0913, PLR0917  # a command line's options are its arguments
    submission: Folder,
    reference: Annotated[Path, typer.Option(help="The dataset that was predicted.")],
    prediction: Prediction = None,
    split: Split = None,
    subset: Subset = "test",
    every: Annotated[bool, typer.Option("--all", help="Read the numbers of every structure, not of a sample.")] = False,
    sample: Annotated[int, typer.Option(min=1, help="How many structures the sample has.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a submission, offline and in seconds: card, ids, atoms, basis, pairs, numbers, units, checksums."""
    import dataclasses
    import json

    from nextham_bench.submission.folder import Submission
    from nextham_bench.submission.validate import Request
    from nextham_bench.submission.validate import validate as validated

    found = validated(
        Request(
            submission=Submission.at(submission, prediction),
            reference=reference,
            split=split,
            subset=subset,
            sample=None if every else sample,
        )
    )
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=False))
    else:
        for problem in found.problems:
            typer.echo(f"problem: {problem}")
        for remark in found.remarks:
            typer.echo(f"note: {remark}")
        if found.sha256:
            typer.echo(f"prediction sha256: {found.sha256}")
        if not found.problems:
            typer.echo(f"{submission}: {found.n_structures} structures, nothing wrong; nextham-bench score comes next")
    if found.problems:
        raise typer.Exit(1)


def unpack(
    archive: Annotated[Path, typer.Argument(help="A .zip or .tar archive of a submission.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
) -> None:
    """Unpack an archive from a stranger: plain files inside its own folder, of a size that data has."""
    from nextham_bench.submission.archive import unpack as unpacked

    unpacked(archive, output)
    typer.echo(f"{output}: unpacked")

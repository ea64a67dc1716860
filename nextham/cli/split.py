"""The command ``split``: which structures train, validate and test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nextham.data.settings import SplitSettings
    from nextham.data.splits import Split
    from nextham.splitting import Dataset

_MOST_NAMED = 10  # ids that are printed; all of them are in the split file
_INDEX = "index.json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("split")(split)


def split(  # noqa: PLR0913, PLR0917  (options)
    store: Annotated[str, typer.Argument(help="A store: a folder, or an address (https, s3, hf).")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The JSON file to write; a folder for one file per element.")
    ],
    settings: Annotated[
        str | None, typer.Option("--settings", help="YAML file, or YAML/JSON text: the keys of split.")
    ] = None,
    family: Annotated[
        list[str] | None,
        typer.Option(
            help="random, ood-element, ood-prototype, ood-size, ood-heavy or ood-strain; may be repeated. ood-element "
            "with a folder as output leaves out one element after the other."
        ),
    ] = None,
    ood_basis: Annotated[
        Path | None, typer.Option(help="A store of another orbital basis, for the list ood-basis.")
    ] = None,
    ood_engine: Annotated[Path | None, typer.Option(help="A store of another engine, for the list ood-engine.")] = None,
    train: Annotated[Path | None, typer.Option(help="Text file with the ids of the list train, one a line.")] = None,
    val: Annotated[Path | None, typer.Option(help="... of the list val.")] = None,
    test: Annotated[Path | None, typer.Option(help="... of the list test.")] = None,
    shorten: Annotated[
        Path | None, typer.Option(help="Draw no split, but take a part of this one's list train: --size structures.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="With --shorten: how many structures stay.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a split that leaks: nothing is written, and the pairs are named.")
    ] = False,
    audit: Annotated[bool, typer.Option(help="Look for structures that stand in two lists.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Divide the structures of a store: at random, by lists of ids, or with lists outside the distribution.

    Example: nextham split STORE -o split.json --family ood-heavy --family ood-size

    Example: nextham split STORE -o elements/ --family ood-element

    Example: nextham split STORE -o split.json --train train.txt --val val.txt --test test.txt
    """
    from nextham.data.store import Store
    from nextham.exceptions import InputError
    from nextham.splitting import ELEMENT, Dataset, split_of, with_families

    files = {name: path for name, path in (("train", train), ("val", val), ("test", test)) if path is not None}
    chosen = _chosen(settings, files, strict=strict, audit=audit)
    opened = Store(store)
    if shorten is not None or size is not None:
        _tell({output: _shortened(opened, shorten, size, chosen)}, dry_run=dry_run, as_json=as_json)
        return
    families = tuple(family or ())
    if ELEMENT in families and output.suffix != ".json":
        if more := [name for name in families if name not in (ELEMENT, "random")]:
            raise InputError(f"the family {ELEMENT} in a folder goes alone, not with {', '.join(more)}")
        _leave_one_out(Dataset(opened), chosen, output, dry_run=dry_run, as_json=as_json)
        return
    if ELEMENT in families and not chosen.held_out.elements:
        raise InputError(
            f"{output}: {ELEMENT} without an element leaves out one after the other, a file for each: name a folder, "
            'or an element with --settings "held_out: {elements: [Ne]}"'
        )
    others = {
        name: Store(path) for name, path in (("ood-basis", ood_basis), ("ood-engine", ood_engine)) if path is not None
    }
    made = split_of(Dataset(opened), with_families(chosen, families), others=others)
    _tell({output: made}, dry_run=dry_run, as_json=as_json)


def _chosen(settings: str | None, files: dict[str, Path], *, strict: bool, audit: bool) -> SplitSettings:
    from nextham.console import load_settings
    from nextham.data.settings import SplitSettings

    chosen = load_settings(SplitSettings, settings)
    update: dict[str, Any] = {"strict": chosen.strict or strict, "audit": chosen.audit and audit}
    if files:
        update["id_files"] = {**chosen.id_files, **files}
    return chosen.model_copy(update=update)


def _shortened(store: Any, shorten: Path | None, size: int | None, chosen: SplitSettings) -> Split:
    from nextham.data.draw import shortened
    from nextham.data.splits import Split
    from nextham.exceptions import InputError

    if shorten is None or size is None:
        raise InputError("--shorten and --size belong together; give both or neither")
    whole = Split.load(shorten).checked(store.ids, str(store.path))
    return shortened(whole, "train", size, manifest=store.manifest, seed=chosen.seed)


def _leave_one_out(dataset: Dataset, chosen: SplitSettings, folder: Path, *, dry_run: bool, as_json: bool) -> None:
    """Write a split file for each element, and an index of them with what could not be left out."""
    from nextham.files import whole
    from nextham.splitting import leave_one_element_out

    found, problems = leave_one_element_out(dataset, chosen)
    files = {folder / f"{element}.json": made for element, made in found.items()}
    _tell(files, dry_run=dry_run, as_json=as_json, problems=problems)
    if not dry_run:
        sizes = {element: _sizes(made) for element, made in found.items()}
        with whole(folder / _INDEX) as part:
            part.write_text(json.dumps({"elements": sizes, "without": problems}, indent=1, ensure_ascii=False) + "\n")


def _tell(files: dict[Path, Split], *, dry_run: bool, as_json: bool, problems: dict[str, str] | None = None) -> None:
    if not dry_run:
        for path, made in files.items():
            made.save(path)
    if as_json:
        facts = {str(path): _facts(made) for path, made in files.items()}
        typer.echo(json.dumps({"files": facts, "problems": problems or {}}, indent=1, ensure_ascii=False))
        return
    for path, made in files.items():
        typer.echo(f"{path}: " + ", ".join(f"{name} {n}" for name, n in _sizes(made).items()))
        for line in [*_left_out(made), *(made.audit.lines() if made.audit is not None else ())]:
            typer.echo(line)
    for element, problem in (problems or {}).items():
        typer.echo(f"no split without {element}: {problem}")


def _sizes(made: Split) -> dict[str, int]:
    return {name: len(ids) for name, ids in made.ids.items()}


def _facts(made: Split) -> dict[str, Any]:
    audit = made.audit and made.audit.as_dict()
    return {"lists": _sizes(made), "sha256": made.sha256, "about": dict(made.about), "audit": audit}


def _left_out(made: Split) -> list[str]:
    """Return what is told of ids of lists that were not taken as they were."""
    lines = []
    for what, words in (("missing", "not in the store"), ("repeated", "listed more than once")):
        for name, ids in made.about.get(what, {}).items():
            more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
            lines.append(f"{len(ids)} ids of {name} are {words}: {' '.join(ids[:_MOST_NAMED])}{more}")
    return lines

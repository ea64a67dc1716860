"""``nextham publish`` and ``nextham download``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextham.console import size_text

if TYPE_CHECKING:
    from nextham.data.publish import Published
    from nextham.data.selection import Plan

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(publish)
    app.command()(download)


def publish(  # noqa: PLR0913, PLR0917  (one argument per option)
    store: Annotated[Path, typer.Argument(help="A store of this machine.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")],
    card: Annotated[
        str | None,
        typer.Option(help="YAML file or text: name, title, description, license, authors, version, url, doi, date."),
    ] = None,
    split: Annotated[list[Path] | None, typer.Option(help="A split file to publish with it; may be repeated.")] = None,
    license_file: Annotated[Path | None, typer.Option(help="Text of the data's licence, becomes LICENSE.")] = None,
    ledger: Annotated[
        bool, typer.Option("--ledger/--no-ledger", help="Publish what failed and why; may quote local paths.")
    ] = True,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the shards; by default they are hard links.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder if it exists.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes that check the store first.")] = 1,
    as_json: Json = False,
) -> None:
    """Make a folder that any web host, S3 or the Hugging Face hub can serve.

    It holds the shards, the manifest, checksums of every file (SHA256SUMS, files.json), a data card (README.md),
    croissant.json, CITATION.cff and LICENSE. Nothing is uploaded.
    """
    from nextham.console import load_settings
    from nextham.data.cards import CardSettings
    from nextham.data.publish import Request
    from nextham.data.publish import publish as published
    from nextham.data.store import Store

    settings = load_settings(CardSettings, card)
    request = Request(
        output,
        settings,
        splits=tuple(split or ()),
        license_file=license_file,
        ledger=ledger,
        copy=copy,
        overwrite=overwrite,
        jobs=jobs,
    )
    found = published(Store(store), request)
    if as_json:
        facts = {"output": str(output), "files": len(found.index.all_files), "bytes": found.index.size}
        typer.echo(json.dumps(facts | {"shards": len(found.index.shards), "files_sha256": found.sha256}, indent=1))
        return
    _tell_published(output, found, settings.url)
    if not settings.license and license_file is None:
        typer.echo("no licence is named, so nobody may reuse the data: --card 'license: CC-BY-4.0'", err=True)


def _tell_published(output: Path, found: Published, url: str) -> None:
    index = found.index
    count = f"{len(index.shards)} shard{'s' * (len(index.shards) != 1)}"
    typer.echo(f"{output}: {count}, {len(index.all_files)} files, {size_text(index.size)}")
    typer.echo(f"sha256 of files.json, for --sha256 of nextham download: {found.sha256}")
    repo = url.removeprefix("hf://datasets/") if url.startswith("hf://") else "ORGANISATION/NAME"
    typer.echo(f"to the Hugging Face hub: hf upload {repo} {output} . --repo-type dataset")
    typer.echo(f"to try it here: python -m http.server --directory {output}")


def download(  # noqa: PLR0913, PLR0917  (one argument per option)
    source: Annotated[
        str, typer.Argument(help="https://..., s3://..., hf://datasets/ORGANISATION/NAME[@REVISION], or a folder.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The store to make, or to complete and mend.")],
    split: Annotated[str | None, typer.Option(help="Split file, or the name of one that the dataset has.")] = None,
    subset: Annotated[str | None, typer.Option(help="List of the split, such as test.")] = None,
    ids: Annotated[str | None, typer.Option(help="Ids, separated by commas, or @FILE with one a line.")] = None,
    elements: Annotated[str | None, typer.Option(help="Structures of these elements alone, such as Bi,Se.")] = None,
    fields: Annotated[
        str | None, typer.Option(help="Operators: overlap,h0,hamiltonian,correction; by default all.")
    ] = None,
    max_gb: Annotated[
        float | None, typer.Option("--max-gb", min=0.0, help="The first structures that have room in so much.")
    ] = None,
    sha256: Annotated[str, typer.Option(help="Refuse another dataset than this: the sha256 of its files.json.")] = "",
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Files at the same time.")] = 8,
    retries: Annotated[int, typer.Option(min=0, help="Attempts without progress, after the first.")] = 5,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a store of another selection or dataset.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be fetched, and fetch nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch a published store, or a part of it: parallel, resumable, verified.

    The same command again goes on where it was interrupted; of a complete store it checks every file and fetches
    again what is missing or damaged.
    """
    from nextham.data.download import Request, plan
    from nextham.data.download import download as downloaded
    from nextham.data.patience import Patience
    from nextham.data.selection import Selection
    from nextham.data.transfer import Traffic

    selection = Selection(
        split=split or "",
        subset=subset or "",
        ids=_ids(ids),
        elements=_words(elements),
        fields=_words(fields),
        max_gb=max_gb,
    )
    request = Request(source=source, out=output, selection=selection, sha256=sha256, jobs=jobs, overwrite=overwrite)
    traffic = Traffic(patience=Patience(retries=retries))
    if dry_run:
        _print_plan(plan(request, traffic), as_json)
        return
    report = downloaded(request, traffic)
    if as_json:
        typer.echo(json.dumps(vars(report), indent=1))
        return
    for name in report.mended:
        typer.echo(f"mended: {name}")
    kept = f", {size_text(report.bytes_kept)} were here" if report.bytes_kept else ""
    again = f", {report.retries} attempts failed on the way" if report.retries else ""
    typer.echo(
        f"{output}: {report.structures} structures, all checksums agree; {size_text(report.bytes_received)} fetched in "
        f"{report.seconds:.1f} s{kept}{again}"
    )


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())


def _ids(text: str | None) -> tuple[str, ...] | None:
    from nextham.data.splits import read_ids

    return read_ids(Path(text[1:])) if text is not None and text.startswith("@") else _words(text)


def _print_plan(found: Plan, as_json: bool) -> None:
    whole = [shard for shard in found.shards if shard.rows is None]
    facts = {
        "source": str(found.source.root),
        "files_sha256": found.source.sha256,
        "structures": len(found.ids),
        "of": len(found.source.manifest),
        "operators": found.identity["operators"],
        "whole_shards": len(whole),
        "partial_shards": len(found.shards) - len(whole),
        "files": len(found.files),
        "bytes_to_fetch": found.traffic,
        "bytes_on_disk": found.size,
    }
    if as_json:
        shards = [
            {"name": each.entry.name, "structures": len(each.ids), "whole": each.rows is None, "bytes": each.traffic}
            for each in found.shards
        ]
        typer.echo(json.dumps(facts | {"shards": shards}, indent=1))
        return
    about = "" if len(whole) == len(found.shards) else "about "
    typer.echo(f"{facts['structures']} of {facts['of']} structures of {facts['source']}")
    for each in found.shards:
        how = "whole" if each.rows is None else f"{len(each.ids)} of {each.entry.structures} structures"
        typer.echo(f"  {each.entry.name}  {how}, {'' if each.rows is None else 'about '}{size_text(each.traffic)}")
    typer.echo(f"to fetch: {about}{size_text(found.traffic)}; on disk afterwards: {about}{size_text(found.size)}")

"""``nextham explain``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nextham.predict.explain import Explanation

_TITLES = {
    "distance": "correction by distance",
    "shells": "correction by pair of shells",
    "size": "error by the size of H - H0",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(  # noqa: PLR0913  (options)
    *,
    store: Annotated[Path, typer.Argument(help="Store with H0 and S; with H too, errors are told.")],
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder, e.g. DIR/best.")],
    split: Annotated[Path | None, typer.Option(help="Split file; explains one of its lists.")] = None,
    subset: Annotated[str, typer.Option(help="Which list of the split.")] = "test",
    id: Annotated[list[str] | None, typer.Option("--id", help="Explain this structure; may be repeated.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Figure to write (.png, .svg, .pdf).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what a model does: attention by distance, where its correction lies, error against the size of H - H0.

    Example: nextham explain STORE --checkpoint run/best --split split.json --plot explained.svg
    """
    from nextham.console import track
    from nextham.data.splits import Split
    from nextham.data.store import Store
    from nextham.exceptions import InputError
    from nextham.model.checkpoint import load
    from nextham.predict.explain import explain as explained
    from nextham.predict.plot import plot_explanation

    network, card = load(checkpoint)
    opened = Store(store)
    card.check_h0(opened.h0_definition, str(store))
    ids = id or (Split.load(split).checked(opened.ids, str(store))[subset] if split else opened.ids)
    if not ids:
        raise InputError(f"there is nothing to explain: {store} or the list of the split is empty")
    found = explained((opened[name] for name in track(ids, "explain")), network)
    if plot is not None:
        plot_explanation(found, plot)
    typer.echo(json.dumps(found.facts(), indent=1) if as_json else _tables(found))


def _tables(found: Explanation) -> str:
    """Return everything as text."""
    n_blocks = len(found.heard)
    names = "".join(f"block {k + 1:<6d}" for k in range(n_blocks))
    lines = [f"{'attention by distance, % of what an atom hears':50s}{names}"]
    attention = found.attention()
    nobody = [1 - sum(column) for column in zip(*attention.values(), strict=True)]
    for label, shares in [*attention.items(), ("nobody", nobody)]:
        lines.append(f"  {label:48s}" + "".join(f"{100 * share:<12.1f}" for share in shares))
    for name in found.sums:
        lines.append(f"\n{_TITLES[name]:30s}{'elements':>12s}{'share %':>10s}{'meV':>10s}")
        lines[-1] += f"{'error meV':>12s}{'of H0 meV':>12s}" if found.labelled else ""
        for label, row in found.rows(name).items():
            lines.append(f"  {label:28s}{row['elements']:12.0f}{row['share_percent']:10.1f}{row['size_mev']:10.3f}")
            lines[-1] += f"{row['error_mev']:12.3f}{row['h0_error_mev']:12.3f}" if found.labelled else ""
    return "\n".join(lines)

"""Publish a store: a folder that any static host or the Hugging Face hub can serve, and nextham download can fetch."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nextham.data.cards import CardSettings, citation, data_card, license_text
from nextham.data.checksums import sha256_of
from nextham.data.croissant import croissant
from nextham.data.index import CARD, CITATION, CROISSANT, LICENSE, SPLIT_NAME, SPLITS, SUMS, FileEntry, Index
from nextham.data.layout import ABOUT, FILES, LEDGER, MANIFEST
from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.data.verify import verify
from nextham.exceptions import InputError
from nextham.files import clear_leftovers, link_or_copy, whole


@dataclass(frozen=True)
class Request:
    """What to publish, and how."""

    out: Path
    card: CardSettings = field(default_factory=CardSettings)
    splits: Sequence[Path] = ()
    license_file: Path | None = None
    ledger: bool = True  # it may quote paths of the machine that ran
    copy: bool = False  # in place of hard links
    overwrite: bool = False
    jobs: int = 1


@dataclass(frozen=True)
class Published:
    """What was published."""

    index: Index
    sha256: str  # of files.json: whoever knows it needs to trust no host


def publish(store: Store, request: Request) -> Published:
    """Write the folder; it appears whole or not at all.

    Raises:
        InputError: if the store is damaged, a split does not fit it, or the folder is something else.
        WriteError: if it cannot be written.
    """
    root, out = store.path, request.out
    if not isinstance(root, Path):
        raise InputError(f"{root} is behind an address already; publish a store of this machine")
    card = request.card if request.card.name else request.card.model_copy(update={"name": out.resolve().name})
    splits = {path.stem: _split(path, store) for path in request.splits}
    if len(splits) < len(request.splits):
        raise InputError("two splits have one file name; rename one")
    if request.license_file is not None and not request.license_file.is_file():
        raise InputError(f"there is no licence {request.license_file}")
    _check_target(out, root, overwrite=request.overwrite)
    if not len(store):
        raise InputError(f"{root} holds no structure; there is nothing to publish")
    if problems := verify(store, jobs=request.jobs):
        raise InputError(f"{root} is damaged, so it is not published: {problems[0]}")
    clear_leftovers(out)
    with whole(out) as part:
        part.mkdir()
        _link(store, root, part, request)
        for path in request.splits:
            _copy(path, part / SPLITS / path.name)
        _write_pages(store, part, card, splits, request.license_file)
        return _write_index(store, part, card)


def _link(store: Store, root: Path, part: Path, request: Request) -> None:
    names = [ABOUT, MANIFEST, *([LEDGER] if request.ledger and (root / LEDGER).is_file() else [])]
    files = [root / name for name in names]
    files += [path for shard in store.shards for path in (root / shard["name"]).rglob("*") if path.is_file()]
    for file in files:
        (_copy if request.copy else link_or_copy)(file, part / file.relative_to(root))


def _write_pages(
    store: Store, part: Path, card: CardSettings, splits: dict[str, Split], license_file: Path | None
) -> None:
    if license_file is not None:
        _copy(license_file, part / LICENSE)
    elif card.license:
        (part / LICENSE).write_text(license_text(card))
    size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
    (part / CITATION).write_text(citation(card))
    (part / CARD).write_text(data_card(store, card, splits, size))
    others = sorted(path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file())
    entries = [FileEntry.of(part, path) for path in others if not path.startswith("shard-")]
    (part / CROISSANT).write_text(croissant(store, card, entries))


def _write_index(store: Store, part: Path, card: CardSettings) -> Published:
    index = Index.of(part, card.name, store.shards)
    (part / FILES).write_text(index.text())
    own = sha256_of(part / FILES)
    (part / SUMS).write_text(index.sums(own))
    return Published(index, own)


def _split(path: Path, store: Store) -> Split:
    if not SPLIT_NAME.fullmatch(path.name):
        raise InputError(f"the split {path.name} needs a name of letters, digits, . _ - that ends in .json")
    return Split.load(path).checked(store.ids, str(store.path))


def _check_target(out: Path, root: Path, *, overwrite: bool) -> None:
    if out.resolve() == root.resolve() or root.resolve() in out.resolve().parents:
        raise InputError(f"{out} is in the store itself; choose a folder beside it")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise InputError(f"{out} exists already; choose another name or pass --overwrite")
    if not (out / FILES).is_file():
        raise InputError(f"{out} is no published store, so it is not overwritten; choose another name")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)

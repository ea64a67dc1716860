"""Sealing a prediction: checksums of what is written, and their sha256 in the card."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nextham.exceptions import InputError
from nextham.files import whole
from nextham_bench.submission.folder import Submission
from nextham_bench.submission.yaml_file import Key, YamlFile


@dataclasses.dataclass(frozen=True)
class Sealed:
    """What was sealed."""

    n_structures: int
    sha256: str
    in_card: bool  # whether the card could take the sha256


def seal(submission: Submission) -> Sealed:
    """Write a prediction store anew with checksums of its numbers, and their sha256 into the card.

    Raises:
        InputError: if a number is missing or NaN; the store then stays as it was.
    """
    from nextham.data.splits import sha256_of_ids
    from nextham.data.store import Store, merge_stores
    from nextham_bench.sources import data_hash

    merge_stores([submission.prediction], submission.prediction, overwrite=True, reseal=True)
    store = Store(submission.prediction)
    digest = data_hash(store, store.ids)
    values = {"sha256": digest, "split_sha256": sha256_of_ids(store.ids)}
    written = [_write_into_card(submission.card, key, value) for key, value in values.items()]
    return Sealed(len(store), digest, all(written))


def _write_into_card(path: Path, name: str, value: str) -> bool:
    """Put a value into the first of ``predictions``, if it has that key; all else in the file stays as it was."""
    file = YamlFile.read(path)
    key: Key = ("predictions", 0, name)
    if key not in file.spans:
        return False
    start, stop = file.spans[key]
    before, after = file.text[:start], file.text[stop:]
    gap = "" if before.endswith(" ") else " "
    pad = "" if not after or after[0] in " \n\r" else " "
    with whole(path) as part:
        part.write_text(f'{before}{gap}"{value}"{pad}{after}', encoding="utf-8")
    if YamlFile.read(path).values["predictions"][0][name] != value:
        raise InputError(f"{path}: predictions.1.{name} could not be written; put {value} there by hand")
    return True

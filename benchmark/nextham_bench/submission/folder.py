"""Where the parts of a submission stand, and which structures it is about."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nextham.exceptions import InputError
from nextham_bench.submission.archive import refuse_archive
from nextham_bench.submission.card import CARD_FILE

if TYPE_CHECKING:
    from nextham.data.store import Store

STORE_FOLDER: Final = "prediction"


@dataclasses.dataclass(frozen=True)
class Submission:
    """A card and a prediction store."""

    card: Path
    prediction: Path

    @classmethod
    def at(cls, path: Path, prediction: Path | None = None) -> Submission:
        """Find the parts of a submission.

        Args:
            path: the submission's folder, or its card.
            prediction: the store, if it does not stand beside the card under the name ``prediction``.

        Raises:
            InputError: if there is no card, or an archive is given.
        """
        refuse_archive(path)
        card = path / CARD_FILE if path.is_dir() else path
        if not card.is_file():
            hint = "; name the card itself, or make one with nextham-bench template" if path.is_dir() else ""
            raise InputError(f"there is no card {card}{hint}")
        store = prediction if prediction is not None else card.parent / STORE_FOLDER
        refuse_archive(store)
        return cls(card, store)


def chosen_ids(reference: Store, split: Path | None, subset: str) -> tuple[list[str], str]:
    """Return the ids that a submission must predict, and their sha256.

    Raises:
        InputError: if the split is of another dataset or has no such subset.
    """
    from nextham.data.splits import Split, sha256_of_ids

    if split is None:
        return list(reference.ids), sha256_of_ids(reference.ids)
    ids = list(Split.load(split).checked(reference.ids, str(reference.path))[subset])
    if not ids:
        raise InputError(f"the subset {subset} of {split} is empty")
    return ids, sha256_of_ids(ids)

"""The training log: one CSV row per epoch, and one line per validation for people."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

COLUMNS: Final = (
    "epoch",
    "steps",
    "seconds",
    "learning_rate",
    "train_mev",
    "trace",
    "p_mev",
    "pq_mev",
    "val_mev",
    "val_skill",
    "val_p_mev",
    "val_pq_mev",
)


class Log:
    """A CSV file; on resume, rows after the saved epoch are dropped because they are computed again."""

    def __init__(self, path: Path, *, epoch: int) -> None:
        self.path = path
        kept = [row for row in read_log(path) if row["epoch"] and int(row["epoch"]) <= epoch] if epoch else []
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(kept)

    def add(self, row: dict[str, float | int | str]) -> None:
        """Append one row."""
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)


def read_log(path: Path) -> list[dict[str, str]]:
    """Return the whole rows of a log, none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if all(row.get(c) is not None for c in COLUMNS)]

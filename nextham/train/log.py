"""The training log: one CSV row per epoch, and the same for TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Final

COLUMNS: Final = (
    "epoch",
    "steps",
    "seconds",
    "learning_rate",
    "train_mev",
    "trace",
    "p_mev",
    "pq_mev",
    "q_mev",
    "val_mev",
    "val_skill",
    "val_p_mev",
    "val_pq_mev",
    "val_q_mev",
)


class Log:
    """``log.csv`` in a folder; on resume, rows after the saved epoch are dropped because they are computed again.

    With tensorboard, every number is also a curve over epochs in the folder ``tensorboard``.
    """

    def __init__(self, folder: Path, *, epoch: int, tensorboard: bool = False) -> None:
        self.path = folder / "log.csv"
        self._curves: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # an extra of the installation

            self._curves = SummaryWriter(str(folder / "tensorboard"), purge_step=epoch + 1)
        kept = [row for row in read_log(self.path) if row["epoch"] and int(row["epoch"]) <= epoch] if epoch else []
        folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(kept)

    def add(self, row: dict[str, float | int]) -> None:
        """Append one row."""
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)
        if self._curves is not None:
            for name in row.keys() - {"epoch"}:
                self._curves.add_scalar(name.replace("val_", "val/"), row[name], row["epoch"])
            self._curves.flush()


def read_log(path: Path) -> list[dict[str, str]]:
    """Return the whole rows of a log, none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if all(row.get(c) is not None for c in COLUMNS)]

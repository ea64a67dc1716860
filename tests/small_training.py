"""Four made-up crystals, a tiny network and a short training, for tests of what surrounds them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from nextham.core import LCAOSystem, OrbitalBasis
from nextham.data.splits import Split
from nextham.data.store import Store, StoreWriter
from nextham.model import checkpoint
from nextham.model.settings import ModelSettings
from nextham.testing import synthetic_system, zincblende
from nextham.train import loop
from nextham.train.log import read_log
from nextham.train.parallel import alone
from nextham.train.settings import FitSettings, TrainSettings

MODEL = ModelSettings(channels=4, lmax=2, n_blocks=1, n_heads=2, width=16)
BASIS = OrbitalBasis.parse("Ga:1s1p1d As:2s1p")
SPLIT = Split({"train": ("a", "b", "c"), "val": ("d",)})


def system(id: str) -> LCAOSystem:
    seed = ord(id)
    return synthetic_system(zincblende(rattle_ang=0.02 * (seed - 96)), BASIS, id=id, cutoff_ang=4.5, seed=seed)


def write(path: Path, *systems: LCAOSystem) -> Store:
    with StoreWriter(path) as writer:
        for one in systems:
            writer.add(one)
    return Store(path)


def fit(**train) -> FitSettings:
    defaults = {
        "epochs": 4,
        "save_every_epochs": 1,
        "validate_every_epochs": 2,
        "warmup_steps": 2,
        "device": "cpu",
        "batch_pairs": 1,
    }
    return FitSettings(model=MODEL, train=TrainSettings(**(defaults | train)))


def run(store: Store, out: Path, *, settings: FitSettings | None = None, resume: bool = False) -> list[dict[str, str]]:
    loop.train(store, SPLIT, settings=settings or fit(), out=out, resume=resume)
    return rows(out)


def rows(out: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_log(out / "log.csv")]


def training(store: Store, out: Path, settings: FitSettings, *, split: Split = SPLIT) -> loop.Training:
    return loop.Training(loop.prepare(store, split, settings), out, alone(settings.train))


def weights(out: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(out / "last")[0].state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@contextmanager
def interrupted_at(epoch: int) -> Iterator[None]:
    """Trainings inside end with a KeyboardInterrupt as this epoch begins."""
    epoch_of = loop.Training._epoch

    def dying(self: loop.Training, now: int, tell: loop.Tell) -> dict[str, Any]:
        if now == epoch:
            raise KeyboardInterrupt
        return epoch_of(self, now, tell)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Training, "_epoch", dying)
        with pytest.raises(KeyboardInterrupt):
            yield

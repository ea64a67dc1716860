"""The two kinds of work of a chunk: crystals through an engine, and finished runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

from nextham.campaign.items import Item
from nextham.campaign.outcome import Rules
from nextham.campaign.recipe import Recipe
from nextham.campaign.runs import refuse, with_origin
from nextham.dft.abacus.reader import FinishedRun
from nextham.dft.engine import Engine, RunResult
from nextham.exceptions import InputError


@dataclasses.dataclass(frozen=True)
class Calculations:
    """Crystals are computed by an engine."""

    engine: Engine
    recipe: Recipe
    rules: Rules
    version: str  # of the engine

    def key(self, item: Item) -> str:
        """Return a hash of crystal, settings and species."""
        return _hash(item.problem) if item.crystal is None else self.recipe.key(item.crystal)

    def call(self, item: Item, folder: Path) -> Callable[[], RunResult]:
        """Return what computes the crystal."""
        if item.crystal is None:
            return partial(refuse, InputError(item.problem))
        return partial(with_origin, partial(self.engine.scf, item.crystal, id=item.id, folder=folder), item.origin)


@dataclasses.dataclass(frozen=True)
class Imports:
    """Finished ABACUS runs are read."""

    recipe: Recipe
    rules: Rules

    @property
    def version(self) -> str:
        """Of the reader."""
        return version("nextham")

    def key(self, item: Item) -> str:
        """Return a hash of the settings and of sizes and times of the run's files, which are compared, not ordered."""
        path = Path(item.run)
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return _hash([dict(self.recipe.settings), states])

    def call(self, item: Item, folder: Path) -> Callable[[], RunResult]:
        """Return what reads the run."""
        return FinishedRun(item.id, case=Path(item.run)).read


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()

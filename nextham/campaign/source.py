"""Structures of a campaign: crystals of files with what each will cost, or finished runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from nextham.campaign.folder import CampaignFolder
from nextham.campaign.items import Item, read_chunk, stamp_of
from nextham.campaign.runs import distinct, found_in
from nextham.console import track
from nextham.core import Structure
from nextham.dft.abacus.reader import case_id
from nextham.dft.cost import CostModel, size_of
from nextham.dft.settings import RecipeSettings
from nextham.dft.species.files import SpeciesFiles
from nextham.dft.species.source import SpeciesSource
from nextham.exceptions import InputError, NexthamError

_IMPORT_S: Final = 5.0  # to unpack, read and check a small run
_IMPORT_S_PER_MB: Final = 0.2  # of an unpacked run
_PACKED: Final = 10  # a run is so much larger than its compressed archive
_IMPORT_MB: Final = 1000.0
_MB: Final = 1e6


@dataclasses.dataclass(frozen=True)
class Estimator:
    """Says what a crystal will cost."""

    model: CostModel
    recipe: RecipeSettings
    species: SpeciesSource
    most_mb: float | None = None  # the engine refuses what needs more

    def item(self, id: str, crystal: Structure, stamp: tuple[str, int, int] | None = None) -> Item:
        """Return a crystal with its cost; one that cannot be computed costs nothing."""
        try:
            size = size_of(crystal, self.recipe, lambda symbols: self.species.files(symbols, id=id))
        except NexthamError:  # computing it will tell
            return Item(id, crystal, stamp=stamp)
        memory = self.model.memory_mb(size)
        return Item(
            id,
            crystal,
            cost_s=self.model.seconds(size),
            memory_mb=memory if self.most_mb is None else min(memory, self.most_mb),
            n_orb=size.n_orb,
            n_k=size.n_k,
            stamp=stamp,
        )


def read_crystals(files: Sequence[Path], folder: CampaignFolder, estimator: Estimator) -> list[Item]:
    """Return the crystals of files; files that did not change since the last plan are not read again.

    Raises:
        InputError: if two crystals have the same id.
    """
    old = {item.stamp: item for name in folder.known_chunks() for item in _old_items(folder, name) if item.stamp}
    items: list[Item] = []
    for path in track(files, "reading crystals"):
        stamp = stamp_of(path) if path.is_file() else None
        known = old.get(stamp) if stamp else None
        if known is not None and known.crystal is not None:
            items.append(dataclasses.replace(estimator.item(known.id, known.crystal, stamp), origin=known.origin))
            continue
        here = found_in(path)
        alone = stamp if len(here) == 1 else None
        for found in here:
            if isinstance(found.crystal, NexthamError):
                items.append(Item(found.id, problem=str(found.crystal)))
            else:
                item = estimator.item(found.id, found.crystal, alone)
                items.append(dataclasses.replace(item, origin=found.origin))
    distinct((item.id, item.stamp[0] if item.stamp else "a structure file") for item in items)
    return items


def _old_items(folder: CampaignFolder, name: str) -> list[Item]:
    try:
        return read_chunk(folder, name)
    except InputError:  # damaged: its crystals are read anew
        return []


def run_items(paths: Iterable[str]) -> list[Item]:
    """Return finished ABACUS runs to import; an archive or folder costs by its size.

    Raises:
        InputError: if two runs have one id.
    """
    items = [Item(case_id(path), run=path, cost_s=_import_s(Path(path)), memory_mb=_IMPORT_MB) for path in paths]
    distinct((item.id, item.run) for item in items)
    return items


def _import_s(path: Path) -> float:
    if path.is_file():
        size = path.stat().st_size * (1 if path.suffix == ".tar" else _PACKED)
    else:
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return _IMPORT_S + _IMPORT_S_PER_MB * size / _MB


def files_of_elements(species: SpeciesSource, items: Sequence[Item]) -> dict[str, SpeciesFiles]:
    """Return the species files of all elements of some structures, as far as there are any."""
    found: dict[str, SpeciesFiles] = {}
    for name in sorted({name for item in items for name in item.elements}):
        try:
            found |= species.files([name], id=name)
        except NexthamError:  # each structure with it will tell
            continue
    return found

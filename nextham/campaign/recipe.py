"""The recipe of a campaign: what every number follows from. Chunks of two recipes never mix in one dataset."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from nextham.campaign.folder import CampaignFolder, read_json, write_json
from nextham.campaign.settings import EngineSettings
from nextham.core import Structure
from nextham.dft.settings import RecipeSettings
from nextham.dft.species.files import SpeciesFiles, file_sha256
from nextham.exceptions import InputError

_LOSSY: Final = ("fraction_bits", "spin_tolerance_ry")  # keys of store that change numbers


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Engine, settings and species of a campaign."""

    settings: Mapping[str, Any]  # dotted key: value
    species: Mapping[str, str] = dataclasses.field(default_factory=dict)  # element: hash of its two files

    @classmethod
    def of(cls, engine: str, settings: EngineSettings) -> Recipe:
        """Return the recipe of an engine without its species.

        Args:
            engine: its name; empty: finished runs are imported.
            settings: all sections; keys that decide only whether and how fast numbers come are left out.
        """
        values: dict[str, Any] = {"engine": engine}
        if engine:
            chosen: RecipeSettings = getattr(settings, engine)
            left_out = {*chosen.knobs, *chosen.species_keys}
            values |= {f"{engine}.{k}": v for k, v in chosen.model_dump(mode="json", exclude=left_out).items()}
        values |= {f"checks.{k}": v for k, v in settings.checks.model_dump(mode="json").items()}
        values |= {f"store.{k}": v for k, v in settings.store.model_dump(mode="json", include=set(_LOSSY)).items()}
        return cls(values)

    def with_species(self, files: Mapping[str, SpeciesFiles]) -> Recipe:
        """Return the recipe with these elements."""
        hashes = {name: f"{file_sha256(f.upf)} {file_sha256(f.orb)}" for name, f in files.items()}
        return dataclasses.replace(self, species={**self.species, **hashes})

    def key(self, crystal: Structure) -> str:
        """Return a hash of all that the record of a crystal follows from, but the engine's version."""
        arrays = [a.tolist() for a in (crystal.numbers, crystal.positions, crystal.cell)]
        species = [self.species.get(name, "") for name in dict.fromkeys(crystal.symbols)]
        return hashlib.sha256(json.dumps([dict(self.settings), species, arrays]).encode()).hexdigest()

    def changes(self, old: Recipe) -> list[str]:
        """Return in words what differs from an older recipe; elements that only one has do not count."""
        keys = [key for key in {**old.settings, **self.settings} if old.settings.get(key) != self.settings.get(key)]
        if "engine" in keys:
            keys = ["engine"]
        words = [f"{key} was {_text(old.settings.get(key))} and is now {_text(self.settings.get(key))}" for key in keys]
        both = sorted(old.species.keys() & self.species.keys())
        changed = [name for name in both if old.species[name] != self.species[name]]
        return words + ([f"the species files of {', '.join(changed)} are others"] if changed else [])


def check_recipe(folder: CampaignFolder, recipe: Recipe) -> None:
    """Refuse a recipe that is not that of the structures a campaign has finished.

    Raises:
        InputError: with what differs and the ways out.
    """
    old = read_recipe(folder)
    if old is None or not (changes := recipe.changes(old)):
        return
    n = sum(folder.started(name) for name in folder.known_chunks())
    if not n:
        return
    raise InputError(
        f"{folder.results} holds {n} chunks that were computed otherwise: {'; '.join(changes)}. Put it back, name "
        f"another results folder, or set the chunks aside and begin again: nextham campaign restart {folder.results}"
    )


def read_recipe(folder: CampaignFolder) -> Recipe | None:
    """Return the recipe that a campaign was planned with, None before it was."""
    if not folder.recipe.is_file():
        return None
    return Recipe(**read_json(folder.recipe, mend="restore it"))


def keep_recipe(folder: CampaignFolder, recipe: Recipe) -> None:
    """Write the recipe of a campaign; elements that it had stay known.

    Raises:
        InputError: if it is not the one of finished structures.
    """
    check_recipe(folder, recipe)
    old = read_recipe(folder)
    known = old.species if old is not None and not recipe.changes(old) else {}
    write_json(folder.recipe, {"settings": dict(recipe.settings), "species": {**known, **recipe.species}})


def check_version(folder: CampaignFolder, engine: str, version: str, *, mixed: bool) -> None:
    """Refuse to go on with another version of an engine than the campaign began with.

    Raises:
        InputError: with both versions and the ways out.
    """
    path = folder.version
    if not path.is_file():
        write_json(path, {"engine": engine, "version": version})
        return
    first = read_json(path, mend="remove it")
    if mixed or first == {"engine": engine, "version": version}:
        return
    raise InputError(
        f"{folder.results} was begun with {first['engine']} {first['version'] or 'of unknown version'}, but the one "
        f"here is {engine} {version or 'of unknown version'}: use the former, or set campaign.mixed_versions: true "
        f"to go on with both, or begin again: nextham campaign restart {folder.results}"
    )


def _text(value: object) -> str:
    return "unset" if value is None else json.dumps(value).strip('"') or "none"

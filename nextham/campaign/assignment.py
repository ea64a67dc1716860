"""A campaign as the workflow sees it: begun, planned, locked, ended."""

from __future__ import annotations

import atexit
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nextham.campaign.clock import settle
from nextham.campaign.folder import CampaignFolder, write_json
from nextham.campaign.lock import take
from nextham.campaign.plan import Plan, Shape, make_plan
from nextham.campaign.recipe import Recipe, check_recipe, keep_recipe
from nextham.campaign.settings import CampaignSettings, EngineSettings
from nextham.dft.cost import ABACUS_COST, LCAO_COST
from nextham.dft.settings import RecipeSettings

_MODELS: Final = {"lcao": LCAO_COST, "abacus": ABACUS_COST}
_MB_PER_GB: Final = 1024


@dataclasses.dataclass(frozen=True)
class Assignment:
    """What the jobs of a campaign are to do."""

    folder: CampaignFolder
    engine: str  # empty: finished runs are imported
    settings: EngineSettings
    campaign: CampaignSettings
    most: int  # structures of a chunk

    @property
    def recipe_settings(self) -> RecipeSettings:
        """Settings of the engine."""
        found: RecipeSettings = getattr(self.settings, self.engine)
        return found

    @property
    def recipe(self) -> Recipe:
        """What every number follows from, without species files."""
        return Recipe.of(self.engine, self.settings)

    @property
    def shape(self) -> Shape:
        """How jobs are cut."""
        if self.engine != "abacus":
            return Shape(self.campaign, self.most)
        threads = self.settings.abacus.omp_threads
        ranks = max(1, self.campaign.cores // threads) if self.settings.abacus.takes_tasks else 1
        return Shape(self.campaign, self.most, ranks, threads)

    @property
    def plan(self) -> Plan:
        """The plan, read when it is first asked for."""
        return Plan(self.folder)

    def check(self) -> None:
        """Refuse settings that do not go with what is finished.

        Raises:
            InputError: with what differs.
        """
        check_recipe(self.folder, self.recipe)

    def begin(self, config: Mapping[str, Any]) -> None:
        """Take the campaign until this process ends, and write what its jobs are run with.

        Raises:
            InputError: if another process has it, or settings do not go with what is finished.
            WriteError: if the folder cannot be written.
        """
        lock = take(self.folder.lock, f"the campaign in {self.folder.results}")
        try:
            self.check()
            if ahead := settle(self.folder.results):
                text = f"{len(ahead)} files of {self.folder.results} were from the future, as {ahead[0]}: a clock was "
                print(text + "ahead; they are given the present time", file=sys.stderr)  # noqa: T201
            write_json(self.folder.config, config)
        except BaseException:
            lock.release()
            raise
        atexit.register(lock.release)

    def make_plan(self, source: Sequence[str]) -> Plan:
        """Read structures, estimate what they cost, and divide them into chunks.

        Args:
            source: structure files or finished runs.

        Raises:
            InputError: if two structures have one id, or species or recipe cannot be used.
        """
        from nextham.campaign.source import Estimator, files_of_elements, read_crystals, run_items
        from nextham.dft.species.source import open_source

        recipe = self.recipe
        if not self.engine:
            items = run_items(source)
        else:
            species = open_source(self.settings.species, self.recipe_settings)
            most_gb = self.settings.lcao.max_memory_gb if self.engine == "lcao" else None
            estimator = Estimator(_MODELS[self.engine], self.recipe_settings, species, most_gb and most_gb * _MB_PER_GB)
            items = read_crystals([Path(path) for path in source], self.folder, estimator)
            recipe = recipe.with_species(files_of_elements(species, items))
        keep_recipe(self.folder, recipe)
        return make_plan(self.folder, items, self.shape)

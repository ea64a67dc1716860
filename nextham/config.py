"""The one config: every user knob of the workflow, composed of the settings of the packages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nextham.campaign.assignment import Assignment
from nextham.campaign.folder import CampaignFolder
from nextham.campaign.settings import CampaignSettings, EngineSettings
from nextham.campaign.source_settings import SourceSettings
from nextham.console import first_problem
from nextham.data.remote import located
from nextham.data.settings import CheckSettings, SplitSettings, StoreSettings
from nextham.dft.abacus.settings import AbacusSettings
from nextham.dft.lcao.settings import LCAOSettings
from nextham.dft.settings import RecipeSettings, SpeciesSettings
from nextham.dft.species.source import check_source, open_source
from nextham.exceptions import InputError
from nextham.model.settings import ModelSettings
from nextham.studies import AblationSettings, CurveSettings, ElementSettings
from nextham.train.settings import FitSettings, TrainSettings


class BenchmarkSettings(BaseModel):
    """How the predictions are judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["full", "paper"] = Field(
        default="full", description="Which elements count in the headline numbers."
    )
    subset: str = Field(default="test", description="Which subset of the split is scored.")
    card: str | None = Field(
        default=None,
        description="Card of the trained model on the leaderboard; by default benchmark/models/nextham-PRESET.yml.",
    )


class LaunchSettings(BaseModel):
    """How programs of the workflow are started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: str = Field(
        default="",
        description="Words before `nextham train`, read by the shell of the job, e.g. 'torchrun --nproc-per-node 4 "
        "--no-python'; they then say how many processes there are.",
    )


class Config(BaseModel):
    """Every knob of the workflow; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    results: str = Field(default="results", description="Folder that everything is written to.")
    source: SourceSettings = Field(
        default_factory=SourceSettings, description="Which runs or crystals, and how many per job at most."
    )
    engine: Literal["lcao", "abacus"] = Field(
        default="lcao", description="What computes crystals: lcao, the embedded engine, or abacus."
    )
    species: SpeciesSettings = Field(
        default_factory=SpeciesSettings, description="Pseudopotentials and orbitals, of every engine."
    )
    lcao: LCAOSettings = Field(
        default_factory=LCAOSettings, description="The embedded engine: accuracy, device, memory."
    )
    abacus: AbacusSettings = Field(
        default_factory=AbacusSettings, description="ABACUS itself: command, files, accuracy."
    )
    campaign: CampaignSettings = Field(
        default_factory=CampaignSettings, description="How structures become jobs; failures, runs, room on the disk."
    )
    checks: CheckSettings = Field(default_factory=CheckSettings, description="What a record must pass.")
    store: StoreSettings = Field(default_factory=StoreSettings, description="How shards are written.")
    split: SplitSettings = Field(default_factory=SplitSettings, description="Train, validation and test subsets.")
    model: ModelSettings = Field(default_factory=ModelSettings, description="The network.")
    train: TrainSettings = Field(default_factory=TrainSettings, description="How it is fitted.")
    launch: LaunchSettings = Field(default_factory=LaunchSettings, description="How programs are started.")
    benchmark: BenchmarkSettings = Field(default_factory=BenchmarkSettings, description="How it is judged.")
    ablations: AblationSettings = Field(
        default_factory=AblationSettings, description="The target `ablations`: what each part of the method is worth."
    )
    learning_curve: CurveSettings = Field(
        default_factory=CurveSettings, description="The target `learning_curve`: skill against training structures."
    )
    leave_one_element_out: ElementSettings = Field(
        default_factory=ElementSettings, description="The target `leave_one_element_out`: skill on unseen elements."
    )

    @model_validator(mode="after")
    def _check_subset(self) -> Self:
        lists = [*(self.split.id_files or self.split.fractions), *self.split.held_out.lists]
        if self.benchmark.subset not in lists:
            raise ValueError(
                f"benchmark.subset is {self.benchmark.subset!r}, but the split has {', '.join(lists)}; name one of them"
            )
        return self

    @model_validator(mode="after")
    def _check_stores(self) -> Self:
        results = Path(self.results).resolve()
        for place in map(located, self.source.paths if self.source.kind == "stores" else ()):
            if isinstance(place, Path) and results in (place.resolve(), *place.resolve().parents):
                raise ValueError(
                    f"source.paths has {place}, which is in the results folder, where this workflow replaces it; "
                    "choose other results"
                )
        return self

    @model_validator(mode="after")
    def _check_species(self) -> Self:
        check_source(self.species, self._recipe)
        filters = self.source.prepare.filters
        named = any(getattr(self._recipe, key) for key in self._recipe.species_keys)
        if (filters.known_species or filters.max_orbitals) and named:
            raise ValueError(
                "source.prepare.filters count the orbitals of species.source; name a locked folder there in place of "
                f"the folders in {self.engine}"
            )
        return self

    def studies(self) -> dict[str, dict[str, FitSettings]]:
        """Return the settings of every training of every study, by the names of the study and of its row.

        Raises:
            InputError: if a study sets what is not a setting.
        """
        return {"ablations": self.ablations.rows(self._fit), "learning_curve": self.learning_curve.rows(self._fit)}

    def elements(self) -> dict[str, FitSettings]:
        """Return the settings of the training without each element that is left out.

        Raises:
            InputError: if the study sets what is not a setting.
        """
        return self.leave_one_element_out.rows(self._fit)

    def split_without(self, element: str) -> str:
        """Return the section split, as one line of JSON, for the structures without an element."""
        section = self.split.model_dump(mode="json", exclude_unset=True, exclude={"id_files", "held_out"})
        return json.dumps({**section, "held_out": {"elements": [element]}})

    @property
    def _fit(self) -> FitSettings:
        return FitSettings.model_construct(_fields_set={"model", "train"}, model=self.model, train=self.train)

    @property
    def _recipe(self) -> RecipeSettings:
        recipe: RecipeSettings = getattr(self, self.engine)
        return recipe

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, where: str = "config.yaml") -> Config:
        """Validate a config read by Snakemake or YAML.

        Raises:
            InputError: naming the key, with the nearest known key if it is misspelt.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise InputError(f"{where}: {first_problem(error, cls)}") from None

    def section(self, *names: str) -> str:
        """Return what sections set as one line of JSON: what a rule passes on, and what its outputs depend on.

        One name gives that section itself, several give an object of sections.
        """
        sections = {name: self._set_in(name) for name in names}
        return json.dumps(sections if len(names) > 1 else sections[names[0]])

    def _set_in(self, name: str) -> Any:
        section = getattr(self, name)
        return section.model_dump(mode="json", exclude_unset=True) if isinstance(section, BaseModel) else section

    def all_set(self) -> dict[str, Any]:
        """Return everything that was set, as JSON values that parse to the same config."""
        return self.model_dump(mode="json", exclude_unset=True)

    def work(self) -> Assignment:
        """Return what the jobs of the campaign need to know.

        Raises:
            InputError: if a path of the source does not exist or holds nothing of the kind.
        """
        names = EngineSettings.model_fields
        settings = EngineSettings.model_construct(**{name: getattr(self, name) for name in names})
        engine = self.engine if self.source.computed else ""
        return Assignment(CampaignFolder(Path(self.results)), engine, settings, self.campaign, self.source.chunk_size)

    def species_sha256(self) -> str:
        """Return the hash of the locked species that crystals are computed with, empty where nothing is locked.

        Raises:
            InputError: if a folder or its lock is missing or broken.
        """
        return open_source(self.species, self._recipe).sha256 if self.source.computed else ""


def json_schema() -> str:
    """Return the JSON schema of the config, as committed in workflow/schemas/."""
    return json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"

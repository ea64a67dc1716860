"""The one config: every user knob of the workflow, composed of the settings of the packages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nextham.console import first_problem
from nextham.data.settings import CheckSettings, SplitSettings, StoreSettings
from nextham.dft.abacus.settings import AbacusSettings
from nextham.dft.lcao.settings import LCAOSettings
from nextham.dft.settings import RecipeSettings, SpeciesSettings
from nextham.dft.species.source import check_source, open_source
from nextham.exceptions import InputError
from nextham.model.settings import ModelSettings
from nextham.structures.settings import CrystalSettings, MaterialsProjectSettings, PrepareSettings
from nextham.studies import AblationSettings, CurveSettings, ElementSettings
from nextham.train.settings import FitSettings, TrainSettings

_ARCHIVES = (".tar", ".tar.xz", ".tar.gz")
_STRUCTURES = (".cif", ".vasp", ".poscar", ".stru", ".extxyz", ".xyz")


class SourceSettings(BaseModel):
    """Where the dataset comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["abacus-runs", "prototypes", "structures", "materials-project"] = Field(
        default="abacus-runs",
        description="abacus-runs: finished ABACUS runs are imported; prototypes: crystals are built on the spot, "
        "structures: they are read from files, materials-project: they are fetched; and computed by the engine.",
    )
    paths: tuple[str, ...] = Field(
        default=("examples/abacus-runs",),
        description="Run folders, archives of them or structure files, or folders that hold them; not for prototypes.",
    )
    crystals: CrystalSettings = Field(
        default_factory=CrystalSettings, description="Which crystals are built where kind is prototypes."
    )
    materials_project: MaterialsProjectSettings = Field(
        default_factory=MaterialsProjectSettings, description="What is fetched where kind is materials-project."
    )
    prepare: PrepareSettings = Field(
        default_factory=PrepareSettings,
        description="What is done to structures before they are computed.",
    )
    chunk_size: int = Field(
        default=8, ge=1, description="Structures per job; a job is the unit that is repeated when killed."
    )

    def items(self) -> list[str]:
        """Return the runs or structure files that the paths name, sorted, each once, or the ids of built crystals.

        Raises:
            InputError: if a path does not exist or holds nothing of the kind, or no crystal is named.
        """
        if self.kind == "prototypes":
            return self._ids()
        found: list[str] = []
        for path in map(Path, self.paths):
            if not path.exists():
                raise InputError(f"source.paths: there is no {path}")
            here = [path] if self._is_item(path) else sorted(p for p in path.iterdir() if self._is_item(p))
            if not here:
                raise InputError(f"source.paths: {path} holds no {self.kind.replace('-', ' ')}")
            found += [str(p) for p in here]
        return sorted(set(found))

    def _ids(self) -> list[str]:
        ids = self.crystals.ids()
        if not ids:
            raise InputError("source.crystals.prototypes is empty; name crystals, e.g. {B3: {GaAs: 5.653}}")
        return ids

    def _is_item(self, path: Path) -> bool:
        if self.kind == "abacus-runs":
            return (path / "abacus_scf").is_dir() or path.name.endswith(_ARCHIVES)
        return path.is_file() and (path.suffix.lower() in _STRUCTURES or path.name in ("STRU", "POSCAR", "CONTCAR"))

    def chunks(self) -> dict[str, list[str]]:
        """Return the items in chunks, by a four-digit name."""
        items = self.items()
        starts = range(0, len(items), self.chunk_size)
        return {f"{k:04d}": items[start : start + self.chunk_size] for k, start in enumerate(starts)}


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


class Config(BaseModel):
    """Every knob of the workflow; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    results: str = Field(default="results", description="Folder that everything is written to.")
    source: SourceSettings = Field(
        default_factory=SourceSettings, description="Which runs or crystals, and how many per job."
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
    checks: CheckSettings = Field(default_factory=CheckSettings, description="What a record must pass.")
    store: StoreSettings = Field(default_factory=StoreSettings, description="How shards are written.")
    split: SplitSettings = Field(default_factory=SplitSettings, description="Train, validation and test subsets.")
    model: ModelSettings = Field(default_factory=ModelSettings, description="The network.")
    train: TrainSettings = Field(default_factory=TrainSettings, description="How it is fitted.")
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
    def _check_species(self) -> Self:
        check_source(self.species, self._recipe)
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
        sections = {name: getattr(self, name).model_dump(mode="json", exclude_unset=True) for name in names}
        return json.dumps(sections if len(names) > 1 else sections[names[0]])

    def species_sha256(self) -> str:
        """Return the hash of the locked species that crystals are computed with, empty where nothing is locked.

        Raises:
            InputError: if a folder or its lock is missing or broken.
        """
        return "" if self.source.kind == "abacus-runs" else open_source(self.species, self._recipe).sha256


def json_schema() -> str:
    """Return the JSON schema of the config, as committed in workflow/schemas/."""
    return json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"

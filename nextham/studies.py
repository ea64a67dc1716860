"""Studies: several trainings that differ in one thing, scored on the same structures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from nextham.console import first_problem
from nextham.core import atomic_number
from nextham.exceptions import InputError
from nextham.train.settings import FitSettings

AblationName = Literal["full", "no-h0-input", "no-delta", "no-trace-grad", "ensemble", "no-k-loss"]
Sections = Mapping[str, Mapping[str, Any]]

# What each row changes in the sections model and train.
ABLATIONS: Final[dict[AblationName, dict[str, dict[str, Any]]]] = {
    "full": {},
    "no-h0-input": {"model": {"descriptors": []}},  # elements and distances alone
    "no-delta": {"model": {"delta": False, "target": "pauli"}},  # H itself is learnt, its spin-orbit part too
    "no-trace-grad": {"model": {"trace_grad": False}},
    "ensemble": {"model": {"ensemble": [1.0, 2.0, 4.0]}},  # one readout for each interval of the distance (Å)
    "no-k-loss": {"train": {"p_weight": 0.0, "pq_weight": 0.0}},
}


def _known(element: str) -> str:
    try:
        atomic_number(element)
    except InputError as error:
        raise ValueError(str(error)) from None
    return element


class StudySettings(BaseModel):
    """What all trainings of a study have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: dict[str, Any] = Field(
        default={}, description="Keys of `model` that the study sets otherwise; a preset replaces the whole section."
    )
    train: dict[str, Any] = Field(default={}, description="Keys of `train` that the study sets otherwise.")

    def merged(self, base: FitSettings, row: Sections, *, where: str) -> FitSettings:
        """Return the settings of one training: what the config sets, then the study, then the row.

        Raises:
            InputError: if a key or a value is not one of the section's.
        """
        sections = base.model_dump(mode="json", exclude_unset=True)
        if "preset" in self.model:
            del sections["model"]
        for name in ("model", "train"):
            sections[name] = {**sections.get(name, {}), **getattr(self, name), **row.get(name, {})}
        try:
            return FitSettings.model_validate(sections)
        except ValidationError as error:
            raise InputError(f"{where}: {first_problem(error, FitSettings)}") from None


class AblationSettings(StudySettings):
    """Trainings that lack one part of the method each."""

    names: tuple[AblationName, ...] = Field(
        default=get_args(AblationName),
        min_length=1,
        description="Which rows are trained; differences are to the first. H0 alone is always a row.",
    )

    def rows(self, base: FitSettings) -> dict[str, FitSettings]:
        """Return the settings of each training by the name of its row."""
        return {name: self.merged(base, ABLATIONS[name], where=f"ablations, row {name}") for name in self.names}


class CurveSettings(StudySettings):
    """Trainings on more and more of the training set."""

    sizes: tuple[PositiveInt, ...] = Field(
        default=(20, 40, 80, 160, 320),
        min_length=1,
        description="How many training structures each point has; each set contains the smaller ones.",
    )

    def rows(self, base: FitSettings) -> dict[str, FitSettings]:
        """Return the settings of each training by its number of structures.

        A smaller set is passed over more often, so that every point takes about as many steps as the largest, and is
        looked at as often.
        """
        found = {}
        for size in sorted(set(self.sizes)):
            train = self.merged(base, {}, where=f"learning_curve, size {size}").train
            passes = max(self.sizes) / size
            scaled = {
                key: round(passes * n)
                for key in ("epochs", "validate_every_epochs", "save_every_epochs")
                if (n := train.last_epoch if key == "epochs" else getattr(train, key)) is not None
            }
            found[str(size)] = self.merged(base, {"train": scaled}, where=f"learning_curve, size {size}")
        return found


class ElementSettings(StudySettings):
    """Trainings that never see one element each."""

    elements: tuple[Annotated[str, AfterValidator(_known)], ...] = Field(
        default=(), description="Elements to leave out in turn, e.g. [Bi, Pb]; each is one training."
    )

    def rows(self, base: FitSettings) -> dict[str, FitSettings]:
        """Return the settings of each training by its element."""
        return {name: self.merged(base, {}, where=f"leave_one_element_out, {name}") for name in self.elements}

    def asked(self) -> tuple[str, ...]:
        """Return the elements that are left out.

        Raises:
            InputError: if there is none.
        """
        if not self.elements:
            raise InputError("leave_one_element_out.elements is empty; name elements of the dataset, e.g. [Bi, Pb]")
        return self.elements

"""The card of a model: who made it, from what, at what cost. The JSON schema in benchmark/schemas is made from this."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nextham_bench.submission.text import Line, Name, Orcid, Sha256, Text, Url

CARD_FILE: Final = "card.yml"
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]


class Part(BaseModel):
    """A closed, immutable part of a card."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Author(Part):
    """One author."""

    name: Line
    affiliation: Line | None = None
    orcid: Orcid | None = None


class TrainingSet(Part):
    """Data that the model has seen, validation data included."""

    name: Line
    sha256: Sha256 | None = Field(default=None, description="of the records, or of the published file")
    n_structures: Count | None = None
    url: Url | None = None


class TrainingCost(Part):
    """What the training took."""

    hardware: Line = Field(description='e.g. "1 x NVIDIA H200" or "2 CPU cores"')
    device_hours: Amount = Field(description="hours times devices")


class InferenceCost(Part):
    """What one structure takes on average, from crystal to Hamiltonian."""

    hardware: Line
    h0_s: Amount = Field(description="S and H0 of one structure, s; 0 for a model that needs neither")
    model_s: Amount = Field(description="the model alone, s")

    @property
    def total_s(self) -> float:
        """Seconds from crystal to Hamiltonian."""
        return self.h0_s + self.model_s


class Cost(Part):
    """Time and hardware."""

    training: TrainingCost
    inference: InferenceCost


class Checkpoint(Part):
    """The trained weights."""

    sha256: Sha256
    url: Url | None = None


class Prediction(Part):
    """One prediction store."""

    sha256: Sha256 = Field(description="of the predicted records, as nextham-bench validate prints it")
    split_sha256: Sha256 | None = Field(default=None, description="of the ids of the predicted subset")
    url: Url | None = None


class Card(Part):
    """What a model says about itself."""

    schema_version: Literal["1"] = "1"
    name: Name = Field(description="what the leaderboard calls the model")
    version: Line = Field(description="text, in quotes; name and version together are unique on a board")
    baseline: Literal["zero", "h0"] | None = Field(default=None, description="set for the two free predictions alone")
    authors: Annotated[tuple[Author, ...], Field(min_length=1, max_length=100)]
    licence: Line = Field(description='of code and weights, e.g. "MIT"')
    date: dt.date = Field(description="of this version, YYYY-MM-DD")
    summary: Text | None = Field(default=None, description="the model in two or three sentences")
    url: Url | None = Field(default=None, description="code or paper")
    command: Text = Field(description="what reproduces the prediction: a command line of published code")
    training_sets: Annotated[tuple[TrainingSet, ...], Field(max_length=100)] = ()
    parameters: Count | None = Field(default=None, description="trained numbers")
    cost: Cost | None = None
    checkpoint: Checkpoint | None = None
    predictions: Annotated[tuple[Prediction, ...], Field(max_length=100)] = ()
    notes: Text | None = None

    @model_validator(mode="after")
    def _check(self) -> Card:
        if not self.command:
            raise ValueError("command is empty; write the command line that reproduces the prediction")
        if self.baseline and (self.training_sets or self.predictions or self.checkpoint):
            raise ValueError("a baseline has no training_sets, checkpoint or predictions; remove them, or baseline")
        return self

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"

    def lacking(self) -> list[str]:
        """Return what a ranked model must say and this card does not, one sentence each.

        A baseline needs none of it.
        """
        if self.baseline:
            return []
        wanted = {
            "training_sets": bool(self.training_sets) or self.parameters == 0,
            "parameters": self.parameters is not None,
            "cost": self.cost is not None,
            "predictions": bool(self.predictions),
        }
        return [f"the card says no {key}, which a ranked model needs" for key, said in wanted.items() if not said]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a card."""
    schema = Card.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Card of a model"}

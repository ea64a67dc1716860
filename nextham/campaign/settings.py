"""Settings of campaigns, composed of those of the packages."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from nextham.data.settings import CheckSettings, StoreSettings
from nextham.dft.abacus.settings import AbacusSettings
from nextham.dft.lcao.settings import LCAOSettings
from nextham.dft.settings import SpeciesSettings


class DatasetSettings(BaseModel):
    """How records are checked and written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: StoreSettings = Field(default_factory=StoreSettings, description="How shards are written.")
    checks: CheckSettings = Field(default_factory=CheckSettings, description="What a record must pass.")


class EngineSettings(DatasetSettings):
    """... and how they are computed."""

    species: SpeciesSettings = Field(default_factory=SpeciesSettings, description="Pseudopotentials and orbitals.")
    lcao: LCAOSettings = Field(default_factory=LCAOSettings, description="How the embedded engine computes.")
    abacus: AbacusSettings = Field(default_factory=AbacusSettings, description="How ABACUS is run.")

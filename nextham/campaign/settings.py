"""Settings of campaigns, composed of those of the packages."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from nextham.data.settings import CheckSettings, StoreSettings
from nextham.dft.abacus.settings import AbacusSettings
from nextham.dft.lcao.settings import LCAOSettings
from nextham.dft.settings import Positive, SpeciesSettings


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


class Runs(StrEnum):
    """What becomes of the run folder of a structure whose record is in its store."""

    DELETE = "delete"
    KEEP = "keep"
    ARCHIVE = "archive"  # one .tar.xz each, which nextham import-abacus reads


class CampaignSettings(BaseModel):
    """How the structures of a campaign become jobs, and what becomes of failed and finished runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk_minutes: Positive = Field(
        default=60.0,
        description="Estimated time of a job on its cores. Structures are packed up to it; one that alone would take "
        "longer on one core has a job of its own, on up to `cores` cores.",
    )
    cores: int = Field(
        default=8,
        ge=1,
        description="Cores of a job: so many structures at a time, or so many MPI ranks of a large one (ABACUS, where "
        "its command has {tasks}).",
    )
    job_retries: int = Field(
        default=2, ge=0, description="How often a failed job is started again at once, with more memory and time."
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        description="After so many failures that may pass (killed, crashed, out of memory, cut off) a structure is "
        "quarantined; those that would come again (unconverged, a failed check, bad input) are at once.",
    )
    runs: Runs = Field(
        default=Runs.DELETE, description="Run folders of structures that are in a store: delete, keep or archive."
    )
    disk_gb: Positive | None = Field(
        default=None, description="No run is started while the results folder holds more; unset: no limit."
    )
    mixed_versions: bool = Field(
        default=False,
        description="Chunks may be computed by different versions of the engine; each record says by which.",
    )

"""What every engine that reads UPF and .orb files is told: species, cutoffs, k points, convergence."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

Positive = Annotated[float, Field(gt=0)]
EMBEDDED: Final = "embedded"  # the species source that ships with the project


class SpeciesSettings(BaseModel):
    """Which pseudopotentials and orbitals are used, by every engine alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str | None = Field(
        default=None,
        description="embedded: the set that ships with the project; else a folder of UPF and .orb files with a lock "
        "(nextham species lock DIR). Unset: what the engine's own section names; lcao then falls back on embedded.",
    )
    lock: str | None = Field(
        default=None, description="Lock of the source folder; unset: species.lock.json in the folder."
    )


class RecipeSettings(BaseModel):
    """The recipe that engines share, so that one crystal is computed alike by each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    section: ClassVar[str] = ""  # name of these settings in the config, for errors
    knobs: ClassVar[frozenset[str]] = frozenset()  # keys that decide whether and how fast numbers come, not which
    default_source: ClassVar[str | None] = None  # species source where nothing is named
    species_keys: ClassVar[tuple[str, ...]] = ("pseudo_dir", "orbital_dir", "pseudopotentials", "orbitals")

    pseudo_dir: str = Field(default="", description="Folder with one UPF file per element.")
    orbital_dir: str = Field(default="", description="Folder with one .orb file per element.")
    pseudopotentials: dict[str, str] = Field(
        default_factory=dict, description="Element: file, in pseudo_dir or a path; needed where a folder holds several."
    )
    orbitals: dict[str, str] = Field(
        default_factory=dict,
        description="Element: file, in orbital_dir or a path; needed where a folder holds several.",
    )
    ecutwfc_ry: float = Field(
        default=100.0, ge=10, description="Plane-wave cutoff; the charge grid holds four times as much."
    )
    kspacing_inv_bohr: Positive = Field(
        default=0.10, description="Largest distance of k points along each reciprocal vector."
    )
    kmesh: tuple[int, int, int] | None = Field(
        default=None, description="Gamma-centred mesh, instead of kspacing_inv_bohr."
    )
    smearing_sigma_ry: Positive = Field(
        default=0.015, description="Width of the smearing; the embedded engine's is Gaussian."
    )
    scf_thr: float = Field(
        default=1e-6,
        ge=1e-14,  # rounding of float64 alone is of this size
        description="Density error per electron at which the SCF stops.",
    )

    rescue: bool = Field(default=True, description="Try again with slower mixing where the SCF does not converge.")
    rescue_smearing_sigma_ry: Positive | None = Field(
        default=None,
        description="Width of the smearing in a last try of what converges no other way; unset: none. The record says "
        "which width it has.",
    )

    @field_validator("kmesh")
    @classmethod
    def _positive_mesh(cls, value: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if value is not None and min(value) < 1:
            raise ValueError(f"a k mesh has at least one point along each axis, not {value}")
        return value

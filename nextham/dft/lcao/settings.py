"""How the embedded engine computes: every knob, with defaults that reproduce ABACUS's matrices."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Positive = Annotated[float, Field(gt=0)]


class H0Definition(StrEnum):
    """What H0 is; the id goes into the metadata, and one dataset holds one definition."""

    ATOMIC_DENSITY = "atomic-density-step0"  # T + V_nl + V_loc + V_H + V_xc of the superposed neutral-atom densities
    CORE = "core"  # T + V_nl + V_loc: no electron repulsion at all


class LCAOSettings(BaseModel):
    """How the embedded engine computes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pseudo_dir: str = Field(
        default="",
        description="Folder with one UPF file per element; where no folder or file is named: the embedded set.",
    )
    orbital_dir: str = Field(default="", description="Folder with one .orb file per element.")
    pseudopotentials: dict[str, str] = Field(
        default_factory=dict, description="Element: file, in pseudo_dir or a path; needed where a folder holds several."
    )
    orbitals: dict[str, str] = Field(
        default_factory=dict,
        description="Element: file, in orbital_dir or a path; needed where a folder holds several.",
    )
    h0_definition: H0Definition = Field(
        default=H0Definition.ATOMIC_DENSITY, description="atomic-density-step0 (of superposed neutral atoms) or core."
    )
    ecutwfc_ry: Positive = Field(
        default=100.0, description="Plane-wave cutoff; the charge grid holds four times as much."
    )
    kspacing_inv_bohr: Positive = Field(
        default=0.10, description="Largest distance of k points along each reciprocal vector."
    )
    kmesh: tuple[int, int, int] | None = Field(
        default=None, description="Gamma-centred mesh, instead of kspacing_inv_bohr."
    )
    smearing_sigma_ry: Positive = Field(default=0.015, description="Width of the Gaussian smearing.")
    scf_thr: Positive = Field(default=1e-6, description="Density error per electron at which the SCF stops.")
    scf_nmax: int = Field(default=60, ge=1, description="Most SCF steps of each attempt.")
    mixing_beta: float = Field(
        default=0.7, gt=0, le=1, description="Share of the density residual that a step takes in."
    )
    mixing_history: int = Field(default=8, ge=1, description="Steps that Pulay mixing remembers.")
    mixing_kerker_inv_bohr: float = Field(
        default=0.0, ge=0, description="Kerker screening of long waves in the first attempt; 0 is none."
    )
    rescue: bool = Field(
        default=True, description="Try again with slower, screened mixing where the SCF does not converge."
    )
    mixed_precision: bool = Field(
        default=True, description="Changes of potential and density between SCF steps on the grid in float32."
    )
    device: str = Field(default="cpu", description="Torch device of grid and k-space work: cpu, cuda, cuda:1, ...")
    max_memory_gb: Positive = Field(default=8.0, description="A structure that needs more is refused before it starts.")
    orbital_memory_gb: float = Field(
        default=2.0,
        ge=0,
        description="Orbitals on the grid are kept up to this size, and made anew at each use beyond it.",
    )
    box_edge_bohr: Positive = Field(
        default=1.3, description="Edge of the boxes of grid points that are integrated at once."
    )

    @property
    def embedded_species(self) -> bool:
        """Whether species come from the embedded set: where nothing else is named; sets are never mixed."""
        return not (self.pseudo_dir or self.orbital_dir or self.pseudopotentials or self.orbitals)

    @field_validator("kmesh")
    @classmethod
    def _positive_mesh(cls, value: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if value is not None and min(value) < 1:
            raise ValueError(f"a k mesh has at least one point along each axis, not {value}")
        return value

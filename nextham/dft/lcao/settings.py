"""How the embedded engine computes: every knob, with defaults that reproduce ABACUS's matrices."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from nextham.dft.settings import EMBEDDED, Positive, RecipeSettings


class H0Definition(StrEnum):
    """What H0 is; the id goes into the metadata, and one dataset holds one definition."""

    ATOMIC_DENSITY = "atomic-density-step0"  # T + V_nl + V_loc + V_H + V_xc of the superposed neutral-atom densities
    CORE = "core"  # T + V_nl + V_loc: no electron repulsion at all


class LCAOSettings(RecipeSettings):
    """How the embedded engine computes."""

    section: ClassVar[str] = "lcao"
    default_source: ClassVar[str | None] = EMBEDDED
    knobs: ClassVar[frozenset[str]] = frozenset({
        "scf_nmax", "mixing_beta", "mixing_history", "mixing_kerker_inv_bohr", "rescue", "device", "max_memory_gb",
        "orbital_memory_gb", "box_edge_bohr",
    })  # fmt: skip

    h0_definition: H0Definition = Field(
        default=H0Definition.ATOMIC_DENSITY, description="atomic-density-step0 (of superposed neutral atoms) or core."
    )
    scf_nmax: int = Field(default=60, ge=1, description="Most SCF steps of each attempt.")
    mixing_beta: float = Field(
        default=0.7, gt=0, le=1, description="Share of the density residual that a step takes in."
    )
    mixing_history: int = Field(default=8, ge=1, description="Steps that Pulay mixing remembers.")
    mixing_kerker_inv_bohr: float = Field(
        default=0.0, ge=0, description="Kerker screening of long waves in the first attempt; 0 is none."
    )
    mixed_precision: bool = Field(
        default=True, description="Changes of potential and density between SCF steps on the grid in float32."
    )
    device: str = Field(
        default="cpu",
        pattern=r"^(cpu|cuda(:\d+)?)$",
        description="Torch device of grid and k-space work: cpu, cuda, cuda:1, ...",
    )
    max_memory_gb: Positive = Field(default=8.0, description="A structure that needs more is refused before it starts.")
    orbital_memory_gb: float = Field(
        default=2.0,
        ge=0,
        description="Orbitals on the grid are kept up to this size, and made anew at each use beyond it.",
    )
    box_edge_bohr: float | None = Field(
        default=None,
        ge=0.3,  # a few points of the grid: smaller boxes hold the same points, but there are more of them
        description="Edge of the boxes of grid points, in place of what suits the device.",
    )

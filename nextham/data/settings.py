"""Settings of the dataset: how stores are written, what records must satisfy, how splits are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nextham.core import atomic_number
from nextham.exceptions import InputError
from nextham.physics.spin import TIME_REVERSAL_NOISE_EV


class StoreSettings(BaseModel):
    """How records become files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    structures_per_shard: int = Field(default=512, ge=1, description="A shard is closed after so many structures.")
    shard_raw_mb: float = Field(default=1000.0, gt=0, description="... or so many megabytes of numbers.")
    chunk_numbers: int = Field(
        default=131072, ge=1024, description="Numbers (8 bytes each) in one compressed chunk: 1 MB is read at a time."
    )
    file_mb: int = Field(default=64, ge=1, description="Uncompressed megabytes of chunks in one file.")
    zstd_level: int = Field(default=5, ge=1, le=9, description="Compression level.")
    fraction_bits: int | None = Field(
        default=34,
        ge=24,
        le=52,
        description="Numbers (eV; overlap: 1) are rounded to multiples of 2^-34, by at most 2.9e-11 eV = 2.1e-12 Ry, "
        "far below what the engine prints, which halves a record's bytes; null keeps every bit.",
    )
    spin_tolerance_ry: float = Field(
        default=4e-10,
        ge=0,
        description="A Pauli component is left out when none of its numbers exceeds this (Ry), less than half of the "
        "last printed digit of ABACUS's text. 0 leaves out exact zeros alone.",
    )


class CheckSettings(BaseModel):
    """What a record must satisfy before it enters a store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hermitian_tolerance_ev: float = Field(default=1e-6, gt=0, description="Largest |H_ii(0) - H_ii(0)†|.")
    time_reversal_tolerance_ev: float = Field(
        default=TIME_REVERSAL_NOISE_EV,
        gt=0,
        description="Largest part odd under time reversal of H and H0, of each when its magnetism is 'nonmagnetic'. "
        "Converged runs that lost their starting moments keep up to 6e-6 eV.",
    )
    mesh_spacing_inv_ang: float = Field(
        default=0.7, gt=0, description="Largest step of the k mesh for S(k), the gap and the electron count."
    )
    overlap_min: float = Field(default=0.0, description="Every eigenvalue of S(k) must exceed this.")
    norm_tolerance: float = Field(default=1e-3, gt=0, description="Largest |S_aa - 1| on site.")
    electron_tolerance: float = Field(
        default=0.5,
        gt=0,
        description="Largest error of the number of electrons per cell below E_F, on our coarse mesh.",
    )
    band_tolerance_ev: float = Field(
        default=1e-4, gt=0, description="Largest difference from the engine's printed levels, beyond their rounding."
    )
    band_k_points: int = Field(
        default=12, ge=0, description="Printed k points to compare, spread over the list; 0 compares all."
    )
    printed_digits: int = Field(default=6, ge=3, description="Significant digits of the engine's printed levels.")
    label_overlap: float = Field(
        default=1e-4, gt=0, description="Overlap above which no nearer pair of the same elements may lack one."
    )
    label_decay_inv_ang: float | None = Field(
        default=0.05,
        ge=0,
        description="Beyond 1.6 Å, |S| of two elements must decay with the distance at least by this rate (1/Å); "
        "ABACUS's orbitals have 0.4 and more. null does not compare.",
    )


class HeldOutSettings(BaseModel):
    """Lists of structures outside the distribution of the training set; what is not set makes no list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    elements: tuple[str, ...] = Field(
        default=(), description="ood-element: every structure with one of these elements."
    )
    prototypes: tuple[str, ...] = Field(
        default=(),
        description="ood-prototype: every structure of these prototypes (B3, or a label like AB_cF8_216_a_c).",
    )
    prototype_share: float | None = Field(
        default=None, gt=0, lt=1, description="ood-prototype: prototypes drawn until this share of all structures."
    )
    atoms_above: int | None = Field(default=None, ge=1, description="ood-size: structures with more atoms than this.")
    size_share: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="ood-size: the largest structures, of one size together, about this share.",
    )
    heavy_above: int | None = Field(
        default=None, ge=1, le=117, description="ood-heavy: structures with an element of a larger atomic number; 54."
    )
    strain_above: float | None = Field(
        default=None,
        gt=0,
        description="ood-strain: structures whose volume differs from that of their unstrained crystal by a larger "
        "fraction.",
    )
    strain_share: float | None = Field(
        default=None, gt=0, lt=1, description="ood-strain: the most strained structures, about this share."
    )

    @property
    def lists(self) -> tuple[str, ...]:
        """Names of the lists that are made."""
        made = {
            "ood-element": bool(self.elements),
            "ood-prototype": bool(self.prototypes) or self.prototype_share is not None,
            "ood-size": self.atoms_above is not None or self.size_share is not None,
            "ood-heavy": self.heavy_above is not None,
            "ood-strain": self.strain_above is not None or self.strain_share is not None,
        }
        return tuple(name for name, wanted in made.items() if wanted)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for one, other in (
            ("prototypes", "prototype_share"),
            ("atoms_above", "size_share"),
            ("strain_above", "strain_share"),
        ):
            if getattr(self, one) and getattr(self, other) is not None:
                raise ValueError(f"{one} and {other} say the same thing in two ways; keep one")
        for name in self.elements:
            try:
                atomic_number(name)
            except InputError as error:
                raise ValueError(str(error)) from None
        return self


class SplitSettings(BaseModel):
    """How structures are divided into training, validation and test sets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fractions: dict[str, float] = Field(
        default={"train": 0.8, "val": 0.1, "test": 0.1},
        description="Share of each split; structures of one reduced formula are spread over them in proportion.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the draw.")
    cover_elements: bool = Field(
        default=True,
        description="Structures are exchanged until every element of the other splits also occurs in the largest one: "
        "a model is not asked about an element that it never saw.",
    )
    group: Literal["structure", "crystal", "geometry"] = Field(
        default="structure",
        description="What stays in one subset: each structure by itself; crystal: all copies of a crystal, whose ids "
        "differ in the number after the last hyphen alone (GaAs-B3-0, GaAs-B3-1; not for ids like mp-149); geometry: "
        "all structures that are one crystal, strained, rattled or in a supercell, whatever their ids.",
    )
    held_out: HeldOutSettings = Field(
        default_factory=HeldOutSettings, description="Lists outside the distribution of the others, taken out first."
    )
    id_files: dict[str, Path] = Field(
        default={}, description="Text files with one id a line for each split; replaces the draw when given."
    )
    missing: Literal["leave-out", "refuse"] = Field(
        default="leave-out",
        description="Ids of `id_files` that the dataset does not hold: left out, counted and named; or refused.",
    )
    audit: bool = Field(
        default=True,
        description="Look for structures that stand in two lists, nearly the same or as perturbed copies, and list "
        "them in the split file.",
    )
    strict: bool = Field(default=False, description="Refuse a split that leaks.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        shares = self.fractions.values()
        if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError("the fractions of a split must not be negative and must add up to 1")
        return self

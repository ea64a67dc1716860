"""Which crystals are built, fetched or read, and what is done to them before they are computed."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from nextham.core import atomic_number
from nextham.exceptions import InputError

Repeats = tuple[int, int, int]
_REPEATS: Final = re.compile(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)")


def _element(name: str) -> str:
    try:
        atomic_number(name)
    except InputError as error:
        raise ValueError(str(error)) from None
    return name


def _repeats(text: str) -> str:
    if not _REPEATS.fullmatch(text):
        raise ValueError(f"{text!r} is not a supercell like 2x1x1")
    return text


def _system(text: str) -> str:
    return "-".join(sorted(_element(name) for name in text.split("-")))


ElementName = Annotated[str, AfterValidator(_element)]


class PerturbSettings(BaseModel):
    """Copies of each crystal, strained and rattled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    perturbed: int = Field(
        default=0, ge=0, description="Strained and rattled copies of each, beside the ideal crystal."
    )
    supercells: dict[Annotated[str, AfterValidator(_repeats)], NonNegativeInt] = Field(
        default={}, description="... and so many of each in supercells of its cell, e.g. {2x1x1: 1}."
    )
    strain: float = Field(
        default=0.03, ge=0, lt=0.3, description="Standard deviation of each component of the symmetric strain."
    )
    rattle_ang: float = Field(
        default=0.05, ge=0, lt=0.5, description="Standard deviation of each coordinate's displacement."
    )
    seed: int = Field(default=0, ge=0, description="Seed of strains and displacements.")

    @property
    def cells(self) -> list[Repeats | None]:
        """The supercell of each copy in the order of their numbers, which begin with 1; None: the crystal's own cell.

        >>> PerturbSettings(perturbed=1, supercells={"2x1x1": 2}).cells
        [None, (2, 1, 1), (2, 1, 1)]
        """
        found: list[Repeats | None] = [None] * self.perturbed
        for text, count in self.supercells.items():
            a, b, c = map(int, text.split("x"))
            found += [(a, b, c)] * count
        return found


class CrystalSettings(PerturbSettings):
    """Crystals of known prototypes, ideal and perturbed."""

    prototypes: dict[str, dict[str, float | None]] = Field(
        default={},
        description="Prototype (Strukturbericht symbol, e.g. B3, or AFLOW label): formula: lattice constant a of the "
        "conventional cell in Å, to which the prototype is scaled; null predicts the volume from bond lengths.",
    )
    decorate: dict[str, dict[str, list[ElementName]]] = Field(
        default={},
        description="Prototype: the elements that each of its sites takes, in every combination, at predicted volumes, "
        "e.g. {B1: {A: [Na, Mg], B: [O, S]}}; `nextham generate --list` names the sites.",
    )
    charge_neutral: bool = Field(
        default=False,
        description="Of the combinations of `decorate`, build those that common oxidation states make neutral "
        "(formulas of up to 24 atoms); elements are.",
    )
    perturbed: int = Field(
        default=1, ge=0, description="Strained and rattled copies of each, beside the ideal crystal."
    )

    def ids(self) -> list[str]:
        """Return the ids of the crystals that `prototypes` lists, with their copies.

        >>> CrystalSettings(prototypes={"B3": {"GaAs": 5.653}, "B1": {"NaCl": 5.64}}).ids()
        ['GaAs-B3-0', 'GaAs-B3-1', 'NaCl-B1-0', 'NaCl-B1-1']
        """
        return [id for name, formulas in self.prototypes.items() for f in formulas for id in self.ids_of(f, name)]

    def ids_of(self, formula: str, prototype: str) -> list[str]:
        """Return the ids of a crystal and its copies: formula, prototype, 0 for the ideal one or the copy's number.

        >>> CrystalSettings(perturbed=1, supercells={"2x1x1": 1}).ids_of("GaAs", "B3")
        ['GaAs-B3-0', 'GaAs-B3-1', 'GaAs-B3-2']
        """
        return [f"{family_of(formula, prototype)}-{n}" for n in range(len(self.cells) + 1)]


class MatchSettings(BaseModel):
    """When two structures are duplicates of each other: pymatgen's StructureMatcher, volumes not scaled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: float = Field(default=0.01, gt=0, le=0.2, description="Largest relative difference of lattice vectors.")
    angle_deg: float = Field(default=1.0, gt=0, le=10, description="Largest difference of the cell's angles.")
    volume: float = Field(default=0.03, gt=0, le=1, description="Largest relative difference of the volumes.")
    site: float = Field(
        default=0.01,
        gt=0,
        le=0.3,
        description="Largest root mean square distance of sites, in units of the cube root of the volume per atom.",
    )


class FilterSettings(BaseModel):
    """Which structures stay."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_atoms: PositiveInt | None = Field(default=None, description="Fewest atoms per cell.")
    max_atoms: PositiveInt | None = Field(default=None, description="Most atoms per cell.")
    max_orbitals: PositiveInt | None = Field(
        default=None, description="Most orbitals per cell, of the species that will compute it."
    )
    elements: tuple[ElementName, ...] = Field(default=(), description="Only these elements; empty: any.")
    without: tuple[ElementName, ...] = Field(default=(), description="None of these elements.")
    known_species: bool = Field(
        default=False, description="Only elements that the species source has, embedded or a folder."
    )
    min_distance_ang: float | None = Field(default=None, gt=0, description="Shortest distance between two atoms.")
    max_volume_ang3: float | None = Field(default=None, gt=0, description="Largest volume per atom.")


class PrepareSettings(BaseModel):
    """What is done to structures before they are computed, in this order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    primitive: bool = Field(default=False, description="Reduce to primitive cells.")
    primitive_tolerance_ang: float = Field(
        default=1e-3, gt=0, le=0.5, description="Distance within which atoms count as equivalent by symmetry."
    )
    filters: FilterSettings = Field(default_factory=FilterSettings, description="What a structure must be to stay.")
    unique: bool = Field(default=False, description="Of structures that are duplicates of each other, keep the first.")
    match: MatchSettings = Field(default_factory=MatchSettings, description="When structures are duplicates.")
    copies: PerturbSettings = Field(
        default_factory=PerturbSettings, description="Strained and rattled copies, beside each structure."
    )


class MaterialsProjectSettings(BaseModel):
    """Which structures are fetched from the Materials Project; conditions hold together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids_from: tuple[str, ...] = Field(
        default=(), description="Text files with one Materials Project id a line; # begins a comment."
    )
    ids: tuple[str, ...] = Field(default=(), description="Ids, e.g. [mp-149].")
    elements: tuple[ElementName, ...] = Field(default=(), description="Elements that each structure has.")
    without: tuple[ElementName, ...] = Field(default=(), description="Elements that none has.")
    chemical_systems: tuple[Annotated[str, AfterValidator(_system)], ...] = Field(
        default=(), description="Exactly these elements, e.g. [Ga-As, Si]."
    )
    n_elements: tuple[PositiveInt, PositiveInt] | None = Field(default=None, description="Fewest and most elements.")
    n_atoms: tuple[PositiveInt, PositiveInt] | None = Field(
        default=None, description="Fewest and most atoms per primitive cell."
    )
    hull_ev: float | None = Field(default=None, ge=0, description="Largest energy above the convex hull, eV/atom.")
    magnetic_ordering: Literal["NM", "FM", "FiM", "AFM"] | None = Field(
        default=None, description="Magnetic order that the Materials Project found; NM: none."
    )
    experimental: bool = Field(default=False, description="Only crystals that experiments have seen.")
    gnome: bool = Field(
        default=False, description="Also structures of the GNoME set, whose licence forbids commercial use."
    )
    cache: str = Field(default="~/.cache/nextham/materials-project", description="Folder of what was fetched.")
    batch: int = Field(default=200, ge=1, le=1000, description="Structures per request; each is kept when it is there.")
    requests_per_s: float = Field(default=5.0, gt=0, le=25, description="At most so many requests a second.")
    attempts: int = Field(
        default=6, ge=1, le=20, description="How often a request is tried while the server is busy or out of reach."
    )


def family_of(formula: str, prototype: str) -> str:
    """Return what the ids of a crystal and its copies begin with; a prime in a Strukturbericht symbol becomes a p."""
    return f"{formula}-{prototype.replace(chr(39), 'p')}"

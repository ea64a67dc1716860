"""scores.json: what a score says, as typed records. The JSON schema in benchmark/schemas is made from these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nextham.console import first_problem
from nextham.exceptions import InputError
from nextham.files import whole

SCHEMA_VERSION = "2"


class Record(BaseModel):
    """A closed, immutable record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Mean(Record):
    """One mean error."""

    macro_mev: float = Field(description="mean over structures of the mean over elements, meV")
    micro_mev: float = Field(description="mean over all matrix elements, meV")


class Columns(Record):
    """One number for the model and its two baselines."""

    zero: Mean = Field(description="prediction P = 0")
    h0: Mean = Field(description="prediction P = H0")
    model: Mean = Field(description="the scored prediction")
    skill: float | None = Field(description="1 - model/h0 of the macro means; null where h0 is zero")
    skill_micro: float | None = Field(description="1 - model/h0 of the micro means; null where h0 is zero")


class SpinBlock(Record):
    """One of the four spin blocks."""

    real: Columns
    imag: Columns


class BreakdownRow(Record):
    """Errors of some matrix elements."""

    n_structures: int = Field(description="structures that have any")
    n_elements: int = Field(description="counted matrix elements of one spin block")
    overall: Columns = Field(description="mean complex modulus over the four spin blocks")
    uu_real: Columns = Field(description="real part of the ↑↑ block")


class Interval(Record):
    """A bootstrap confidence interval over structures."""

    low: float
    high: float
    confidence: float


class GaugeMae(Record):
    """Gauge MAE in one protocol."""

    n_structures: int
    n_elements: int = Field(description="counted matrix elements of one spin block, all structures")
    overall: Columns = Field(description="mean complex modulus over the four spin blocks")
    spin_blocks: dict[Literal["uu", "ud", "du", "dd"], SpinBlock]
    breakdowns: dict[str, dict[str, BreakdownRow]] = Field(description="name of the breakdown: label: errors")
    intervals: dict[str, Interval | None] = Field(description="of the macro means (meV) and of the skill")


class Subspace(Record):
    """Mean |C† E(k) C| in the reference's eigenvectors, meV; null where there are no such levels."""

    p_mev: float | None = Field(description="among the levels up to 10 eV above the Fermi level (P)")
    pq_mev: float | None = Field(description="between those and the levels above (Q)")
    q_mev: float | None = Field(description="among the levels above")


class BandColumn(Record):
    """Band errors of one prediction, means over structures of absolute values unless said otherwise."""

    mean_mev: float = Field(description="mean |ε_P - ε_H| in the window, on the mesh")
    rms_mev: float
    max_mev: float = Field(description="largest error of any structure")
    occupied_mev: float | None = Field(description="occupied levels of the window alone; null: none")
    path_mev: float | None = Field(description="mean |ε_P - ε_H| in the window, on the standard path; null without it")
    gap_mev: float = Field(description="error of the gap of the mesh, 0 for a metal")
    vbm_mev: float | None = Field(description="error of the highest filled level, structures with a gap; null: none")
    cbm_mev: float | None = Field(description="error of the lowest empty level, structures with a gap; null: none")
    fermi_mev: float = Field(description="error of the Fermi level of the mesh")
    soc_splitting_mev: float | None = Field(description="error of the spin-orbit splitting at Γ; null: no level there")
    soc_levels_mev: float | None = Field(description="error of what spin-orbit coupling does to each level at Γ")
    dos_mev: float = Field(description="Wasserstein distance of the levels in the window, per level")
    subspace: Subspace
    shares_below: dict[str, float] = Field(description="share of structures with a band error below so many meV")
    ghosts_per_k: float = Field(description="ghost levels per k point")
    ghost_share: float = Field(description="share of structures with any ghost state")


class Bands(Record):
    """Errors of the energy levels."""

    n_structures: int
    n_path: int = Field(description="structures that have a standard path")
    n_gapped: int = Field(description="structures whose reference has a gap on the mesh")
    mesh: tuple[int, int, int]
    path: str = Field(description="how the standard path is made")
    window_ev: tuple[float, float] = Field(description="around the Fermi level of the reference")
    overlap_filter: float
    max_overlap_condition: float | None = Field(description="largest cond(S(k)); null if S(k) is singular")
    h0: BandColumn
    model: BandColumn
    intervals: dict[str, Interval | None] = Field(
        description="of the model's means over structures, by the names of its columns (meV, shares), and of the skill"
    )


class BandRow(Record):
    """Band errors of one structure, meV; gap, levels and splitting are signed, P minus H."""

    mean_mev: float
    rms_mev: float
    max_mev: float
    occupied_mev: float | None
    path_mev: float | None
    path_max_mev: float | None
    gap_mev: float
    vbm_mev: float | None = Field(description="null for a metal")
    cbm_mev: float | None = Field(description="null for a metal")
    fermi_mev: float
    soc_splitting_mev: float | None
    soc_levels_mev: float | None
    dos_mev: float
    subspace: Subspace
    shift_mev: float
    ghosts_per_k: float
    ghost_k_share: float


class ReferenceRow(Record):
    """What the levels of one reference are, for reading its errors."""

    fermi_ev: float
    n_electrons: float
    gap_ev: float = Field(description="indirect gap of the mesh, 0 for a metal")
    soc_splitting_mev: float | None = Field(description="spin-orbit splitting at Γ; null: no level of the window there")
    n_levels: int = Field(description="levels in the window, all points of the mesh")
    n_path_k: int = Field(description="k points of the standard path; 0: it was not made")
    overlap_min: float = Field(description="smallest eigenvalue of S(k) on the mesh")
    overlap_condition: float | None = Field(description="largest cond(S(k)) of the mesh; null if S(k) is singular")


class OpticsRow(Record):
    """Distance of Re σ_xx(ω) of one structure: ∫|σ_P - σ_H| dω / ∫|σ_H| dω."""

    h0: float | None
    model: float | None
    bands_max_mev: float | None = Field(description="largest difference of the program's levels of H from ours")
    skipped: str | None = Field(description="why there are none; null where there are")


class Optics(Record):
    """Optical conductivity by an external program, means over structures; never part of a ranking."""

    n_structures: int
    n_skipped: int
    program: str = Field(description="name and version")
    position_matrix: str = Field(description="where r(R) comes from")
    omega_ev: tuple[float, float]
    step_ev: float
    broadening_ev: float
    mesh: tuple[int, int, int]
    h0: float | None = Field(description="relative L1 distance of Re σ_xx(ω); null: no structure")
    model: float | None
    bands_max_mev: float | None = Field(description="largest difference of the program's levels of H from ours")


class StructureRow(Record):
    """One structure."""

    id: str
    formula: str
    n_atoms: int
    shift_mev: dict[str, float] = Field(description="column: best energy shift μ*")
    n_elements: dict[str, int] = Field(description="protocol: counted matrix elements of one spin block")
    overall_mev: dict[str, dict[str, float | None]] = Field(description="protocol: column: overall Gauge MAE")
    uu_real_mev: dict[str, dict[str, float | None]] = Field(description="protocol: column: its ↑↑ real part")
    reference: ReferenceRow | None = Field(description="null where levels were not compared")
    bands: dict[str, BandRow] | None = Field(description="column: band errors")
    optics: OpticsRow | None = None


class DataRecord(Record):
    """Which data a score is about."""

    name: str
    sha256: str
    n_structures: int
    h0_definition: str = ""
    basis: str = ""


class Coverage(Record):
    """Which structures of the reference were scored."""

    n_wanted: int
    n_scored: int
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    duplicate: tuple[str, ...] = ()
    refused: dict[str, str] = Field(default={}, description="id: why this structure's prediction cannot be scored")

    @property
    def complete(self) -> bool:
        """Whether the score may enter a ranking."""
        return not (self.missing or self.extra or self.duplicate or self.refused)


class SplitRecord(Record):
    """Which part of the reference was scored."""

    subset: str
    sha256: str


class Scores(Record):
    """One prediction scored against one reference."""

    schema_version: Literal["2"] = "2"
    metric_version: str
    code_version: str
    name: str = Field(description="what the model column is called")
    baseline: Literal["zero", "h0"] | None = Field(description="set when a baseline was scored instead of a prediction")
    protocol: Literal["full", "paper"] = Field(description="the protocol of the headline numbers")
    reference: DataRecord
    prediction: DataRecord | None
    split: SplitRecord | None
    coverage: Coverage
    partial: bool = Field(description="whether structures are missing, extra or duplicate; such a score is not ranked")
    gauge_mae: dict[Literal["full", "paper"], GaugeMae]
    bands: Bands | None
    optics: Optics | None = None
    structures: tuple[StructureRow, ...]
    worst: tuple[str, ...] = Field(description="ids with the largest overall Gauge MAE of the headline protocol")

    @property
    def headline(self) -> GaugeMae:
        """The Gauge MAE of the headline protocol."""
        return self.gauge_mae[self.protocol]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of scores.json."""
    schema = Scores.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def write_scores(scores: Scores, path: Path) -> None:
    """Write scores.json whole or not at all."""
    with whole(path) as part:
        part.write_text(scores.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_scores(path: Path) -> Scores:
    """Read scores.json.

    Raises:
        InputError: if the file is missing or is not one.
    """
    if not path.is_file():
        raise InputError(f"there is no scores file {path}; make one with nextham-bench score")
    try:
        return Scores.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON ({error.msg}, line {error.lineno})") from None
    except ValidationError as error:
        raise InputError(
            f"{path} is not a scores file of schema version {SCHEMA_VERSION}: {first_problem(error, Scores)}"
        ) from None

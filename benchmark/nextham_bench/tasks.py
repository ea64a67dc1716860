"""What each task measures: the thresholds of tasks.yml, typed."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict

_CLOSED = ConfigDict(frozen=True, extra="forbid")


class GaugeMaeTask(BaseModel):
    """Error of matrix elements after the best energy shift."""

    model_config = _CLOSED
    unit: str
    better: str
    paper_cutoff_ang: float
    distance_edges_ang: tuple[float, ...]
    worst: int


class BandsTask(BaseModel):
    """Error of energy levels after one shift per structure."""

    model_config = _CLOSED
    unit: str
    better: str
    mesh: tuple[int, int, int]
    path_spacing_inv_ang: float
    window_ev: tuple[float, float]
    overlap_filter: float
    shares_mev: tuple[float, ...]


class SubspacesTask(BaseModel):
    """Error of the matrix in the reference's eigenvectors."""

    model_config = _CLOSED
    unit: str
    better: str
    cut_ev: float
    mesh: tuple[int, int, int]
    offset: tuple[float, float, float]


class OpticsTask(BaseModel):
    """Optical conductivity by an external program."""

    model_config = _CLOSED
    unit: str
    better: str
    omega_ev: tuple[float, float]
    step_ev: float
    broadening_ev: float
    mesh: tuple[int, int, int]
    min_gap_ev: float


class GhostsTask(BaseModel):
    """Levels that the reference does not have."""

    model_config = _CLOSED
    unit: str
    better: str
    level_distance_ev: float
    ratio: float
    max_error_ev: float


class BootstrapTask(BaseModel):
    """Confidence intervals over structures."""

    model_config = _CLOSED
    resamples: int
    confidence: float
    seed: int


class Tasks(BaseModel):
    """Every definition that a score depends on."""

    model_config = _CLOSED
    metric_version: str
    gauge_mae: GaugeMaeTask
    bands: BandsTask
    subspaces: SubspacesTask
    optics: OpticsTask
    ghosts: GhostsTask
    bootstrap: BootstrapTask


@cache
def tasks() -> Tasks:
    """Return the definitions that ship with this version."""
    return Tasks.model_validate(
        yaml.safe_load(files("nextham_bench").joinpath("tasks.yml").read_text(encoding="utf-8"))
    )

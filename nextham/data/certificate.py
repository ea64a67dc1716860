"""Certificate: what the checks of one record measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
    """Which checks one record passed, and the numbers they measured. Plain values only: it is also JSON."""

    passed: tuple[str, ...] = ()
    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)  # check: why it could not be done
    mesh: tuple[int, int, int] | None = None  # k mesh of S(k), gap and electron count
    overlap_min: float | None = None  # smallest eigenvalue of S(k)
    overlap_condition: float | None = None  # largest condition number of S(k)
    norm_error: float | None = None  # max |S_aa - 1| on site
    hermitian_ev: float | None = None  # max |H_ii(0) - H_ii(0)†|
    time_reversal_ev: float | None = None  # largest time-reversal odd number of H
    time_reversal_h0_ev: float | None = None  # the same of H0
    electrons: float | None = None  # below E_F on the mesh
    electron_error: float | None = None  # minus the engine's
    band_error_ev: float | None = None  # largest difference from the printed levels
    n_band_k: int | None = None  # printed k points compared
    gap_ev: float | None = None  # on the mesh
    n_honly_pairs: int | None = None  # pairs with H or H0 but no S
    max_hamiltonian_ev: float | None = None  # max |H|
    shift_ev: float | None = None  # μ of H - H0
    mean_correction_mev: float | None = None  # mean |H - H0 - μS| over all elements and spin blocks, meV

    def __post_init__(self) -> None:
        object.__setattr__(self, "passed", tuple(self.passed))
        if self.mesh is not None:
            object.__setattr__(self, "mesh", tuple(self.mesh))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self) | {"skipped": dict(self.skipped)}

"""All measurements of one structure."""

from __future__ import annotations

import dataclasses

from nextham.core import BlockMatrix, LCAOSystem
from nextham.physics.bands import gap
from nextham_bench.coverage import check_reference, unit_factor
from nextham_bench.metrics.bands import BandErrors, band_errors, reference_levels
from nextham_bench.metrics.gauge_mae import GaugeErrors, gauge_errors


@dataclasses.dataclass(frozen=True)
class Measured:
    """What is kept of one structure: small tables, whatever its size."""

    id: str
    formula: str
    n_atoms: int
    gauge: GaugeErrors
    bands: dict[str, BandErrors] | None  # "h0" and "model"
    overlap_condition: float | None  # largest cond(S(k)) of the band mesh
    gap_ev: float | None  # of the reference on the mesh
    unit_factor: float | None


def measured(reference: LCAOSystem, prediction: BlockMatrix, *, bands: bool = True) -> Measured:
    """Measure one structure.

    Args:
        reference: one structure with overlap, h0 and hamiltonian.
        prediction: predicted Hamiltonian on the same pairs.
        bands: whether to solve for energy levels too.
    """
    check_reference(reference)
    found, condition, own_gap = None, None, None
    if bands:
        levels = reference_levels(reference, prediction=prediction)
        condition = levels.overlap_condition
        own_gap = gap(levels.energies, levels.n_electrons)
        columns = {"h0": reference.operator("h0"), "model": prediction}
        found = {name: band_errors(reference, matrix, levels) for name, matrix in columns.items()}
    return Measured(
        reference.ids[0],
        reference.structure().formula,
        len(reference.numbers),
        gauge_errors(reference, prediction),
        found,
        condition,
        own_gap,
        unit_factor(reference, prediction),
    )

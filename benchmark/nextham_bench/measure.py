"""All measurements of one structure."""

from __future__ import annotations

import dataclasses

import numpy as np

from nextham.core import BlockMatrix, LCAOSystem
from nextham.exceptions import InputError
from nextham_bench.coverage import check_reference
from nextham_bench.metrics.bands import BandErrors, ReferenceFacts, band_errors, reference_facts
from nextham_bench.metrics.gauge_mae import GaugeErrors, gauge_errors
from nextham_bench.metrics.levels import solved
from nextham_bench.metrics.optics import OpticsErrors, optics_errors
from nextham_bench.metrics.subspaces import SubspaceErrors, subspace_errors
from nextham_bench.recognise import Suspicion, suspicion


@dataclasses.dataclass(frozen=True)
class BandMeasures:
    """Everything about the levels of one structure, by column: "h0" and "model"."""

    reference: ReferenceFacts
    errors: dict[str, BandErrors]
    subspaces: dict[str, SubspaceErrors]


@dataclasses.dataclass(frozen=True)
class Measured:
    """What is kept of one structure: small tables of plain numbers, whatever its size."""

    id: str
    formula: str
    n_atoms: int
    gauge: GaugeErrors
    bands: BandMeasures | None
    optics: OpticsErrors | None
    suspicion: Suspicion


def measured(reference: LCAOSystem, prediction: BlockMatrix, *, bands: bool = True, optics: bool = False) -> Measured:
    """Measure one structure.

    Args:
        reference: one structure with overlap, h0 and hamiltonian.
        prediction: predicted Hamiltonian on the same pairs.
        bands: whether to solve for energy levels too.
        optics: whether to compute the optical conductivity too, with pyatb; it needs the levels.

    Raises:
        InputError: if the reference cannot be scored against.
    """
    check_reference(reference)
    gauge = gauge_errors(reference, prediction)
    if not np.isfinite(gauge.products).all():
        raise InputError(f"the reference record {reference.ids[0]} has numbers that are not finite (NaN or infinite)")
    columns = {"h0": reference.operator("h0"), "model": prediction}
    levels = _bands(reference, columns, gauge) if bands else None
    return Measured(
        reference.ids[0],
        reference.structure().formula,
        len(reference.numbers),
        gauge,
        levels,
        optics_errors(reference, columns, levels.reference) if optics and levels else None,
        suspicion(reference, prediction, gauge.products),
    )


def _bands(reference: LCAOSystem, columns: dict[str, BlockMatrix], gauge: GaugeErrors) -> BandMeasures:
    levels = solved(reference, columns)
    try:
        errors = {name: band_errors(own, levels) for name, own in levels.predictions.items()}
    except InputError as error:
        raise InputError(f"{reference.ids[0]}: {error}") from None
    subspaces = subspace_errors(reference, columns, gauge.shifts, fermi_ev=levels.fermi)
    return BandMeasures(reference_facts(levels), errors, subspaces)

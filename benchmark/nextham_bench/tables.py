"""From measurements of single structures to the tables of a score, in sums that do not grow with the structures."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.exceptions import InputError
from nextham.physics.spin import SPIN_BLOCKS
from nextham_bench.band_tables import band_row, bands_of, optics_of, reference_row
from nextham_bench.measure import Measured
from nextham_bench.metrics.gauge_mae import BREAKDOWNS, COLUMNS, PROTOCOLS, Protocol, Total
from nextham_bench.schema import (
    Bands,
    BreakdownRow,
    Columns,
    GaugeMae,
    Mean,
    Optics,
    OpticsRow,
    SpinBlock,
    StructureRow,
)
from nextham_bench.statistics import interval_of_mean, interval_of_skill
from nextham_bench.tasks import tasks

_MEV = 1000.0
_REAL, _IMAG, _MODULUS = range(3)
_UU = SPIN_BLOCKS.index("uu")
NOTHING_MEV: Final = 1e-6  # a baseline error below this leaves no skill to speak of


@dataclasses.dataclass
class _Sums:
    """Running sums of some matrix elements over structures."""

    n_structures: int = 0
    n_elements: int = 0
    macro: NDArray[np.float64] | float = 0.0  # Σ of each structure's mean, eV
    micro: NDArray[np.float64] | float = 0.0  # Σ over elements, eV

    def add(self, count: int, sums: Any) -> None:
        """Add one structure's sums of eV over so many elements."""
        values = np.asarray(sums, dtype=np.float64)
        self.n_structures += 1
        self.n_elements += count
        self.macro = self.macro + values / count
        self.micro = self.micro + values

    def columns(self, *place: int) -> Columns:
        """Return the means of the quantity at a place; the columns are the first axis."""
        means = {}
        for c, column in enumerate(COLUMNS):
            macro, micro = (np.asarray(total)[c, *place] for total in (self.macro, self.micro))
            means[column] = Mean(
                macro_mev=_MEV * float(macro) / self.n_structures, micro_mev=_MEV * float(micro) / self.n_elements
            )
        h0, model = means["h0"], means["model"]
        return Columns(
            **means, skill=skill(model.macro_mev, h0.macro_mev), skill_micro=skill(model.micro_mev, h0.micro_mev)
        )


class Tables:
    """Everything that a score says, from measurements that are handed over one by one."""

    def __init__(self) -> None:
        self.rows: list[StructureRow] = []
        self._totals: dict[Protocol, _Sums] = {protocol: _Sums() for protocol in PROTOCOLS}
        self._parts: dict[tuple[Protocol, str, str], _Sums] = {}

    def add(self, measured: Measured) -> None:
        """Add one structure."""
        self.rows.append(structure_row(measured))
        for protocol in PROTOCOLS:
            total = measured.gauge.totals[protocol]
            if total.count:
                sums = np.array(total.sums)  # (n_columns, 3, 4)
                overall = sums[:, _MODULUS].mean(axis=-1)
                self._totals[protocol].add(total.count, np.column_stack([overall, sums.reshape(len(COLUMNS), -1)]))
            for name, labels in measured.gauge.tallies[protocol].items():
                for label, tally in labels.items():
                    held = self._parts.setdefault((protocol, name, label), _Sums())
                    held.add(tally.count, np.column_stack([tally.overall, tally.uu_real]))

    def gauge_mae(self) -> dict[Protocol, GaugeMae]:
        """Return the Gauge MAE in both protocols.

        Raises:
            InputError: if a protocol counts nothing at all.
        """
        return {protocol: self._gauge_table(protocol) for protocol in PROTOCOLS}

    def bands(self) -> Bands | None:
        """Return the band errors; None where they were not measured."""
        return bands_of(self.rows)

    def optics(self) -> Optics | None:
        """Return the optical conductivities; None where they were not computed."""
        return optics_of(self.rows)

    def worst_ids(self, protocol: Protocol) -> tuple[str, ...]:
        """Return the ids with the largest overall Gauge MAE, largest first."""
        ranked = sorted(self.rows, key=lambda row: (-(row.overall_mev[protocol]["model"] or 0.0), row.id))
        return tuple(row.id for row in ranked[: tasks().gauge_mae.worst])

    def _gauge_table(self, protocol: Protocol) -> GaugeMae:
        totals = self._totals[protocol]
        if not totals.n_structures:
            raise InputError(f"the protocol {protocol} counts no matrix element of these structures")
        of_block = {
            name: [totals.columns(1 + 4 * part + b) for part in (_REAL, _IMAG)] for b, name in enumerate(SPIN_BLOCKS)
        }
        overall, h0, uu = (
            self._of_structures(protocol, kind, column)
            for kind, column in (("overall_mev", "model"), ("overall_mev", "h0"), ("uu_real_mev", "model"))
        )
        return GaugeMae(
            n_structures=totals.n_structures,
            n_elements=totals.n_elements,
            overall=totals.columns(0),
            spin_blocks={name: SpinBlock(real=real, imag=imag) for name, (real, imag) in of_block.items()},  # type: ignore[misc]  # the names are those of SPIN_BLOCKS
            breakdowns={name: self._breakdown(protocol, name) for name in BREAKDOWNS},
            intervals={
                "overall": interval_of_mean(overall),
                "uu_real": interval_of_mean(uu),
                "h0_overall": interval_of_mean(h0),
                "skill": interval_of_skill(overall, h0),
            },
        )

    def _of_structures(self, protocol: Protocol, kind: str, column: str) -> list[float]:
        values = (getattr(row, kind)[protocol][column] for row in self.rows)
        return [value for value in values if value is not None]

    def _breakdown(self, protocol: Protocol, name: str) -> dict[str, BreakdownRow]:
        own = {key[2]: sums for key, sums in self._parts.items() if key[:2] == (protocol, name)}
        return {
            label: BreakdownRow(
                n_structures=own[label].n_structures,
                n_elements=own[label].n_elements,
                overall=own[label].columns(0),
                uu_real=own[label].columns(1),
            )
            for label in sorted(own)
        }


def skill(model_mev: float, h0_mev: float) -> float | None:
    """Return 1 - MAE(model)/MAE(h0): 0 is no better than the free prior; None where that has no error.

    >>> skill(1.0, 4.0)
    0.75
    """
    return None if h0_mev < NOTHING_MEV else 1.0 - model_mev / h0_mev


def structure_row(measured: Measured) -> StructureRow:
    """Return the line of one structure."""
    totals = measured.gauge.totals
    bands, optics = measured.bands, measured.optics
    return StructureRow(
        id=measured.id,
        formula=measured.formula,
        n_atoms=measured.n_atoms,
        shift_mev={column: _MEV * mu for column, mu in measured.gauge.shifts.items()},
        n_elements={protocol: total.count for protocol, total in totals.items()},
        overall_mev={p: _means(total, lambda sums: sums[:, _MODULUS].mean(axis=-1)) for p, total in totals.items()},
        uu_real_mev={p: _means(total, lambda sums: sums[:, _REAL, _UU]) for p, total in totals.items()},
        reference=None if bands is None else reference_row(bands.reference),
        bands=None if bands is None else {c: band_row(bands.errors[c], bands.subspaces[c]) for c in bands.errors},
        optics=None if optics is None else OpticsRow(**dataclasses.asdict(optics)),
    )


def _means(total: Total, chosen: Any) -> dict[str, float | None]:
    if not total.count:
        return dict.fromkeys(COLUMNS)
    return dict(zip(COLUMNS, (_MEV * chosen(np.array(total.sums)) / total.count).tolist(), strict=True))

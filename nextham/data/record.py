"""One structure as a store holds it: the independent numbers alone, and their checksum."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import OPERATORS, BlockMatrix, LCAOSystem, OrbitalBasis, PairList, Provenance, SpinLayout, Structure
from nextham.core.blocks import most_general, widened
from nextham.data.certificate import Certificate
from nextham.data.settings import StoreSettings
from nextham.exceptions import InputError
from nextham.units import RYDBERG_EV

STORED: Final = {
    "overlap": "S, dimensionless",
    "h0": "H0, eV",
    "correction": "H - H0, eV",
    "hamiltonian": "H, eV; only where no H0 stands beside it",
}
ROWS: Final = ("Re h_0", "Im h_0", "Re h_x", "Im h_x", "Re h_y", "Im h_y", "Re h_z", "Im h_z")
_ROWS_OF: Final = {SpinLayout.SCALAR: [0], SpinLayout.TIME_REVERSAL: [0, 3, 5, 7], SpinLayout.FULL: list(range(8))}


@dataclasses.dataclass(frozen=True)
class Rows:
    """Those of the eight real rows of an operator's Pauli components that are not zero.

    Bit b of the mask says that row b of ``ROWS`` is held; row Re h_0 always is.
    """

    mask: int
    values: NDArray[np.float64]  # (n_rows, n_values)

    @classmethod
    def of(cls, values: NDArray[Any], tolerance: float) -> tuple[Rows, float]:
        """Return the rows of operator values in any layout, and the largest number left out."""
        held = _ROWS_OF[SpinLayout.of(values)]
        rows = np.stack([values.real, values.imag], axis=1).reshape(8, -1) if len(held) == 8 else values
        largest = np.abs(rows).max(axis=1, initial=0.0)
        keep = ~(largest <= tolerance)  # NaN stays
        keep[0] = True
        mask = sum(1 << row for row, kept in zip(held, keep, strict=True) if kept)
        return cls(mask, np.ascontiguousarray(rows[keep], dtype=np.float64)), float(largest[~keep].max(initial=0.0))

    def expanded(self) -> NDArray[Any]:
        """Return operator values (n_spin_components, n_values) in the narrowest layout that holds the rows."""
        held = rows_of_mask(self.mask)
        layout = next(each for each, rows in _ROWS_OF.items() if set(held) <= set(rows))
        wanted = _ROWS_OF[layout]
        rows = self.values
        if held != wanted:
            rows = np.zeros((len(wanted), self.values.shape[1]))
            rows[[wanted.index(row) for row in held]] = self.values
        return rows if layout is not SpinLayout.FULL else rows[0::2] + 1j * rows[1::2]


def rows_of_mask(mask: int) -> list[int]:
    """Return which rows a mask holds.

    >>> rows_of_mask(0b10101001)
    [0, 3, 5, 7]
    """
    return [row for row in range(8) if mask >> row & 1]


def available(stored: Collection[str]) -> tuple[str, ...]:
    """Return which operators follow from the stored ones.

    >>> available(["h0", "correction"])
    ('h0', 'hamiltonian')
    """
    names = set(stored) | ({"hamiltonian"} if {"h0", "correction"} <= set(stored) else set())
    return tuple(name for name in OPERATORS if name in names)


@dataclasses.dataclass(frozen=True)
class Record:
    """One structure as a store holds it."""

    structure: Structure
    basis: OrbitalBasis  # of the structure's own elements
    pairs: PairList
    meta: Provenance
    stored: Mapping[str, Rows]  # the operators of ``STORED`` that it has
    dropped_ev: float = 0.0  # largest number of a Pauli component that was left out as noise
    rounding: float = 0.0  # largest change of a number by rounding, eV (overlap: 1)
    certificate: Certificate | None = None

    @property
    def id(self) -> str:
        """The structure's id."""
        return self.meta.id

    @property
    def operators(self) -> tuple[str, ...]:
        """Operators that :meth:`system` can give."""
        return available(self.stored)

    @property
    def nbytes(self) -> int:
        """Bytes of the operators' numbers before compression."""
        return sum(rows.values.nbytes for rows in self.stored.values())

    @property
    def about(self) -> dict[str, Any]:
        """What is no array of it, as JSON values."""
        return {
            "id": self.id,
            "sha256": self.sha256,
            "dropped_ev": self.dropped_ev,
            "rounding": self.rounding,
            "provenance": _plain(self.meta),
            "certificate": self.certificate.as_dict() if self.certificate else None,
        }

    @cached_property
    def sha256(self) -> str:
        """Checksum over the crystal, the pairs and every stored number (little-endian), and the basis."""
        digest = hashlib.sha256(str(self.basis).encode())
        geometry = (self.structure.numbers, self.structure.positions, self.structure.cell, self.pairs.ij, self.pairs.R)
        for array in geometry:
            digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        for name in STORED:
            if name in self.stored:
                digest.update(f"{name} {self.stored[name].mask}".encode())
                digest.update(np.ascontiguousarray(self.stored[name].values, dtype="<f8").tobytes())
        return digest.hexdigest()

    def system(self, operators: Collection[str] | None = None) -> LCAOSystem:
        """Return the structure with its operators (all that it has, or those named).

        Raises:
            InputError: if an operator is not there.
        """
        wanted = self.operators if operators is None else tuple(operators)
        values = {}
        for name in wanted:
            if name not in self.operators:
                raise lacks(self.id, name, self.stored)
            values[name] = self._hamiltonian() if name == "hamiltonian" else self.stored[name].expanded()
        return LCAOSystem.single(self.structure, self.basis, self.pairs, values, self.meta)

    def correction(self) -> BlockMatrix:
        """Return H - H0 as stored.

        Raises:
            InputError: if the record holds none.
        """
        if "correction" not in self.stored:
            raise lacks(self.id, "correction", self.stored)
        return self._matrix("correction")

    def _hamiltonian(self) -> NDArray[Any]:
        if "hamiltonian" in self.stored:
            return self.stored["hamiltonian"].expanded()
        return (self._matrix("h0") + self._matrix("correction")).values

    def _matrix(self, name: str) -> BlockMatrix:
        return BlockMatrix(self.basis, self.structure.numbers, self.pairs, self.stored[name].expanded())


def _plain(meta: Provenance) -> dict[str, Any]:
    found = dataclasses.asdict(meta)
    return {key: dict(value) if hasattr(value, "items") else value for key, value in found.items()}


def lacks(id: str, name: str, stored: Collection[str]) -> InputError:
    """Return the error of asking a record for an operator that it does not have."""
    hint = ""
    if name == "hamiltonian" and "correction" in stored:
        hint = "; its H is the correction plus the reference's h0"
    return InputError(f"{id} holds no {name}, only {', '.join(stored) or 'the crystal'}{hint}")


def encode(
    system: LCAOSystem,
    settings: StoreSettings,
    *,
    certificate: Certificate | None = None,
    correction: BlockMatrix | None = None,
) -> Record:
    """Return one structure's record: H as H - H0 where H0 is known, every operator in its non-zero rows.

    H and H0 are rounded before they are subtracted, so that H0 + (H - H0) is the rounded H exactly.

    Args:
        system: one structure.
        settings: how numbers are rounded, and below what a component is noise.
        certificate: what the checks measured.
        correction: H - H0 of a prediction that carries neither H0 nor H.
    """
    if len(system) != 1:
        raise ValueError("a record is one structure; index the system first")
    exact: dict[str, NDArray[Any]] = dict(system.operators)
    if correction is not None:
        if "hamiltonian" in exact or correction.pairs != system.pairs:
            raise ValueError("a correction goes with a system on the same pairs that carries no hamiltonian")
        exact["correction"] = correction.values
    values = {name: rounded(array, settings.fraction_bits) for name, array in exact.items()}
    change = max((float(np.abs(values[name] - exact[name]).max(initial=0.0)) for name in exact), default=0.0)
    if {"hamiltonian", "h0"} <= set(values):
        layout = most_general(*(SpinLayout.of(values[name]) for name in ("hamiltonian", "h0")))
        values["correction"] = widened(values.pop("hamiltonian"), layout) - widened(values["h0"], layout)
    stored, dropped = {}, 0.0
    for name in STORED:
        if name in values:
            stored[name], left_out = Rows.of(values[name], settings.spin_tolerance_ry * RYDBERG_EV)
            dropped = max(dropped, left_out)
    return Record(
        system.structure(),
        system.basis,
        system.pairs,
        system.meta[0],
        stored,
        dropped_ev=dropped,
        rounding=change,
        certificate=certificate,
    )


def rounded(values: NDArray[Any], fraction_bits: int | None) -> NDArray[Any]:
    """Return the nearest multiples of 2^-fraction_bits, real and imaginary part apart.

    >>> rounded(np.array([[0.3, -0.01]]), 4)
    array([[0.3125, 0.    ]])
    """
    if fraction_bits is None:
        return values
    scale = 2.0**fraction_bits
    return np.asarray(np.rint(values * scale) / scale + 0.0)  # + 0.0: no negative zeros

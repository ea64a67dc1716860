"""Where predictions come from: a store that anyone may have written, or a baseline."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from nextham.core import BlockMatrix, LCAOSystem
from nextham.exceptions import InputError
from nextham_bench.coverage import check_echo, matched

if TYPE_CHECKING:
    from nextham.data.record import Record
    from nextham.data.store import Store

Baseline = Literal["zero", "h0"]


class Source(Protocol):
    """Where predicted Hamiltonians come from."""

    def predicted(self, reference: LCAOSystem) -> BlockMatrix:
        """Return the predicted Hamiltonian of one reference record, on the record's pairs."""
        ...


@dataclasses.dataclass(frozen=True)
class BaselineSource:
    """P = 0 or P = H0."""

    baseline: Baseline

    def predicted(self, reference: LCAOSystem) -> BlockMatrix:
        """Return the baseline on the record's pairs."""
        h0 = reference.operator("h0")
        return h0 if self.baseline == "h0" else 0.0 * h0


@dataclasses.dataclass(frozen=True)
class StoreSource:
    """A prediction store: Hamiltonians, or corrections to the reference's H0."""

    store: Store

    def predicted(self, reference: LCAOSystem) -> BlockMatrix:
        """Return what the store predicts for the record once it is seen to belong there.

        Raises:
            InputError: if it does not, or its numbers are not those that were written.
        """
        record = verified(self.store, reference.ids[0])
        own = record.system(record.operators)
        if not {"hamiltonian", "correction"} & {*record.operators, *record.stored}:
            raise InputError(
                f"the prediction of {record.id} holds neither a hamiltonian nor a correction, only "
                f"{', '.join(record.stored) or 'the crystal'}"
            )
        if "hamiltonian" in record.operators:
            found = matched(reference, own, own.operator("hamiltonian"))
        else:
            found = reference.operator("h0") + matched(reference, own, record.correction())
        check_echo(reference, own)
        return found


def verified(store: Store, id: str) -> Record:
    """Return one structure as it is stored, once its checksum is that of its numbers.

    Raises:
        InputError: if somebody changed them.
    """
    record = store.record(id)
    if record.sha256 != store.checksum(id):
        raise InputError(
            f"{store.path}: the numbers of {id} are not those that were written (their checksum is another); "
            "fetch or pack it again"
        )
    return record


def data_hash(store: Store, ids: Sequence[str]) -> str:
    """Return the sha256 over id and record checksum of these structures, in order of id."""
    lines = "".join(f"{id} {store.checksum(id)}\n" for id in sorted(ids))
    return hashlib.sha256(lines.encode()).hexdigest()

"""Scoring: a reference and a prediction in, scores out, one structure in memory at a time."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import nextham
from nextham.console import track
from nextham.core import BlockMatrix, LCAOSystem
from nextham.exceptions import InputError
from nextham_bench.coverage import check_reference, check_units, covered, matched
from nextham_bench.measure import Measured, measured
from nextham_bench.metrics import gauge_mae
from nextham_bench.schema import Coverage, DataRecord, Scores, SplitRecord
from nextham_bench.tables import band_table, gauge_table, structure_row, worst_ids
from nextham_bench.tasks import tasks

if TYPE_CHECKING:
    from nextham.data.remote import Location
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
        """Return what the store predicts for the record once it is seen to belong there."""
        (id,) = reference.ids
        if "hamiltonian" in self.store.operators_of(id):
            record = self.store.read(id, operators=("hamiltonian",))
            return matched(reference, record, record.operator("hamiltonian"))
        record = self.store.read(id, operators=())
        return reference.operator("h0") + matched(reference, record, self.store.correction(id))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to score."""

    reference: Location
    prediction: Path | None = None  # a prediction store, or else ...
    baseline: Baseline | None = None
    protocol: gauge_mae.Protocol = "full"
    split: Path | None = None
    subset: str = "test"
    bands: bool = True
    allow_partial: bool = False
    jobs: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        if (self.prediction is None) == (self.baseline is None):
            raise InputError("give either --prediction STORE or --baseline zero|h0")


def score(request: Request) -> Scores:
    """Score a prediction store or a baseline against a reference store.

    Raises:
        InputError: if the prediction does not fit the reference.
    """
    from nextham.data.store import Store

    reference = Store(request.reference)
    wanted, split = wanted_ids(reference, request)
    if request.prediction is None:
        coverage = covered(wanted, reference.ids, wanted)
        ids = list(wanted)
    else:
        predicted = Store(request.prediction).ids
        coverage = covered(wanted, reference.ids, predicted, allow_partial=request.allow_partial)
        have = set(predicted)
        ids = [id for id in wanted if id in have]
    found = list(track(_measurements(request, ids), "scoring", total=len(ids)))
    return summarised(found, request=request, records=_records(request, reference, ids), coverage=coverage, split=split)


def wanted_ids(reference: Store, request: Request) -> tuple[list[str], SplitRecord | None]:
    """Return the ids to score, and which split they are."""
    if request.split is None:
        return list(reference.ids), None
    from nextham.data.splits import Split

    split = Split.load(request.split)
    ids = list(split[request.subset])
    unknown = sorted(set(ids) - set(reference.ids))
    if unknown:
        raise InputError(
            f"{request.split} names {len(unknown)} structures of {request.subset} that {request.reference} does not "
            f"hold, such as {unknown[0]}; the split belongs to another dataset"
        )
    if not ids:
        raise InputError(f"the subset {request.subset} of {request.split} is empty")
    return ids, SplitRecord(subset=request.subset, sha256=split.sha256[request.subset])


def summarised(
    found: Sequence[Measured],
    *,
    request: Request,
    records: tuple[DataRecord, DataRecord | None],
    coverage: Coverage,
    split: SplitRecord | None = None,
) -> Scores:
    """Average measurements into scores.

    Raises:
        InputError: if the prediction is in another unit.
    """
    if request.baseline is None:
        check_units([m.unit_factor for m in found])
    rows = tuple(structure_row(m) for m in found)
    default_name = request.prediction.name if request.prediction is not None else request.baseline
    return Scores(
        metric_version=tasks().metric_version,
        code_version=nextham.__version__,
        name=request.name or str(default_name),
        baseline=request.baseline,
        protocol=request.protocol,
        reference=records[0],
        prediction=records[1],
        split=split,
        coverage=coverage,
        partial=not coverage.complete,
        gauge_mae={protocol: gauge_table(found, protocol) for protocol in gauge_mae.PROTOCOLS},
        bands=band_table(found),
        structures=rows,
        worst=worst_ids(rows, request.protocol),
    )


def _measurements(request: Request, ids: Sequence[str]) -> Iterator[Measured]:
    if request.jobs <= 1:
        _open(request)
        yield from map(_measure, ids)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(request.jobs, mp_context=spawn, initializer=_open, initargs=(request,)) as pool:
        yield from pool.map(_measure, ids, chunksize=max(1, min(16, len(ids) // (4 * request.jobs))))


_opened: dict[str, tuple[Store, Source, bool]] = {}  # one entry: what this process scores


def _open(request: Request) -> None:
    from nextham.data.store import Store

    if request.baseline is not None:
        source: Source = BaselineSource(request.baseline)
    else:
        source = StoreSource(Store(_path(request)))
    _opened["now"] = (Store(request.reference), source, request.bands)


def _path(request: Request) -> Path:
    assert request.prediction is not None
    return request.prediction


def _measure(id: str) -> Measured:
    store, source, bands = _opened["now"]
    reference = store[id]
    check_reference(reference)
    return measured(reference, source.predicted(reference), bands=bands)


def _records(request: Request, reference: Store, ids: Iterable[str]) -> tuple[DataRecord, DataRecord | None]:
    ids = sorted(ids)
    mine = DataRecord(
        name=request.reference.name,
        sha256=data_hash(reference, ids),
        n_structures=len(reference),
        h0_definition=reference.h0_definition,
        basis=str(reference.basis),
    )
    if request.prediction is None:
        return mine, None
    from nextham.data.store import Store

    store = Store(request.prediction)
    theirs = DataRecord(name=request.prediction.name, sha256=data_hash(store, ids), n_structures=len(store))
    return mine, theirs


def data_hash(store: Store, ids: Sequence[str]) -> str:
    """Return the sha256 over id and record checksum of these structures, in order of id."""
    lines = "".join(f"{id} {store.checksum(id)}\n" for id in sorted(ids))
    return hashlib.sha256(lines.encode()).hexdigest()

"""Scoring: a reference and a prediction in, scores out, one structure in memory at a time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import nextham
from nextham.console import track
from nextham.exceptions import InputError, NexthamError, WriteError
from nextham.workers import Died, Workers
from nextham_bench.coverage import check_reference, covered
from nextham_bench.kept import Kept
from nextham_bench.measure import Measured, measured
from nextham_bench.metrics import gauge_mae
from nextham_bench.pyatb_process import check_pyatb
from nextham_bench.recognise import Suspicion, check_suspicions
from nextham_bench.schema import Coverage, DataRecord, Scores, SplitRecord, write_scores
from nextham_bench.sources import Baseline, BaselineSource, Source, StoreSource, data_hash, verified
from nextham_bench.tables import Tables
from nextham_bench.tasks import tasks

if TYPE_CHECKING:
    from nextham.data.remote import Location
    from nextham.data.store import Store

__all__ = ["BaselineSource", "Request", "Source", "StoreSource", "data_hash", "score", "score_to", "summarised"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to score."""

    reference: Location
    prediction: Location | None = None  # a prediction store, or else ...
    baseline: Baseline | None = None
    protocol: gauge_mae.Protocol = "full"
    split: Path | None = None
    subset: str = "test"
    bands: bool = True
    optics: bool = False
    allow_partial: bool = False
    jobs: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        if (self.prediction is None) == (self.baseline is None):
            raise InputError("give either --prediction STORE or --baseline zero|h0")
        if self.optics and not self.bands:
            raise InputError("optical conductivities need the energy levels; leave out --no-bands")


def score_to(request: Request, output: Path) -> Scores:
    """Score and write scores.json; one that was stopped goes on where it was.

    What is measured is kept in ``<output>.measured.jsonl`` until the score is written, under the checksums of both
    records: a changed record is measured again.

    Raises:
        InputError: if the prediction does not fit the reference.
        WriteError: if the output cannot be written, before anything is measured.
    """
    if output.is_dir():
        raise WriteError(f"{output} cannot be written: a folder is where a file is needed; choose another name")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError.of(output, error) from error
    with Kept(output.with_name(f"{output.name}.measured.jsonl")) as kept:
        scores = score(request, kept=kept)
        write_scores(scores, output)
        kept.remove()
    return scores


def score(request: Request, *, kept: Kept | None = None) -> Scores:
    """Score a prediction store or a baseline against a reference store.

    Args:
        request: what to score.
        kept: measurements that are there already, and where new ones go; without it they are in a temporary file.

    Raises:
        InputError: if the prediction does not fit the reference.
    """
    from nextham.data.store import Store

    if kept is None:
        with Kept() as temporary:
            return score(request, kept=temporary)
    if request.optics:
        check_pyatb()
    reference = Store(request.reference)
    prediction = None if request.prediction is None else Store(request.prediction)
    wanted, split = wanted_ids(reference, request)
    predicted = wanted if prediction is None else prediction.ids
    coverage = covered(wanted, reference.ids, predicted, allow_partial=request.allow_partial)
    have = set(predicted)
    keys = {id: _key(request, reference, prediction, id) for id in wanted if id in have}
    refused = _measure_all(request, keys, kept)
    ids = [id for id in keys if id not in refused]
    if refused:
        coverage = coverage.model_copy(update={"refused": refused, "n_scored": len(ids)})
    if not ids:
        raise InputError(f"none of the {len(keys)} structures can be scored: {next(iter(refused.values()))}")
    found = (kept.get(keys[id]) for id in ids)
    theirs = None if prediction is None else _record(prediction.path, prediction, ids)
    records = (_record(request.reference, reference, ids), theirs)
    return summarised(found, request=request, records=records, coverage=coverage, split=split)


def _measure_all(request: Request, keys: dict[str, str], kept: Kept) -> dict[str, str]:
    """Measure what is not kept yet; return which structures are refused, and why."""
    _opened.cache_clear()  # a store may have been written anew since
    todo = [id for id, key in keys.items() if key not in kept]
    seen: list[Suspicion] = []
    refused: dict[str, str] = {}
    before = f" ({len(keys) - len(todo)} of {len(keys)} are measured)" if len(todo) < len(keys) else ""
    with Workers([partial(_measure, request, id) for id in todo], request.jobs) as results:
        for number, result in track(results, f"scoring{before}", total=len(todo)):
            id = todo[number]
            if isinstance(result, Died):
                how = "was ended, most likely for want of memory" if result.killed else "died"
                raise NexthamError(f"the process that scored {id} {how}; start again with fewer --jobs, it goes on")
            if isinstance(result, str):
                if not request.allow_partial:
                    raise InputError(result)
                refused[id] = result
                continue
            kept.add(keys[id], result)
            if request.baseline is None:
                seen.append(result.suspicion)
                check_suspicions(seen, len(todo))
    return refused


def wanted_ids(reference: Store, request: Request) -> tuple[list[str], SplitRecord | None]:
    """Return the ids to score, and which split they are."""
    if not len(reference):
        raise InputError(f"{request.reference} holds no structures; there is nothing to score")
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
    found: Iterable[Measured],
    *,
    request: Request,
    records: tuple[DataRecord, DataRecord | None],
    coverage: Coverage,
    split: SplitRecord | None = None,
) -> Scores:
    """Average measurements into scores, taking them one by one.

    Raises:
        InputError: if the prediction is in another unit or convention, or nothing is counted.
    """
    tables, suspicions = Tables(), []
    for one in found:
        tables.add(one)
        suspicions.append(one.suspicion)
    if request.baseline is None:
        check_suspicions(suspicions, len(suspicions))
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
        gauge_mae=tables.gauge_mae(),
        bands=tables.bands(),
        optics=tables.optics(),
        structures=tuple(tables.rows),
        worst=tables.worst_ids(request.protocol),
    )


def _key(request: Request, reference: Store, prediction: Store | None, id: str) -> str:
    """Return what tells one measurement from all others: its records, definitions and settings."""
    what = request.baseline if prediction is None else prediction.checksum(id)
    parts = [
        nextham.__version__,
        tasks().model_dump(mode="json"),
        id,
        [reference.checksum(id), dataclasses.asdict(reference.provenance(id))],
        [what, "" if prediction is None else prediction.provenance(id).h0_definition],
        [request.bands, request.optics],
    ]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


@lru_cache(maxsize=1)
def _opened(reference: Location, prediction: Location | None, baseline: Baseline | None) -> tuple[Store, Source]:
    from nextham.data.store import Store

    if baseline is not None:
        return Store(reference), BaselineSource(baseline)
    assert prediction is not None
    return Store(reference), StoreSource(Store(prediction))


def _measure(request: Request, id: str) -> Measured | str:
    """Return the measurement of one structure, or in a sentence why there is none."""
    store, source = _opened(request.reference, request.prediction, request.baseline)
    try:
        reference = verified(store, id).system()
        check_reference(reference)
        return measured(reference, source.predicted(reference), bands=request.bands, optics=request.optics)
    except InputError as error:
        return str(error)


def _record(path: Location, store: Store, ids: Sequence[str]) -> DataRecord:
    return DataRecord(
        name=path.name,
        sha256=data_hash(store, ids),
        n_structures=len(store),
        h0_definition=store.h0_definition,
        basis=str(store.basis),
    )

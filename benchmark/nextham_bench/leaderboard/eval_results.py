"""Scores as Hugging Face evaluation results: the files ``.eval_results/*.yaml`` of a model repository.

Format: https://huggingface.co/docs/hub/eval-results. The dataset must be a benchmark there, with these tasks in its
``eval.yaml``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from nextham.exceptions import InputError
from nextham.files import whole
from nextham_bench.schema import Scores

_DATASET: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FRAMEWORK: Final = "nextham-bench"


class Result(NamedTuple):
    """One number of a score."""

    task: str
    value: float
    unit: str


def results_of(scores: Scores) -> Iterator[Result]:
    """Yield the numbers that are exported."""
    gauge, bands = scores.headline, scores.bands
    yield Result("gauge_mae", gauge.overall.model.macro_mev, "overall Gauge MAE, macro mean, meV; lower is better")
    if gauge.overall.skill is not None:
        yield Result("skill", gauge.overall.skill, "1 - MAE(model)/MAE(H0); higher is better")
    if bands is not None:
        yield Result("band_error", bands.model.mean_mev, "mean band error, meV; lower is better")
        yield Result("ghost_share", bands.model.ghost_share, "share of structures with ghost states; lower is better")


def write_eval_results(
    scores: Scores, folder: Path, *, dataset: str, date: dt.date | None = None, source: str | None = None
) -> Path:
    """Write ``.eval_results/nextham-bench.yaml`` into a copy of a model repository; return its path.

    Args:
        scores: of a model, whole.
        folder: the model repository.
        dataset: id of the benchmark dataset on the Hub, ``ORGANISATION/NAME``.
        date: of the evaluation.
        source: address of logs or of the prediction.

    Raises:
        InputError: if the score is partial or of a baseline, or the id or address is none.
    """
    if scores.partial or scores.baseline:
        what = "a baseline" if scores.baseline else "partial"
        raise InputError(f"the score of {scores.name} is {what}; evaluation results are of a model and whole")
    if not _DATASET.fullmatch(dataset):
        raise InputError(f"{dataset!r} is not the id of a dataset on the Hub, such as organisation/name")
    if source is not None and not re.fullmatch(r"https?://\S+", source):
        raise InputError(f"{source!r} is not an address that starts with https://")
    path = folder / ".eval_results" / f"{_FRAMEWORK}.yaml"
    entries = [_entry(result, scores, dataset=dataset, date=date, source=source) for result in results_of(scores)]
    with whole(path) as part:
        part.write_text(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")
    return path


def _entry(result: Result, scores: Scores, *, dataset: str, date: dt.date | None, source: str | None) -> dict[str, Any]:
    subset = f", subset {scores.split.subset}" if scores.split else ""
    entry: dict[str, Any] = {"dataset": {"id": dataset, "task_id": result.task}, "value": float(f"{result.value:.6g}")}
    if date is not None:
        entry["date"] = date.isoformat()
    if source is not None:
        entry["source"] = {"url": source, "name": "prediction and scores"}
    entry["evaluation_framework"] = _FRAMEWORK
    entry["notes"] = (
        f"{result.unit}; protocol {scores.protocol}{subset}, {scores.headline.n_structures} structures, metric version "
        f"{scores.metric_version}, dataset sha256 {scores.reference.sha256[:12]}"
    )
    return entry

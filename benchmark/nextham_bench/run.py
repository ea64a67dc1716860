"""One command from a checkpoint to a page: predict (in processes of ``nextham predict``), score, render."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nextham.exceptions import InputError
from nextham.files import whole
from nextham_bench.metrics.gauge_mae import Protocol
from nextham_bench.report.page import write_report
from nextham_bench.schema import Scores, read_scores
from nextham_bench.submission.folder import chosen_ids
from nextham_bench.tasks import tasks

if TYPE_CHECKING:
    from nextham.data.store import Store

ABOUT: Final = "run.json"
PREDICTION, SCORES, PAGE = "prediction", "scores.json", "report/index.html"
_PARTS: Final = ".prediction-parts"
_SUBSET: Final = "part"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run."""

    dataset: Path
    checkpoint: Path
    output: Path
    split: Path | None = None
    subset: str = "test"
    protocol: Protocol = "full"
    bands: bool = True
    jobs: int = 1
    name: str = ""
    device: str = "auto"
    part_size: int = 500  # structures of one prediction process: what is lost when it is killed


def run(plan: Plan) -> Scores:
    """Predict, score and render into a folder; what is there already and of the same inputs is kept.

    Raises:
        InputError: if an input cannot be used, the folder is of other inputs, or the prediction fails.
    """
    from nextham.data.store import Store

    dataset = Store(plan.dataset)
    ids, split_sha256 = chosen_ids(dataset, plan.split, plan.subset)
    _claim(plan, split_sha256)
    prediction = plan.output / PREDICTION
    if not prediction.exists():
        _predict(plan, ids)
    scores, is_new = _scored(plan, Store(prediction), ids)
    page = plan.output / PAGE
    if is_new or not page.exists():
        write_report([scores], page, reference=plan.dataset, prediction=prediction)
    return scores


def commands(plan: Plan, n_structures: int) -> list[list[str]]:
    """Return the prediction processes of a plan, each a list of words."""
    return [_command(plan, part) for part in range(-(-n_structures // plan.part_size))]


def _claim(plan: Plan, split_sha256: str) -> None:
    """Write down what the folder is of, or refuse one that is of something else."""
    facts = {
        "dataset": _sha256(plan.dataset / "store.json"),
        "checkpoint": [_sha256(plan.checkpoint / name) for name in ("checkpoint.json", "model.safetensors")],
        "split": split_sha256,
    }
    path = plan.output / ABOUT
    if not path.exists():
        with whole(path) as part:
            part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        return
    try:
        before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); remove {plan.output} and run again") from None
    if different := [name for name in facts if before.get(name) != facts[name]]:
        raise InputError(
            f"{plan.output} was made with another {' and another '.join(different)}; choose another folder with -o"
        )


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path.parent} has no {path.name}; give a checkpoint such as run/best")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _command(plan: Plan, part: int) -> list[str]:
    parts = plan.output / _PARTS
    return [
        *(sys.executable, "-P", "-m", "nextham", "predict", str(plan.dataset), "--checkpoint", str(plan.checkpoint)),
        *("--split", str(parts / f"{part:04d}.json"), "--subset", _SUBSET, "--device", plan.device),
        *("-o", str(parts / f"{part:04d}")),
    ]


def _predict(plan: Plan, ids: Sequence[str]) -> None:
    """Predict part by part; a part that is there is kept, all become one store at the end."""
    from nextham.data.splits import Split
    from nextham.data.store import merge_stores

    parts = plan.output / _PARTS
    done = []
    for part, command in enumerate(commands(plan, len(ids))):
        store = parts / f"{part:04d}"
        own = ids[part * plan.part_size : (part + 1) * plan.part_size]
        Split({_SUBSET: tuple(own)}).save(parts / f"{part:04d}.json")
        if not store.exists():
            status = subprocess.run(command, check=False).returncode
            if status:
                raise InputError(f"nextham predict ended with status {status}; what it said stands above")
        done.append(store)
    merge_stores(done, plan.output / PREDICTION)
    shutil.rmtree(parts)


def _scored(plan: Plan, prediction: Store, ids: Sequence[str]) -> tuple[Scores, bool]:
    """Return the scores that are there if they are of this prediction and this metric, or new ones, and which."""
    from nextham_bench.score import Request, score_to
    from nextham_bench.sources import data_hash

    path = plan.output / SCORES
    if path.exists():
        found = read_scores(path)
        same = found.metric_version == tasks().metric_version and found.protocol == plan.protocol
        here = all(id in prediction for id in ids)
        known = found.prediction.sha256 if found.prediction else None
        if same and here and known == data_hash(prediction, ids) and (found.bands is not None) >= plan.bands:
            return found, False
    request = Request(
        reference=plan.dataset,
        prediction=prediction.path,
        protocol=plan.protocol,
        split=plan.split,
        subset=plan.subset,
        bands=plan.bands,
        jobs=plan.jobs,
        name=plan.name or plan.checkpoint.resolve().name,
    )
    return score_to(request, path), True

"""Adding to a board: only a score that is whole, of this metric, and of the prediction that the card names."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np

from nextham.exceptions import InputError
from nextham_bench.leaderboard.entry import Entry, write_entry
from nextham_bench.schema import Scores, read_scores
from nextham_bench.submission.card import Card, Checkpoint, Prediction, TrainingSet
from nextham_bench.submission.card_file import read_card
from nextham_bench.tasks import tasks

_CHECKPOINT: Final = ("checkpoint.json", "model.safetensors")
_TOLERANCE: Final = 1e-9  # relative; a mean is summed in the same order


def add(card_path: Path, scores_path: Path, board: Path, *, checkpoint: Path | None = None) -> Path:
    """Enter a score under a card.

    Args:
        card_path: the card.
        scores_path: what nextham-bench score wrote.
        board: folder of entries.
        checkpoint: if the card's command was run here, the checkpoint that it made (a folder with checkpoint.json):
            training data, size and hashes are taken from it and from the scores, in place of the card's.

    Raises:
        InputError: if card and scores do not belong together, the score may not be ranked, or the board has it.
    """
    card, scores = read_card(card_path), read_scores(scores_path)
    check_scores(scores, str(scores_path))
    if (card.baseline or None) != (scores.baseline or None):
        mine, theirs = (x.baseline or "a model" for x in (card, scores))
        raise InputError(
            f"{card_path} is the card of {mine}, but {scores_path} scores {theirs}; name the one it scores"
        )
    if checkpoint is not None:
        card = reproduced(card, scores, checkpoint)
    elif not card.baseline:
        check_card(card, scores, where=(str(card_path), str(scores_path)))
    here = checkpoint is not None or card.baseline is not None
    return write_entry(Entry(origin="reproduced" if here else "submitted", card=card, scores=scores), board)


def check_scores(scores: Scores, where: str) -> None:
    """Refuse a score that no ranking may hold.

    Raises:
        InputError: if it is partial, of another metric version, or its headline is not the mean of its structures.
    """
    if scores.partial or not scores.coverage.complete:
        coverage = scores.coverage
        raise InputError(
            f"{where} covers {coverage.n_scored} of {coverage.n_wanted} structures; a partial score is not ranked: "
            "complete the prediction and score it again"
        )
    if scores.metric_version != tasks().metric_version:
        raise InputError(
            f"{where} was made with metric version {scores.metric_version}, this program ranks "
            f"{tasks().metric_version}; score the prediction again"
        )
    if scores.coverage.n_scored != len(scores.structures):
        raise InputError(f"{where} lists {len(scores.structures)} structures, but says {scores.coverage.n_scored}")
    for column in ("zero", "h0", "model"):
        rows = [row.overall_mev[scores.protocol][column] for row in scores.structures]
        mean = float(np.mean([value for value in rows if value is not None] or [0.0]))
        said = getattr(scores.headline.overall, column).macro_mev
        if not math.isclose(mean, said, rel_tol=_TOLERANCE, abs_tol=1e-12):
            raise InputError(
                f"{where} gives {said:.6g} meV for {column}, but its structures have a mean of {mean:.6g} meV; the "
                "file was changed: score the prediction again"
            )


def check_card(card: Card, scores: Scores, *, where: tuple[str, str]) -> None:
    """Refuse a card that is not about the prediction that was scored.

    Raises:
        InputError: if the card lacks what a ranked model must say, or names another prediction or subset.
    """
    card_path, scores_path = where
    if lacking := card.lacking():
        raise InputError(f"{card_path}: {lacking[0]}")
    assert scores.prediction is not None  # only baselines have none
    digest = scores.prediction.sha256
    own = [prediction for prediction in card.predictions if prediction.sha256 == digest]
    if not own:
        raise InputError(
            f"{card_path} names no prediction with the sha256 {digest}, which {scores_path} scores; score the "
            "prediction that the card is about, or name this one under predictions"
        )
    scored = scored_ids_sha256(scores)
    if not {prediction.split_sha256 for prediction in own} & {None, scored}:
        raise InputError(
            f"{card_path} says that this prediction is of the ids with the sha256 {own[0].split_sha256}, but "
            f"{scores_path} scores it on those with {scored}; score it on the subset that it was made for"
        )


def scored_ids_sha256(scores: Scores) -> str:
    """Return the sha256 of the ids of the scored subset."""
    from nextham.data.splits import sha256_of_ids

    return scores.split.sha256 if scores.split else sha256_of_ids([row.id for row in scores.structures])


def reproduced(card: Card, scores: Scores, checkpoint: Path) -> Card:
    """Return a card with the facts of a checkpoint that its command made here.

    Raises:
        InputError: if there is no checkpoint, or its training set is unknown.
    """
    if scores.prediction is None:
        raise InputError("a baseline has no checkpoint; leave --checkpoint out")
    about = _about(checkpoint)
    weights = hashlib.sha256((checkpoint / _CHECKPOINT[1]).read_bytes()).hexdigest()
    facts = {
        "training_sets": (
            TrainingSet(name=f"{scores.reference.name}, training subset", sha256=str(about["dataset_sha256"])),
        ),
        "parameters": int(about["n_numbers"]),
        "checkpoint": Checkpoint(sha256=weights, url=card.checkpoint.url if card.checkpoint else None),
        "predictions": (Prediction(sha256=scores.prediction.sha256, split_sha256=scored_ids_sha256(scores)),),
    }
    return card.model_copy(update=facts)


def _about(checkpoint: Path) -> dict[str, Any]:
    """Return what a checkpoint says about itself; its weights are hashed, never loaded."""
    files = [checkpoint / name for name in _CHECKPOINT]
    if not all(file.is_file() for file in files):
        raise InputError(f"{checkpoint} is not a checkpoint: it has no {' and no '.join(_CHECKPOINT)}")
    try:
        about: dict[str, Any] = json.loads(files[0].read_text(encoding="utf-8"))
        int(about["n_numbers"]), str(about["dataset_sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{files[0]} is damaged ({error}); train the checkpoint again") from None
    return about

"""Validation: what is wrong with a submission, before anybody scores it. Offline; seconds for a sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nextham.console import track
from nextham.exceptions import InputError
from nextham_bench.coverage import check_same_crystal, covered
from nextham_bench.metrics.gauge_mae import gauge_errors
from nextham_bench.recognise import Suspicion, check_suspicions, suspicion
from nextham_bench.sources import StoreSource, data_hash
from nextham_bench.submission.card import Card
from nextham_bench.submission.card_file import look_at_card
from nextham_bench.submission.folder import Submission, chosen_ids

if TYPE_CHECKING:
    from nextham.data.store import Store

SAMPLE: Final = 50
_SHOWN: Final = 10  # problems of single structures that are told


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to check against what."""

    submission: Submission
    reference: Path
    split: Path | None = None
    subset: str = "test"
    sample: int | None = SAMPLE  # structures whose numbers are read; None for all


@dataclasses.dataclass(frozen=True)
class Findings:
    """What validation found."""

    problems: tuple[str, ...]  # one sentence each; none: the submission can be scored and ranked
    remarks: tuple[str, ...]  # what is allowed but worth a look
    n_structures: int  # that the split asks for
    n_read: int  # whose numbers were read
    sha256: str | None  # of the predicted records


def validate(request: Request) -> Findings:
    """Check card, ids, atoms, basis, pairs, numbers, units and checksums of a submission.

    Raises:
        InputError: if the reference or the split cannot be used; problems of the submission are returned.
    """
    from nextham.data.store import Store

    reference = Store(request.reference)
    wanted, split_sha256 = chosen_ids(reference, request.split, request.subset)
    card, problems = look_at_card(request.submission.card)
    if card is not None:
        problems += [f"{request.submission.card}: {lack}" for lack in card.lacking()]
    try:
        store = Store(request.submission.prediction)
    except InputError as error:
        return Findings((*problems, str(error)), (), len(wanted), 0, None)
    problems += _complaints([lambda: covered(wanted, reference.ids, store.ids)])
    here = [id for id in wanted if id in store]
    problems += _told(_complaints(_crystals(reference, store, here)))
    sample = _spread(here, request.sample)
    looked = [_look(reference, store, id) for id in track(sample, "reading numbers")]
    problems += _told([look.problem for look in looked if look.problem])
    suspicions = [look.suspicion for look in looked if not look.problem]
    problems += _complaints([lambda: check_suspicions(suspicions, len(suspicions))] if suspicions else [])
    whole = len(here) == len(wanted) and not any(look.problem for look in looked)
    digest = _digest(store, here) if whole else None
    if card is not None and digest is not None:
        problems += _disagreements(card, digest, split_sha256)
    return Findings(tuple(problems), tuple(_remarks(looked, len(here))), len(wanted), len(sample), digest)


@dataclasses.dataclass(frozen=True)
class _Look:
    """One structure's numbers."""

    problem: str = ""
    suspicion: Suspicion = dataclasses.field(default_factory=Suspicion)
    is_h0: bool = False


def _look(reference: Store, store: Store, id: str) -> _Look:
    try:
        truth = reference.read(id)
        if absent := {"overlap", "h0"} - set(truth.operators):
            raise InputError(f"the reference record {id} has no {' and no '.join(sorted(absent))}")
        prediction = StoreSource(store).predicted(truth)
    except InputError as error:
        return _Look(problem=str(error))
    if "hamiltonian" not in truth.operators:
        return _Look()
    products = gauge_errors(truth, prediction).products
    is_h0 = not np.any((prediction - truth.operator("h0")).values)
    return _Look("", suspicion(truth, prediction, products), is_h0)


def _crystals(reference: Store, store: Store, ids: Iterable[str]) -> list[Callable[[], Any]]:
    def check(id: str) -> Callable[[], Any]:
        return lambda: check_same_crystal(reference.read(id, ()), store.read(id, ()))

    return [check(id) for id in ids]


def _complaints(checks: Iterable[Callable[[], Any]]) -> list[str]:
    """Return the sentences of the checks that fail, each once."""
    found: dict[str, None] = {}
    for check in checks:
        try:
            check()
        except InputError as error:
            found[str(error)] = None
    return list(found)


def _told(sentences: Sequence[str]) -> list[str]:
    rest = len(sentences) - _SHOWN
    return [*sentences[:_SHOWN], *([f"... and {rest} more structures with problems"] if rest > 0 else [])]


def _spread(ids: Sequence[str], size: int | None) -> list[str]:
    """Return up to so many ids, spread over all."""
    if size is None or len(ids) <= size:
        return list(ids)
    return [ids[k] for k in np.linspace(0, len(ids) - 1, size).round().astype(int)]


def _digest(store: Store, ids: Sequence[str]) -> str | None:
    return data_hash(store, ids) if ids else None


def _disagreements(card: Card, digest: str, split_sha256: str) -> list[str]:
    """Return what the card says of predictions that is not so."""
    own = [p for p in card.predictions if p.sha256 == digest]
    if not own and card.predictions:
        said = ", ".join(p.sha256[:12] for p in card.predictions)
        return [
            f"the prediction has the sha256 {digest}, the card names {said}...; fetch the prediction that the card is "
            "about, or write this one into the card (nextham-bench seal does)"
        ]
    if own and not {p.split_sha256 for p in own} & {None, split_sha256}:
        return [
            f"the card says that the prediction is of the ids with the sha256 {own[0].split_sha256}, but it is checked "
            f"against those with {split_sha256}; give the split that it was made for"
        ]
    return []


def _remarks(looked: Sequence[_Look], n_here: int) -> list[str]:
    found = []
    if looked and all(look.is_h0 for look in looked):
        found.append("the prediction is H0 itself: every correction is zero")
    if any("numbers are missing" in look.problem for look in looked):
        found.append("a store that nextham-bench template wrote has no numbers until you write them")
    if any("their checksum is another" in look.problem for look in looked):
        found.append("if you wrote the numbers yourself, nextham-bench seal writes their checksums")
    if len(looked) < n_here:
        found.append(f"the numbers of {len(looked)} of {n_here} structures were read; --all reads every one")
    return found

"""What is to be fitted: a store and a split, checked and measured, before the first step."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from nextham.console import track
from nextham.core import OrbitalBasis, symbol
from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.exceptions import InputError
from nextham.model.batch import Vocabulary
from nextham.model.checkpoint import Card, species_of
from nextham.model.statistics import Statistics
from nextham.train.loader import Loader
from nextham.train.loss import typical_trace
from nextham.train.sample import sampler
from nextham.train.settings import FitSettings


@dataclasses.dataclass(frozen=True)
class Task:
    """Batches to train and validate on, and what the checkpoint will say about them."""

    train: Loader
    val: Loader | None
    card: Card
    statistics: Statistics
    trace_unit_ev2: float

    @property
    def fingerprint(self) -> str:
        """Checksum of settings, training data and split; length and bookkeeping do not count."""
        training = {k: v for k, v in self.card.training.items() if k not in _FREE}
        facts = [self.card.settings.model_dump(mode="json"), training, self.card.dataset_sha256, self.card.split_sha256]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


_FREE = ("budget_minutes", "save_every_epochs", "cache_pairs", "device")


def prepare(store: Store, split: Split, settings: FitSettings) -> Task:
    """Check the store against the needs of training and measure the statistics of the training set.

    Raises:
        InputError: if the split has no training structures, lists some that the store lacks, holds an
            element in ``val`` that ``train`` does not have, or records lack H0, S or H.
    """
    split.checked(store.ids, str(store.path))
    names = split["train"]
    if not names:
        raise InputError("the split has no structures in train; make one with nextham split")
    basis, digest = _survey(store, names)
    _check_elements(store, split.ids.get("val", ()), basis)
    vocabulary = Vocabulary(basis)
    training = settings.train.model_dump(mode="json")
    card = Card(
        settings.model,
        basis,
        store.h0_definition,
        digest,
        dict(split.sha256),
        training,
        species=_species(store, names),
    )
    loaders = []
    for ids in (names, split.ids.get("val", ())):
        cost = {id: int(n) for id, n in zip(store.manifest["id"], store.manifest["n_pairs"], strict=True) if id in ids}
        sizes = {"batch_pairs": settings.train.batch_pairs, "cache_pairs": settings.train.cache_pairs}
        loaders.append(Loader(store.read, cost, build=sampler(vocabulary, settings), **sizes))
    units = [typical_trace(sample.batch) for sample in track(loaders[0].all(), "preparing", total=None)]
    statistics = Statistics.measure(lambda: (sample.batch for sample in loaders[0].all()), vocabulary)
    val = loaders[1] if split.ids.get("val") else None
    return Task(loaders[0], val, card, statistics, sum(units) / len(units))


def _check_elements(store: Store, ids: tuple[str, ...], basis: OrbitalBasis) -> None:
    for id in ids:
        if unseen := set(store.read(id, ()).numbers.tolist()) - set(basis):
            raise InputError(
                f"{id} in val contains {symbol(min(unseen))}, which no structure in train has; move one to train"
            )


def _species(store: Store, ids: tuple[str, ...]) -> dict[str, list[str]]:
    """Return which pseudopotentials and orbitals each element has, by their checksums where records have them."""
    found: dict[str, set[str]] = {}
    for id in ids:
        for element, files in species_of(store.provenance(id)).items():
            found.setdefault(element, set()).add(files)
    return {element: sorted(files) for element, files in sorted(found.items())}


def _survey(store: Store, ids: tuple[str, ...]) -> tuple[OrbitalBasis, str]:
    """Return the basis of the elements that occur, and the checksum of the records."""
    numbers: set[int] = set()
    digest = hashlib.sha256()
    for id in sorted(ids):
        if missing := {"overlap", "h0", "hamiltonian"} - set(store.operators_of(id)):
            raise InputError(
                f"{id} in {store.path} has no {sorted(missing)[0]}, which training needs; leave it out of the split"
            )
        numbers |= set(store.read(id, ()).numbers.tolist())
        digest.update(f"{id} {store.checksum(id)}\n".encode())
    return store.basis.restricted(numbers), digest.hexdigest()

"""What is to be fitted: a store and a split, checked and measured, before the first step."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from nextham.console import track
from nextham.core import OrbitalBasis, symbol
from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.exceptions import InputError
from nextham.model import checkpoint
from nextham.model.checkpoint import Card, species_of
from nextham.model.network import NextHAM
from nextham.model.statistics import Statistics
from nextham.model.vocabulary import Vocabulary
from nextham.train.loader import Loader
from nextham.train.loss import typical_trace
from nextham.train.sample import Builder
from nextham.train.settings import FitSettings


@dataclasses.dataclass(frozen=True)
class Start:
    """The checkpoint that a fine-tuning starts from."""

    checkpoint: Path
    other_h0: bool = False  # its H0 may be defined otherwise

    def load(self, store: Store, settings: FitSettings) -> tuple[NextHAM, Card, FitSettings]:
        """Return network, card, and the settings with the checkpoint's own network.

        Raises:
            InputError: if settings ask for another network, or the store has another H0 definition.
        """
        network, card = checkpoint.load(self.checkpoint)
        if "model" in settings.model_fields_set and settings.model != card.settings:
            raise InputError(
                f"the settings ask for another network than {self.checkpoint} has; leave the section model out, "
                "fine-tuning keeps the network"
            )
        if card.h0_definition != store.h0_definition and not self.other_h0:
            raise InputError(
                f"{store.path} has the H0 definition {store.h0_definition!r}, but {self.checkpoint} corrects "
                f"{card.h0_definition!r}; compute H0 that way, or pass --other-h0 to learn the new correction"
            )
        return network, card, settings.model_copy(update={"model": card.settings})

    def facts(self) -> dict[str, str]:
        """Return what the new checkpoint says about this one."""
        return {
            "started_from": str(self.checkpoint),
            "started_from_sha256": checkpoint.weights_sha256(self.checkpoint),
        }


@dataclasses.dataclass(frozen=True)
class Task:
    """Batches to train and validate on, and what the checkpoint will say about them."""

    settings: FitSettings
    train: Loader
    val: Loader | None
    card: Card
    statistics: Statistics
    trace_unit_ev2: float
    start: NextHAM | None = None  # weights to begin with

    @property
    def fingerprint(self) -> str:
        """Checksum of settings, training data and split; a budget of time and bookkeeping do not count."""
        training = {k: v for k, v in self.card.training.items() if k not in _FREE}
        facts = [self.card.settings.model_dump(mode="json"), training, self.card.dataset_sha256, self.card.split_sha256]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


_FREE = (
    *("budget_minutes", "patience_epochs", "save_every_epochs", "cache_pairs"),
    *("device", "max_memory_gb", "tensorboard", "started_from"),
)


def prepare(
    store: Store, split: Split, settings: FitSettings, *, start: Start | None = None, n_processes: int = 1
) -> Task:
    """Check the store against the needs of training and measure the statistics of the training set.

    Args:
        store: with H0, S and H.
        split: with ``train`` and perhaps ``val``.
        settings: of network and training.
        start: checkpoint whose weights, elements and kinds of path are kept.
        n_processes: that share each epoch.

    Raises:
        InputError: if the split has no training structures, lists some that the store lacks, holds an
            element in ``val`` that neither ``train`` nor the checkpoint has, or records lack H0, S or H.
    """
    split.checked(store.ids, str(store.path))
    names = split["train"]
    if not names:
        raise InputError("the split has no structures in train; make one with nextham split")
    val_ids = split.ids.get("val", ())
    _check_operators(store, (*names, *val_ids))
    basis, digest = _survey(store, names)
    training = settings.train.model_dump(mode="json") | {"devices": n_processes}
    network, species = None, _species(store, names)
    if start is not None:
        network, known, settings = start.load(store, settings)
        _check_shells(basis, known, f"{start.checkpoint}")
        basis, training = known.basis | basis, training | start.facts()
        species = {z: sorted({*known.species.get(z, []), *species.get(z, [])}) for z in {**known.species, **species}}
    _check_elements(store, val_ids, basis)
    if settings.train.patience_epochs is not None and not val_ids:
        raise InputError("train.patience_epochs needs structures in val; add some to the split or remove the setting")
    vocabulary = Vocabulary(basis, settings.model.target)
    card = Card(settings.model, basis, store.h0_definition, digest, dict(split.sha256), training, species=species)
    train, val = (_loader(store, ids, Builder(vocabulary, settings)) for ids in (names, val_ids))
    units = [typical_trace(batch) for batch in track(train.batches(), "preparing", total=None)]
    statistics = Statistics.measure(train.batches, vocabulary, delta=settings.model.delta)
    for _ in val.batches():  # what cannot be used is told now, not at the first validation
        pass
    return Task(settings, train, val if val_ids else None, card, statistics, sum(units) / len(units), network)


def _loader(store: Store, ids: tuple[str, ...], build: Builder) -> Loader:
    wanted = set(ids)
    counts = zip(store.manifest["id"], store.manifest["n_pairs"], strict=True)
    cost = {id: int(n) for id, n in counts if id in wanted}
    options = build.settings.train
    return Loader(store.read, cost, build=build, batch_pairs=options.batch_pairs, cache_pairs=options.cache_pairs)


def _check_shells(basis: OrbitalBasis, known: Card, where: str) -> None:
    for z in set(basis) & set(known.basis):
        if basis.shells(z) != known.basis.shells(z):
            raise InputError(
                f"the training structures have {basis.label(z)} orbitals on {symbol(z)}, but {where} was trained with "
                f"{known.basis.label(z)}; fine-tune on the same orbitals"
            )


def _check_operators(store: Store, ids: tuple[str, ...]) -> None:
    for id in sorted(ids):
        if missing := {"overlap", "h0", "hamiltonian"} - set(store.operators_of(id)):
            raise InputError(
                f"{id} in {store.path} has no {sorted(missing)[0]}, which training needs; leave it out of the split"
            )


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
        numbers |= set(store.read(id, ()).numbers.tolist())
        digest.update(f"{id} {store.checksum(id)}\n".encode())
    return store.basis.restricted(numbers), digest.hexdigest()

"""Structures as batches of bounded cost, prepared once while memory allows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np

from nextham.core import LCAOSystem
from nextham.model.batch import Batch
from nextham.train.sample import Builder, Sample
from nextham.train.spectral import Spectrum

Kept = TypeVar("Kept")


class Loader:
    """Batches of named structures.

    Args:
        read: gives one structure's system by id.
        cost: listed pairs of each id; the keys are all ids.
        build: makes batches and eigenvectors.
        batch_pairs: structures share a batch while their pairs stay within this.
        cache_pairs: pairs of prepared structures to keep, and of eigenvectors.
    """

    def __init__(
        self,
        read: Callable[[str], LCAOSystem],
        cost: dict[str, int],
        *,
        build: Builder,
        batch_pairs: int,
        cache_pairs: int,
    ) -> None:
        self.cost = cost
        self._batch_pairs, self._with_spectra = batch_pairs, build.settings.train.uses_spectra
        self._batches: _Cache[Batch] = _Cache(cache_pairs, lambda id: build.batch(read(id)))
        self._spectra: _Cache[Spectrum] = _Cache(cache_pairs, lambda id: build.spectrum(read(id)))

    def epoch(self, seed: int, number: int) -> list[tuple[str, ...]]:
        """Return the ids of each batch of an epoch; they follow from seed and number alone."""
        ids = sorted(self.cost)
        order = np.random.default_rng([seed, number]).permutation(len(ids))
        return self.packed([ids[k] for k in order])

    def packed(self, ids: Sequence[str]) -> list[tuple[str, ...]]:
        """Return ids in order, cut where the next structure would exceed the cost; one structure always fits."""
        batches: list[tuple[str, ...]] = []
        total = 0
        for id in ids:
            if batches and total + self.cost[id] <= self._batch_pairs:
                batches[-1] += (id,)
                total += self.cost[id]
            else:
                batches.append((id,))
                total = self.cost[id]
        return batches

    def cost_of(self, ids: Sequence[str]) -> int:
        """Return the listed pairs of a batch."""
        return sum(self.cost[id] for id in ids)

    def all(self) -> Iterator[Sample]:
        """Yield every structure once, in the order of ids."""
        for ids in self.packed(sorted(self.cost)):
            yield self.sample(ids)

    def batches(self) -> Iterator[Batch]:
        """Yield the same without eigenvectors."""
        for ids in self.packed(sorted(self.cost)):
            yield self._batch(ids)

    def sample(self, ids: tuple[str, ...]) -> Sample:
        """Return the batch of these structures, on the CPU; kept is what each has of its own, for epochs differ."""
        wanted = ids if self._with_spectra else ()
        return Sample(self._batch(ids), tuple(self._spectra.get(id, self.cost[id]) for id in wanted))

    def _batch(self, ids: tuple[str, ...]) -> Batch:
        return Batch.joined([self._batches.get(id, self.cost[id]) for id in ids])


class _Cache(Generic[Kept]):
    """Keeps what was used last while its cost stays within a limit."""

    def __init__(self, limit: int, make: Callable[[str], Kept]) -> None:
        self._limit, self._total, self._make = limit, 0, make
        self._items: OrderedDict[str, tuple[int, Kept]] = OrderedDict()

    def get(self, id: str, cost: int) -> Kept:
        """Return the item of a structure, made if it is not here."""
        if id in self._items:
            self._items.move_to_end(id)
            return self._items[id][1]
        item = self._make(id)
        self._items[id] = cost, item
        self._total += cost
        while len(self._items) > 1 and self._total > self._limit:
            self._total -= self._items.popitem(last=False)[1][0]
        return item

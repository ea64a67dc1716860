"""Structures as batches of bounded cost, prepared once while memory allows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nextham.core import LCAOSystem
from nextham.train.sample import Sample


class Loader:
    """Batches of named structures.

    Args:
        read: gives one structure's system by id.
        cost: listed pairs of each id; the keys are all ids.
        batch_pairs: structures share a batch while their pairs stay within this.
        cache_pairs: pairs of prepared batches to keep.
    """

    def __init__(
        self,
        read: Callable[[str], LCAOSystem],
        cost: dict[str, int],
        *,
        build: Callable[[list[LCAOSystem]], Sample],
        batch_pairs: int,
        cache_pairs: int,
    ) -> None:
        self._read, self._cost, self._build = read, cost, build
        self._batch_pairs, self._cache_pairs = batch_pairs, cache_pairs
        self._cache: OrderedDict[tuple[str, ...], Sample] = OrderedDict()

    def epoch(self, seed: int, number: int) -> list[tuple[str, ...]]:
        """Return the ids of each batch of an epoch; they follow from seed and number alone."""
        ids = sorted(self._cost)
        order = np.random.default_rng([seed, number]).permutation(len(ids))
        return self.packed([ids[k] for k in order])

    def packed(self, ids: Sequence[str]) -> list[tuple[str, ...]]:
        """Return ids in order, cut where the next structure would exceed the cost; one structure always fits."""
        batches: list[tuple[str, ...]] = []
        total = 0
        for id in ids:
            if batches and total + self._cost[id] <= self._batch_pairs:
                batches[-1] += (id,)
                total += self._cost[id]
            else:
                batches.append((id,))
                total = self._cost[id]
        return batches

    def all(self) -> Iterator[Sample]:
        """Yield every structure once, in the order of ids."""
        for ids in self.packed(sorted(self._cost)):
            yield self.sample(ids)

    def sample(self, ids: tuple[str, ...]) -> Sample:
        """Return the batch of these structures, on the CPU."""
        if ids in self._cache:
            self._cache.move_to_end(ids)
            return self._cache[ids]
        sample = self._build([self._read(id) for id in ids])
        self._cache[ids] = sample
        while len(self._cache) > 1 and sum(self._cost[i] for key in self._cache for i in key) > self._cache_pairs:
            self._cache.popitem(last=False)
        return sample

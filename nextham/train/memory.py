"""What a step holds in memory, and batches cut to what there is."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from nextham.exceptions import NexthamError
from nextham.train.loader import Loader

_COPIES = 5  # of the weights: themselves, their average, gradients and two moments
_TRANSIENT = 1.1  # peak of a step over what its forward pass saves, which is 1.01 to 1.04 by PyTorch's profiler


def saved_bytes(network: torch.nn.Module, forward: Callable[[], Tensor]) -> int:
    """Return the bytes that a forward pass keeps for its backward pass, weights not counted."""
    weights = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        total = forward()  # alive until the sum is taken, so that no address is used twice
    del total
    return sum(seen.values())


def weight_bytes(network: torch.nn.Module) -> int:
    """Return the bytes of weights, gradients, optimiser and average."""
    return _COPIES * sum(p.numel() * p.element_size() for p in network.parameters())


def step_bytes(saved: int) -> int:
    """Return the estimated peak of a step that saves so much."""
    return int(_TRANSIENT * saved)


class Memory:
    """Cuts batches, by an estimate or after the device ran out.

    What is saved grows in proportion to the listed pairs, so that a limit in pairs holds for all batches.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._limit: int | None = None  # listed pairs; None: not known
        self._told: set[str | int] = set()

    def limit(self, network: torch.nn.Module, *, max_gb: float, pairs: int, saved: int) -> None:
        """Allow what fits beside the weights, judged by one batch of so many pairs and saved bytes.

        Raises:
            NexthamError: if the weights alone do not fit.
        """
        left = max_gb * 1e9 - weight_bytes(network)
        if left <= 0:
            raise NexthamError(
                f"train.max_memory_gb is {max_gb:g}, but the weights and their optimiser alone take "
                f"{weight_bytes(network) / 1e9:.2g} GB; raise it or choose a smaller model"
            )
        self._limit = int(left * pairs / step_bytes(saved))

    def parts(self, ids: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Return a batch as it is or in parts that fit; a structure that does not fit alone is left out."""
        pairs = self._loader.cost_of(ids)
        if self._limit is None or pairs <= self._limit:
            return [ids]
        if len(ids) == 1:
            self._tell(ids[0], f"{ids[0]} ({pairs} pairs)", "it is left out of the training")
            return []
        self._tell(self._limit, f"a batch of {len(ids)} structures ({pairs} pairs)", "such batches are cut in two")
        half = len(ids) // 2
        return self.parts(ids[:half]) + self.parts(ids[half:])

    def ran_out(self, ids: tuple[str, ...]) -> None:
        """Cut the largest part of a batch, and every batch as large, from now on."""
        self._limit = max(self._loader.cost_of(part) for part in self.parts(ids)) - 1

    def _tell(self, key: str | int, what: str, done: str) -> None:
        if key not in self._told:
            self._told.add(key)
            there = f"about {self._limit} pairs fit"
            warnings.warn(f"{what} would need more memory than there is ({there}): {done}", stacklevel=2)

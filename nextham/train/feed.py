"""Samples on the device, the next one read and pinned while the device works on this one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from nextham.train.loader import Loader
from nextham.train.sample import Sample


class Feed:
    """Gives samples of a loader on a device; on CUDA one thread reads them, on the CPU there is nothing to hide."""

    def __init__(self, loader: Loader, device: torch.device) -> None:
        self.loader, self._device = loader, device
        self._pool = ThreadPoolExecutor(1) if device.type == "cuda" else None
        self._coming: dict[tuple[str, ...], Future[Sample]] = {}

    def expect(self, batches: Sequence[tuple[str, ...]]) -> None:
        """Begin to prepare what is wanted next, in place of what was expected before."""
        if self._pool is None:
            return
        for ids in set(self._coming) - set(batches):
            self._coming.pop(ids).cancel()
        for ids in batches:
            if ids not in self._coming:
                self._coming[ids] = self._pool.submit(self._pinned, ids)

    def sample(self, ids: tuple[str, ...]) -> Sample:
        """Return the batch of these structures."""
        if self._pool is None:
            return self.loader.sample(ids).to(self._device)
        coming = self._coming.pop(ids, None) or self._pool.submit(self._pinned, ids)
        return coming.result().to(self._device)

    def _pinned(self, ids: tuple[str, ...]) -> Sample:
        return self.loader.sample(ids).each(Tensor.pin_memory)

"""Gradients of one batch: forward and backward, in parts where memory asks for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from nextham.model.network import NextHAM
from nextham.train.feed import Feed
from nextham.train.loss import Losses, Measure
from nextham.train.memory import Memory


@dataclasses.dataclass(frozen=True)
class Step:
    """Fills the gradients of a network."""

    network: NextHAM
    feed: Feed
    memory: Memory
    measure: Measure

    def backward(self, ids: tuple[str, ...], *, k_at: Tensor, share: float) -> Losses | None:
        """Replace the gradients by those of a batch's loss and return its losses, None if nothing of it fits.

        In parts, the trace term is the mean of the parts' own means; the other terms do not notice.
        """
        while True:
            self.network.zero_grad()
            parts = self.memory.parts(ids)
            n = sum(len(part) for part in parts)
            try:
                found = [self._part(part, len(part) / n, k_at=k_at, share=share) for part in parts]
            except torch.OutOfMemoryError:
                self.memory.ran_out(ids)
            else:
                return Losses.joined(found) if found else None
            torch.cuda.empty_cache()  # here, where the failed step's tensors are gone

    def losses(self, ids: tuple[str, ...], *, k_at: Tensor, share: float) -> Losses:
        """Return the losses of structures with their graph."""
        sample = self.feed.sample(ids)
        return self.measure.losses(self.network(sample.batch), sample, k_at=k_at, share=share)

    def _part(self, ids: tuple[str, ...], weight: float, *, k_at: Tensor, share: float) -> Losses:
        found = self.losses(ids, k_at=k_at, share=share)
        (weight * found.total(self.measure.options, share=share)).backward()  # type: ignore[no-untyped-call]
        return found.detached()


def mix_precision(network: NextHAM, device: torch.device) -> None:
    """Let the blocks' matrix products run in bfloat16 while the network trains.

    Embeddings, readout, residuals, norms and sums over neighbours stay float32, and so do validation and
    predictions: a block of the correction rounded to bfloat16 would be off by 0.4 %.
    """
    for block in network.blocks:
        block.forward = _autocast(block, device)


def _autocast(block: torch.nn.Module, device: torch.device) -> Any:
    plain = block.forward

    def forward(*inputs: Any) -> Any:
        with torch.autocast(device.type, torch.bfloat16, enabled=block.training):
            return plain(*inputs)

    return forward

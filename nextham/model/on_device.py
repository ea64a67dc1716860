"""Values made of tensors that travel together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor


class OnDevice:
    """Tensors that travel together."""

    def to(self, device: torch.device) -> Self:
        """Return the same with every tensor on a device; from pinned memory without waiting for the copy."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the same with every tensor changed."""
        fields = {f.name: _changed(getattr(self, f.name), change) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return type(self)(**fields)


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, OnDevice):
        return value.each(change)
    if isinstance(value, dict):
        return {k: _changed(v, change) for k, v in value.items()}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_changed(v, change) for v in value)
    return value

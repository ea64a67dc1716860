"""Where a training stands: all that a resumed run needs to continue as if it had never stopped."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nextham.exceptions import InputError
from nextham.files import whole


@dataclasses.dataclass
class State:
    """Numbers that change during a training. The order of structures follows from seed and epoch alone."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]  # exponential moving average of the weights
    fingerprint: str  # of settings and data: a state continues its own training only
    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps
    best: float = float("inf")  # validation objective of the best average so far
    best_epoch: int = 0
    seconds: float = 0.0  # spent so far

    def update_average(self, decay: float) -> None:
        """Move the average towards the weights; early on it forgets its start faster."""
        decay = min(decay, (1 + self.step) / (10 + self.step))
        weights = dict(self.model.named_parameters())  # buffers are statistics and do not change
        with torch.no_grad():
            torch._foreach_lerp_([self.average[name] for name in weights], list(weights.values()), 1 - decay)

    def save(self, path: Path) -> None:
        """Write atomically, as tensors and plain values only."""
        content: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "random": torch.get_rng_state(),
            **{name: getattr(self, name) for name in _PLAIN},
        }
        with whole(path) as part:
            torch.save(content, part)

    def restore(self, path: Path) -> None:
        """Continue from a saved state.

        Raises:
            InputError: if the file is damaged or belongs to another training.
        """
        content = _read(path)
        if content["fingerprint"] != self.fingerprint:
            raise InputError(
                f"{path.parent} holds a training with other settings, split or data; "
                "train into another folder, or pass --restart to replace it"
            )
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        for name, value in content["average"].items():
            self.average[name].copy_(value)
        torch.set_rng_state(content["random"])
        for name in _PLAIN:
            setattr(self, name, content[name])


def fingerprint_of(path: Path) -> str:
    """Return the fingerprint of the training that a saved state belongs to.

    Raises:
        InputError: if the file is damaged.
    """
    return str(_read(path)["fingerprint"])


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{path} cannot be read ({reason}); delete it to start the training again") from None
    return content


_PLAIN = ("fingerprint", "epoch", "step", "best", "best_epoch", "seconds")

"""One process per device: each trains on its share of the batches, gradients are averaged, the first one writes.

Not PyTorch's DistributedDataParallel, which averages during the backward pass: a process that runs out of
memory then could not repeat its step in two parts, and a weight without a gradient would stop the others.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from nextham.exceptions import InputError, NexthamError
from nextham.train.settings import TrainSettings

Item = TypeVar("Item")
_PATIENCE: Final = dt.timedelta(hours=6)  # others wait while the first process validates


class Ranks:
    """The processes of a training as one of them sees them."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self.rank: int = fabric.global_rank
        self.size: int = fabric.world_size
        self.device: torch.device = fabric.device

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Return every n-th item; as many for each process, so the last round may repeat the first items."""
        rounds = -(-len(items) // self.size)
        return [items[(k * self.size + self.rank) % len(items)] for k in range(rounds)]

    def average_gradients(self, weights: Sequence[torch.nn.Parameter]) -> None:
        """Replace gradients by their mean over all processes; one that has none counts as zero."""
        if self.size == 1:
            return
        parts = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        total = torch.cat([p.reshape(-1) for p in parts])
        torch.distributed.all_reduce(total)
        means = (total / self.size).split_with_sizes([w.numel() for w in weights])
        for weight, mean in zip(weights, means, strict=True):
            weight.grad = mean.reshape(weight.shape)

    def gathered(self, item: Item) -> list[Item]:
        """Return the item of every process."""
        if self.size == 1:
            return [item]
        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, item)
        return found

    def agreed(self, item: Item) -> Item:
        """Return the item of the first process."""
        return item if self.size == 1 else self._fabric.broadcast(item)

    def wait(self) -> None:
        """Return when all processes are here."""
        self._fabric.barrier()


def alone(options: TrainSettings) -> Ranks:
    """Return this process as the only one.

    Raises:
        InputError: if the device is not there.
    """
    _check_device(options)
    environment = LightningEnvironment()  # under Slurm, too, this process is the only one
    return Ranks(Fabric(accelerator=options.device, devices=1, plugins=[environment]))


def launch(function: Callable[..., Item], *arguments: Any, options: TrainSettings) -> Item:
    """Call function(ranks, *arguments) in every process and return what the first one returns.

    torchrun has started them already; otherwise they are started here, and end with this call.

    Raises:
        InputError: if the device is not there, or fewer are.
        NexthamError: that a process met.
    """
    _check_device(options)
    if TorchElasticEnvironment.detect():
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        if world > 1:
            strategy = DDPStrategy(timeout=_PATIENCE)
            fabric = Fabric(accelerator=options.device, devices=local, num_nodes=world // local, strategy=strategy)
            fabric.launch()
            return function(Ranks(fabric), *arguments)
    if options.devices == 1:
        return function(alone(options), *arguments)
    there = torch.cuda.device_count()
    if options.device != "cpu" and 0 < there < options.devices:
        raise InputError(f"train.devices is {options.devices}, but this machine has {there} CUDA devices; lower it")
    strategy = DDPStrategy(start_method="spawn", cluster_environment=LightningEnvironment(), timeout=_PATIENCE)
    fabric = Fabric(accelerator=options.device, devices=options.devices, strategy=strategy)
    with tempfile.TemporaryDirectory() as folder:
        try:
            task = functools.partial(_guarded, folder=Path(folder), function=function, arguments=arguments)
            result: Item = fabric.launch(task)
        except Exception:
            told = sorted(Path(folder).iterdir())
            if not told:
                raise
            kind = InputError if told[0].suffix == ".input" else NexthamError
            raise kind(told[0].read_text()) from None
    return result


def _check_device(options: TrainSettings) -> None:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise InputError("train.device is cuda, but this machine has no CUDA device; set it to auto or cpu")


def _guarded(fabric: Fabric, *, folder: Path, function: Callable[..., Item], arguments: tuple[Any, ...]) -> Item:
    """Call the function in a process that was started; leave its error where the parent finds the sentence."""
    try:
        return function(Ranks(fabric), *arguments)
    except NexthamError as error:
        kind = ".input" if isinstance(error, InputError) else ".other"
        (folder / f"{fabric.global_rank}{kind}").write_text(str(error))
        raise

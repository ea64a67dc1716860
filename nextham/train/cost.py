"""What a training would cost, by taking a few steps of it."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import torch

from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.train.loop import Training
from nextham.train.memory import saved_bytes, step_bytes, weight_bytes
from nextham.train.parallel import alone
from nextham.train.schedule import expected_epochs
from nextham.train.settings import FitSettings
from nextham.train.task import Start, prepare

_TIMED_STEPS = 3


def dry_run(store: Store, split: Split, *, settings: FitSettings, start: Start | None = None) -> str:
    """Return the model, its size, memory and time in words; writes nothing.

    Raises:
        InputError: if the data do not fit, as training itself would.
    """
    task = prepare(store, split, settings, start=start)
    with tempfile.TemporaryDirectory() as folder:
        training = Training(task, Path(folder), alone(settings.train))
        lines = [*_model(training), *_memory(training), *_time(training)]
    return "\n".join(f"{name:10s} {text}" for name, text in lines)


def _model(training: Training) -> list[tuple[str, str]]:
    task, network = training.task, training.network
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in network.named_children()}
    parts = ", ".join(f"{name} {n:,}" for name, n in counts.items() if n)
    return [
        ("model", json.dumps(task.settings.model.model_dump(mode="json"))),
        ("basis", str(task.card.basis)),
        ("parameters", f"{sum(counts.values()):,} ({parts})"),
    ]


def _memory(training: Training) -> list[tuple[str, str]]:
    """Measure what the forward pass of the largest batch saves."""
    loader = training.task.train
    largest = max(loader.epoch(training.options.seed, 1), key=lambda ids: (loader.cost_of(ids), ids))
    training.network.train()
    saved = saved_bytes(training.network, lambda: training.total(largest))
    held = weight_bytes(training.network)
    text = (
        f"about {(held + step_bytes(saved)) / 1e6:.0f} MB: {held / 1e6:.0f} MB for weights, gradients, optimiser and "
        f"average, {step_bytes(saved) / 1e6:.0f} MB for activations of the largest batch "
        f"({len(largest)} structures, {loader.cost_of(largest)} pairs)"
    )
    return [("memory", text)]


def _time(training: Training) -> list[tuple[str, str]]:
    loader, options = training.task.train, training.options
    batches = loader.epoch(options.seed, 1)
    chosen = [batches[k * (len(batches) - 1) // max(1, _TIMED_STEPS - 1)] for k in range(_TIMED_STEPS)]
    for ids in chosen:  # read and solve them, compile and warm up
        training.step(ids)
    start = time.monotonic()
    for ids in chosen:
        training.step(ids)
    if training.ranks.device.type == "cuda":
        torch.cuda.synchronize()
    per_pair = (time.monotonic() - start) / sum(loader.cost_of(ids) for ids in chosen)
    epoch = per_pair * loader.cost_of(tuple(loader.cost)) / options.devices
    steps = -(-len(batches) // options.devices)
    epochs = expected_epochs(options, epoch_s=epoch)
    total = f"about {epoch:.1f} s an epoch and {epoch * epochs / 60:.1f} min in all"
    return [
        ("steps", f"{steps} per epoch, about {steps * epochs:.0f} in all"),
        ("time", f"{epoch / steps:.2f} s a step, {total}"),
    ]

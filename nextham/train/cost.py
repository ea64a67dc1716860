"""What a training would cost, by taking two steps of it."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.train.loop import Training
from nextham.train.settings import FitSettings
from nextham.train.task import prepare


def dry_run(store: Store, split: Split, *, settings: FitSettings) -> str:
    """Return the model, its size, memory and time in words; writes nothing.

    Raises:
        InputError: if the data do not fit, as training itself would.
    """
    with tempfile.TemporaryDirectory() as folder:
        training = Training(prepare(store, split, settings), settings.train, Path(folder))
        batches = training.task.train.epoch(settings.train.seed, 1)
        training.step(batches[0])
        start = time.monotonic()
        training.step(batches[-1])
        seconds = time.monotonic() - start
    weights = list(training.network.parameters())
    held = sum(p.numel() * p.element_size() for p in weights)
    parts = {name: sum(p.numel() for p in child.parameters()) for name, child in training.network.named_children()}
    lines = [
        f"model      {json.dumps(settings.model.model_dump(mode='json'))}",
        f"basis      {training.task.card.basis}",
        f"parameters {sum(p.numel() for p in weights):,} ({', '.join(f'{k} {n:,}' for k, n in parts.items() if n)})",
        f"memory     {5 * held / 1e6:.0f} MB for weights, gradients, optimiser and average, plus activations",
        f"steps      {len(batches)} per epoch, {training.n_steps} in all",
        f"time       {seconds:.2f} s a step, about {seconds * len(batches):.1f} s an epoch and "
        f"{seconds * training.n_steps / 60:.1f} min in all",
    ]
    return "\n".join(lines)

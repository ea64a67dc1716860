"""The training loop."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from nextham.console import track
from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.exceptions import InputError, NexthamError
from nextham.model import checkpoint
from nextham.model.network import NextHAM
from nextham.train.log import COLUMNS, Log
from nextham.train.loss import TERMS, Losses, losses
from nextham.train.score import evaluate
from nextham.train.settings import FitSettings, TrainSettings
from nextham.train.state import State
from nextham.train.task import Task, prepare


def train(store: Store, split: Split, *, settings: FitSettings, out: Path, resume: bool = False) -> dict[str, float]:
    """Fit a network to the split's ``train``, choose by ``val``, and return the metrics of ``out/best``.

    Writes ``best`` and ``last`` (checkpoints of the averaged weights), ``log.csv`` and ``state``, from
    which ``resume`` continues with the very losses of a run that was never stopped.

    Raises:
        InputError: if the data do not fit, or the folder holds another or (without resume) any training.
        NexthamError: if the loss is no longer a number.
    """
    if out.exists() and any(out.iterdir()) and not resume:
        raise InputError(f"{out} holds a training already; pass --resume to continue it, or choose another folder")
    return Training(prepare(store, split, settings), settings.train, out).run()


class Training:
    """One training: continues from ``out/state`` if there is one."""

    def __init__(self, task: Task, options: TrainSettings, out: Path) -> None:
        self.task, self.options, self.out = task, options, out
        torch.manual_seed(options.seed)
        self.fabric = Fabric(
            accelerator={"auto": "auto", "cpu": "cpu", "cuda": "cuda"}[options.device],
            devices=1,
        )
        # Fabric's own precision stays out of the way: it would cast the float64 correction.
        network = checkpoint.build(task.card, statistics=task.statistics).to(getattr(torch, options.precision))
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        self.model, self.optimizer = self.fabric.setup(network, optimizer)
        self.network: NextHAM = network
        average = {name: value.clone() for name, value in network.state_dict().items()}
        self.state = State(network, optimizer, average, fingerprint=task.fingerprint)
        self.saved = out / "state" / "training.pt"
        if self.saved.is_file():
            self.state.restore(self.saved)
        self.log = Log(out / "log.csv", epoch=self.state.epoch)
        self.n_steps = sum(len(task.train.epoch(options.seed, n)) for n in range(1, options.epochs + 1))

    def run(self) -> dict[str, float]:
        """Run the epochs that are left and return the metrics of the best checkpoint."""
        start = time.monotonic() - self.state.seconds
        for epoch in track(range(self.state.epoch + 1, self.options.epochs + 1), "training"):
            row = self._epoch(epoch)
            self.state.epoch, self.state.seconds = epoch, time.monotonic() - start
            over = self._over_budget()
            if epoch % self.options.validate_every_epochs == 0 or epoch == self.options.epochs or over:
                row |= self._validate(epoch, row["train_mev"])
            self.log.add({"epoch": epoch, "steps": self.state.step, "seconds": round(self.state.seconds, 2)} | row)
            if epoch % self.options.save_every_epochs == 0 or epoch == self.options.epochs or over:
                self.state.save(self.saved)
            if over:
                break
        return checkpoint.read_card(self.out / "best").metrics

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (from 0): linear warm-up, then half a cosine down to 1 %."""
        warm = self.options.warmup_steps
        if step < warm:
            return self.options.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, self.n_steps - warm)
        return self.options.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, done))) / 2)

    def step(self, ids: tuple[str, ...]) -> Losses:
        """Take one optimiser step and return the losses."""
        rate = self.rate(self.state.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sample = self.task.train.sample(ids).to(self.fabric.device)
        k_at = self._k_at(self.state.step).to(self.fabric.device)
        found = losses(self.model(sample.batch), sample, trace_unit_ev2=self.task.trace_unit_ev2, k_at=k_at)
        total = found.total(self.options, spectral=self.options.spectral_share(self.state.step / self.n_steps))
        if not torch.isfinite(total):
            raise NexthamError(
                f"the loss of {', '.join(ids)} is not a number after {self.state.step} steps; lower learning_rate"
            )
        self.optimizer.zero_grad()
        self.fabric.backward(total)
        self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.options.clip_norm)
        self.optimizer.step()
        self.state.step += 1
        self.state.update_average(self.options.ema_decay)
        return found.detached()

    def _k_at(self, step: int) -> Tensor:
        """Return which k of the pool a step uses; it follows from seed and step alone."""
        n = min(self.options.k_per_step, self.options.k_pool)
        rng = np.random.default_rng([self.options.seed, step])
        return torch.from_numpy(rng.choice(self.options.k_pool, size=n, replace=False))

    def _epoch(self, epoch: int) -> dict[str, Any]:
        self.model.train()
        batches = self.task.train.epoch(self.options.seed, epoch)
        rate = self.rate(self.state.step)
        found = [self.step(ids) for ids in batches]
        mae = torch.cat([f.gauge_mae_mev for f in found]).mean()
        means = {name: float(torch.stack([getattr(f, name) for f in found]).mean()) for name in TERMS}
        row = {"learning_rate": rate, "train_mev": float(mae) / 2}
        return row | means

    def _validate(self, epoch: int, train_mev: float) -> dict[str, Any]:
        """Score the averaged weights and write ``last``, and ``best`` where they are the best so far."""
        ours = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.state.average)
        score = evaluate(self.network, self.task.val, self.fabric.device) if self.task.val else None
        self.network.load_state_dict(ours)
        found = score.metrics() if score else {}
        card = dataclasses.replace(self.task.card, metrics={"epoch": float(epoch), "train_mev": train_mev} | found)
        checkpoint.save(self.out / "last", self.state.average, card)
        objective = score.objective(self.options) if score else -float(epoch)  # without val the latest is the best
        if objective < self.state.best:
            self.state.best = objective
            checkpoint.save(self.out / "best", self.state.average, card)
        said = f", val {score.mae_mev:.4f} meV, skill {score.skill:.3f}" if score else ""
        print(f"epoch {epoch}: train {train_mev:.4f} meV{said}", file=sys.stderr, flush=True)  # noqa: T201
        return {name: value for name, value in found.items() if name in COLUMNS}

    def _over_budget(self) -> bool:
        budget = self.options.budget_minutes
        return budget is not None and self.state.seconds > 60 * budget

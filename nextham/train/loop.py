"""The training loop."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from nextham.console import track
from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.exceptions import InputError, NexthamError
from nextham.model import checkpoint
from nextham.model.network import NextHAM
from nextham.train.loader import Loader
from nextham.train.log import Log
from nextham.train.loss import gauge_mae, losses
from nextham.train.settings import FitSettings, TrainSettings
from nextham.train.state import State
from nextham.train.task import Task, prepare


@dataclasses.dataclass(frozen=True)
class Score:
    """Overall Gauge MAE, macro mean over structures: the mean modulus over the four spin blocks."""

    mae_mev: float
    h0_mev: float

    @property
    def skill(self) -> float:
        """1 - MAE / MAE of H0."""
        return 1 - self.mae_mev / self.h0_mev


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

    def step(self, ids: tuple[str, ...]) -> tuple[float, float]:
        """Take one optimiser step and return the losses: mean Gauge MAE (meV) and trace."""
        rate = self.rate(self.state.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = self.task.train.batch(ids).to(self.fabric.device)
        found = losses(self.model(batch), batch, trace_unit_ev2=self.task.trace_unit_ev2)
        mae = found.gauge_mae_mev.mean()
        if not torch.isfinite(mae):
            raise NexthamError(
                f"the loss of {', '.join(ids)} is not a number after {self.state.step} steps; lower learning_rate"
            )
        self.optimizer.zero_grad()
        self.fabric.backward(mae + self.options.trace_weight * found.trace)
        self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.options.clip_norm)
        self.optimizer.step()
        self.state.step += 1
        self.state.update_average(self.options.ema_decay)
        return float(mae.detach()), float(found.trace.detach())

    def _epoch(self, epoch: int) -> dict[str, Any]:
        self.model.train()
        batches = self.task.train.epoch(self.options.seed, epoch)
        rate = self.rate(self.state.step)
        rows = [(len(ids), *self.step(ids)) for ids in batches]
        n = sum(k for k, _, _ in rows)
        mae, trace = (sum(row[0] * row[c] for row in rows) / n for c in (1, 2))
        return {"learning_rate": rate, "train_mev": mae / 2, "trace": trace, "val_mev": "", "val_skill": ""}

    def _validate(self, epoch: int, train_mev: float) -> dict[str, Any]:
        """Score the averaged weights and write ``last``, and ``best`` where they are the best so far."""
        ours = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.state.average)
        score = evaluate(self.network, self.task.val, self.fabric.device) if self.task.val else None
        self.network.load_state_dict(ours)
        metrics = {"epoch": float(epoch), "train_mev": train_mev}
        if score:
            metrics |= {"val_mev": score.mae_mev, "val_h0_mev": score.h0_mev, "val_skill": score.skill}
        card = dataclasses.replace(self.task.card, metrics=metrics)
        checkpoint.save(self.out / "last", self.state.average, card)
        if score is None or score.mae_mev < self.state.best_mev:
            self.state.best_mev = score.mae_mev if score else self.state.best_mev
            checkpoint.save(self.out / "best", self.state.average, card)
        said = f", val {score.mae_mev:.4f} meV, skill {score.skill:.3f}" if score else ""
        print(f"epoch {epoch}: train {train_mev:.4f} meV{said}", file=sys.stderr, flush=True)  # noqa: T201
        return {"val_mev": score.mae_mev, "val_skill": score.skill} if score else {}

    def _over_budget(self) -> bool:
        budget = self.options.budget_minutes
        return budget is not None and self.state.seconds > 60 * budget


def evaluate(network: NextHAM, loader: Loader, device: torch.device) -> Score:
    """Return the score of a network on every structure of a loader."""
    network.eval()
    found: list[float] = []
    prior: list[float] = []
    with torch.no_grad():
        for _, batch in loader.all():
            moved = batch.to(device)
            if moved.target is None:
                raise ValueError("only batches with labels can be scored")
            found += gauge_mae(network(moved).correction - moved.target, moved).tolist()
            prior += gauge_mae(-moved.target, moved).tolist()
    half = 1e3 / 2 / len(found)  # ↑↓ and ↓↑ of a spin scalar are zero
    return Score(sum(found) * half, sum(prior) * half)


def dry_run(store: Store, split: Split, *, settings: FitSettings) -> str:
    """Return the model, its size, and what training would cost by timing one step; writes nothing."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        training = Training(prepare(store, split, settings), settings.train, Path(folder))
        batches = training.task.train.epoch(settings.train.seed, 1)
        training.step(batches[0])
        start = time.monotonic()
        training.step(batches[-1])
        seconds = time.monotonic() - start
    n = sum(p.numel() for p in training.network.parameters())
    held = sum(p.numel() * p.element_size() for p in training.network.parameters())
    parts = {name: sum(p.numel() for p in child.parameters()) for name, child in training.network.named_children()}
    lines = [
        f"model      {json.dumps(settings.model.model_dump(mode='json'))}",
        f"basis      {training.task.card.basis}",
        f"parameters {n:,} ({', '.join(f'{name} {k:,}' for name, k in parts.items() if k)})",
        f"memory     {5 * held / 1e6:.0f} MB for weights, gradients, optimiser and average, plus activations",
        f"steps      {len(batches)} per epoch, {training.n_steps} in all",
        f"time       {seconds:.2f} s a step, about {seconds * len(batches):.1f} s an epoch and "
        f"{seconds * training.n_steps / 60:.1f} min in all",
    ]
    return "\n".join(lines)

"""The training loop."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from nextham.console import meter
from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.exceptions import InputError, NexthamError
from nextham.model import checkpoint
from nextham.model.extend import inherit
from nextham.model.network import NextHAM
from nextham.train.feed import Feed
from nextham.train.log import COLUMNS, Log
from nextham.train.loss import TERMS, Losses, Measure
from nextham.train.memory import Memory, saved_bytes
from nextham.train.parallel import Ranks, launch
from nextham.train.schedule import learning_rate, progress
from nextham.train.score import evaluate
from nextham.train.settings import FitSettings
from nextham.train.state import State, fingerprint_of
from nextham.train.step import Step, mix_precision
from nextham.train.task import Start, Task, prepare

STATE: Final = "state/training.pt"
Tell = Callable[[float, str], None]  # of the part that is behind, and where the training is


def train(
    store: Store, split: Split, *, settings: FitSettings, out: Path, resume: bool = False, restart: bool = False
) -> dict[str, float]:
    """Fit a network to the split's ``train``, choose by ``val``, and return the metrics of ``out/best``.

    Writes ``best`` and ``last`` (checkpoints of the averaged weights), ``log.csv`` and ``state``, from
    which ``resume`` continues with the very losses of a run that was never stopped. ``restart`` empties
    the folder first where it holds another training (other settings, split or data).

    Raises:
        InputError: if the data do not fit, or the folder holds another or (without resume) any training.
        NexthamError: if the loss is no longer a number.
    """
    return launch(_train, store, split, settings, _Folder(out, resume, restart), None, options=settings.train)


def finetune(
    store: Store, split: Split, start: Start, *, settings: FitSettings, out: Path, resume: bool = False
) -> dict[str, float]:
    """Fit on from a checkpoint, on other data or new elements; the rest as ``train``.

    Raises:
        InputError: also if the checkpoint's orbitals or H0 definition differ, or settings ask for another network.
        NexthamError: if the loss is no longer a number.
    """
    return launch(_train, store, split, settings, _Folder(out, resume, restart=False), start, options=settings.train)


@dataclasses.dataclass(frozen=True)
class _Folder:
    """Where a training is written, and what to do with an older one there."""

    path: Path
    resume: bool
    restart: bool


def _train(
    ranks: Ranks, store: Store, split: Split, settings: FitSettings, folder: _Folder, start: Start | None
) -> dict[str, float]:
    out = folder.path
    if out.exists() and any(out.iterdir()) and not folder.resume:
        raise InputError(f"{out} holds a training already; pass --resume to continue it, or choose another folder")
    task = prepare(store, split, settings, start=start, n_processes=ranks.size)
    other = folder.restart and (out / STATE).is_file() and fingerprint_of(out / STATE) != task.fingerprint
    ranks.wait()  # nobody writes before all have looked
    if other and ranks.first:
        shutil.rmtree(out)
    ranks.wait()
    return Training(task, out, ranks).run()


class Training:
    """One training: continues from ``out/state`` if there is one."""

    def __init__(self, task: Task, out: Path, ranks: Ranks) -> None:
        options = task.settings.train
        self.task, self.options, self.out, self.ranks = task, options, out, ranks
        torch.manual_seed(options.seed)
        network = checkpoint.build(task.card, statistics=task.statistics)
        if task.start is not None:
            inherit(network, task.start)
        self.network: NextHAM = network.to(getattr(torch, options.dtype)).to(ranks.device)
        if options.precision == "bf16-mixed":
            mix_precision(self.network, ranks.device)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        average = {name: value.clone() for name, value in network.state_dict().items()}
        self.state = State(network, self.optimizer, average, fingerprint=task.fingerprint)
        self.saved = out / STATE
        if self.saved.is_file():
            self.state.restore(self.saved)
        self.feed = Feed(task.train, ranks.device)
        self.memory = Memory(task.train)
        self.steps = Step(network, self.feed, self.memory, Measure(options, task.trace_unit_ev2))
        self._limit_memory()
        self.done = 0.0  # part of the training that is behind the current step
        self._begun = time.monotonic() - self.state.seconds

    def batches(self, epoch: int) -> list[tuple[str, ...]]:
        """Return this process's share of an epoch's batches."""
        return self.ranks.share(self.task.train.epoch(self.options.seed, epoch))

    def run(self) -> dict[str, float]:
        """Run the epochs that are left and return the metrics of the best checkpoint."""
        log = Log(self.out, epoch=self.state.epoch, tensorboard=self.options.tensorboard) if self.ranks.first else None
        with meter("training") if self.ranks.first else nullcontext(_silent) as tell:
            self._run(log, tell)
        self.ranks.wait()
        return checkpoint.read_card(self.out / "best").metrics

    def _run(self, log: Log | None, tell: Tell) -> None:
        while not (self._is_over() or self._out_of_patience()):
            epoch = self.state.epoch + 1
            row = self._epoch(epoch, tell)
            self.state.epoch, self.state.seconds = epoch, self._seconds()
            if self._is_over() or epoch % self.options.validate_every_epochs == 0:
                row |= self._validate(epoch, row["train_mev"])
                self.state.seconds = self._seconds()
            if log is not None:
                log.add({"epoch": epoch, "steps": self.state.step, "seconds": round(self.state.seconds, 2)} | row)
                ends = self._is_over() or self._out_of_patience()
                if ends or epoch % self.options.save_every_epochs == 0:
                    self.state.save(self.saved)

    def step(self, ids: tuple[str, ...]) -> Losses | None:
        """Take one optimiser step and return the losses, None if the batch does not fit into memory."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.options, step=self.state.step, done=self.done)
        share = self.options.spectral_share(self.done)
        found = self.steps.backward(ids, k_at=self.k_at(self.state.step), share=share)
        weights = list(self.network.parameters())
        self.ranks.average_gradients(weights)
        norm = torch.nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])
        if not torch.isfinite(norm):
            raise self._not_a_number(ids, found, share)
        if norm > self.options.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(weights, self.options.clip_norm, norm)
        self.optimizer.step()
        self.state.step += 1
        self.state.update_average(self.options.ema_decay)
        return found

    def k_at(self, step: int) -> Tensor:
        """Return which k of the pool a step uses; it follows from seed and step alone."""
        n = min(self.options.k_per_step, self.options.k_pool)
        rng = np.random.default_rng([self.options.seed, step])
        return torch.from_numpy(rng.choice(self.options.k_pool, size=n, replace=False)).to(self.ranks.device)

    def _not_a_number(self, ids: tuple[str, ...], found: Losses | None, share: float) -> NexthamError:
        """Return the error, the same in every process."""
        good = found is None or bool(torch.isfinite(found.total(self.options, share=share)))
        everywhere = self.ranks.gathered((ids, good))
        guilty = [id for some, fine in everywhere if not fine for id in some]
        names = ", ".join(guilty or [id for some, _ in everywhere for id in some])
        return NexthamError(
            f"the loss of {names} {'is' if guilty else 'has a gradient that is'} not a number "
            f"after {self.state.step} steps; lower learning_rate"
        )

    def _limit_memory(self) -> None:
        """Let the estimate cut batches, judged by the forward pass of a structure of middling size."""
        if self.options.max_memory_gb is None:
            return
        cost = self.task.train.cost
        middle = sorted(cost, key=lambda id: (cost[id], id))[len(cost) // 2]
        self.network.train()
        saved = saved_bytes(self.network, lambda: self.total((middle,)))
        self.memory.limit(self.network, max_gb=self.options.max_memory_gb, pairs=cost[middle], saved=saved)

    def total(self, ids: tuple[str, ...]) -> Tensor:
        """Return the whole loss of structures, as it is at the end of the training."""
        return self.steps.losses(ids, k_at=self.k_at(0), share=1.0).total(self.options, share=1.0)

    def _epoch(self, epoch: int, tell: Tell) -> dict[str, Any]:
        self.network.train()
        batches = self.batches(epoch)
        rate = learning_rate(self.options, step=self.state.step, done=self._progress(0.0))
        found: list[Losses] = []
        for k, (ids, after) in enumerate(zip(batches, [*batches[1:], ()], strict=True)):
            self.done = self._progress(k / len(batches))
            if k and self.done >= 1:
                break  # the budget ends within the epoch
            tell(self.done, f"epoch {epoch}, step {k + 1} of {len(batches)}")
            self.feed.expect([*self.memory.parts(ids), *(self.memory.parts(after) if after else [])])
            if (losses := self.step(ids)) is not None:
                found.append(losses)
        everywhere = [f for some in self.ranks.gathered([f.on_cpu() for f in found]) for f in some]
        if not everywhere:
            raise NexthamError("no structure of the training set fits into memory; choose a smaller model")
        mae = torch.cat([f.gauge_mae_mev for f in everywhere]).mean()
        means = {name: float(torch.stack([getattr(f, name) for f in everywhere]).mean()) for name in TERMS}
        return {"learning_rate": rate, "train_mev": float(mae) / 2} | means

    def _validate(self, epoch: int, train_mev: float) -> dict[str, Any]:
        """Score the averaged weights and write ``last``, and ``best`` where they are the best so far."""
        found, objective = self.ranks.agreed(self._score(epoch) if self.ranks.first else ({}, 0.0))
        card = dataclasses.replace(self.task.card, metrics={"epoch": float(epoch), "train_mev": train_mev} | found)
        best = objective < self.state.best
        if best:
            self.state.best, self.state.best_epoch = objective, epoch
        if not self.ranks.first:
            return {}
        for name in ("last", "best") if best else ("last",):
            checkpoint.save(self.out / name, self.state.average, card)
        said = f", val {found['val_mev']:.4f} meV, skill {found['val_skill']:.3f}" if found else ""
        print(f"epoch {epoch}: train {train_mev:.4f} meV{said}", file=sys.stderr, flush=True)  # noqa: T201
        return {name: value for name, value in found.items() if name in COLUMNS}

    def _score(self, epoch: int) -> tuple[dict[str, float], float]:
        """Return the metrics of the averaged weights and what decides which are best: without val, the latest."""
        if self.task.val is None:
            return {}, -float(epoch)
        ours = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.state.average)
        score = evaluate(self.network, self.task.val, self.ranks.device)
        self.network.load_state_dict(ours)
        return score.metrics(), score.objective(self.options)

    def _seconds(self) -> float:
        """Return the time spent so far, the same in every process."""
        return self.ranks.agreed(time.monotonic() - self._begun)

    def _progress(self, of_epoch: float) -> float:
        """Return which part of the training is behind, within an epoch by the clock where a budget asks for it."""
        seconds = self._seconds() if self.options.budget_minutes else 0.0
        return progress(self.options, epochs=self.state.epoch + of_epoch, seconds=seconds)

    def _is_over(self) -> bool:
        return progress(self.options, epochs=self.state.epoch, seconds=self.state.seconds) >= 1

    def _out_of_patience(self) -> bool:
        """Return whether the last validation says so; other epochs do not ask."""
        patience, epoch = self.options.patience_epochs, self.state.epoch
        asked = patience is not None and epoch > 0 and epoch % self.options.validate_every_epochs == 0
        return asked and epoch - self.state.best_epoch >= (patience or 0)


def _silent(_done: float, _where: str) -> None:
    """Tell nobody: the first process speaks for all."""

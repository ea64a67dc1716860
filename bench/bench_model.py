"""The network: a training step beside e3nn's tensor products, batches, and a prediction.

pytest bench/bench_model.py --benchmark-only -o addopts=
python bench/model_step.py                  memory, and steps against cutoff, batch size and precision
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from model_step import NAMES, RUNS, gradients, make_plain, training

from nextham.dft.abacus.reader import read_run
from nextham.model.batch import Batch
from nextham.model.settings import ModelSettings
from nextham.predict import predicted
from nextham.train.loop import Training

NAME = "AlSb-zb-1"  # with f orbitals


@pytest.fixture
def paper() -> Iterator[Training]:
    """A training of the paper's sizes."""
    with training(NAME, model=ModelSettings(preset="paper"), device="cpu") as made:
        yield made


@pytest.mark.benchmark(group="training step, paper")
def test_step(benchmark, paper: Training) -> None:
    """Forward, loss and backward of one structure."""
    benchmark.pedantic(gradients(paper, (NAME,)), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="training step, paper")
def test_step_of_e3nn(benchmark, paper: Training) -> None:
    """The same through tensor products in the global frame."""
    make_plain(paper.network)
    benchmark.pedantic(gradients(paper, (NAME,)), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="batch of eight")
def test_join(benchmark) -> None:
    """Eight prepared structures to one batch, as in each step."""
    with training(*NAMES, model=ModelSettings(preset="small"), device="cpu") as made:
        parts = [made.task.train.sample((name,)).batch for name in NAMES]
        benchmark(lambda: Batch.joined(parts))


@pytest.mark.benchmark(group="batch of eight")
def test_read_and_build(benchmark) -> None:
    """The same from the store, as in the first epoch."""
    with training(*NAMES, model=ModelSettings(preset="small"), device="cpu", cache_pairs=0) as made:
        benchmark.pedantic(lambda: made.task.train.sample(NAMES), rounds=3)


@pytest.mark.benchmark(group="prediction")
@pytest.mark.parametrize("preset", ["small", "paper"])
def test_predict(benchmark, preset: str) -> None:
    """H0 of one structure to its Hamiltonian."""
    system = read_run(RUNS / f"case-{NAME}.tar.xz", id=NAME).system
    with training(NAME, model=ModelSettings(preset=preset), device="cpu") as made:
        network = made.network.eval()
        benchmark.pedantic(lambda: predicted(system, network), rounds=5, warmup_rounds=1)

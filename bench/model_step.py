"""Time and memory of a training step: beside a plain e3nn implementation, against sizes, and what dominates.

    python bench/model_step.py beside                        # ours and e3nn's tensor products, in turn
    python bench/model_step.py throughput                    # against cutoff, batch size, precision and preset
    python bench/model_step.py dominates                     # what the time goes to, and the machine's own speed
    python bench/model_step.py compiled                      # with torch.compile on the blocks
    python bench/model_step.py beside --device cuda

Structures are recorded ABACUS runs of examples/. The plain network is the oracle of tests/model/plain_block.py: the
same parameters, features in the global frame, fully connected tensor products with Y(d) up to 2 lmax through e3nn,
TraceGrad by autograd. A step is forward, loss and backward; `dominates` adds the optimiser. Times are the least of
several repeats: CPU seconds of one thread (or as many as OMP_NUM_THREADS says), on a GPU wall seconds. Memory is the
peak of what a step allocates.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from nextham.data.splits import Split
from nextham.data.store import Store, StoreWriter
from nextham.dft.abacus.reader import read_run
from nextham.model.settings import ModelSettings
from nextham.train.loop import Training
from nextham.train.parallel import alone
from nextham.train.settings import FitSettings, TrainSettings
from nextham.train.task import prepare

sys.path.append(str(Path(__file__).parent.parent / "tests" / "model"))
from plain_block import make_plain

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Time and memory of a training step.")
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Preset = Annotated[str, typer.Option(help="Sizes of the network.")]

RUNS = Path(__file__).parent.parent / "examples" / "abacus-runs"
NAMES = ("AlSb-zb-0", "AlSb-zb-1", "AlP-zb-0", "BeS-zb-0", "MgO-rs-0", "NaCl-rs-0", "SrSe-rs-0", "Si-dia-0")
KINDS = {  # of torch's operations, by their names
    "products": ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"),
    "gathers and sums over indices": ("aten::index_select", "aten::scatter_add_", "aten::index_add_", "aten::index"),
    "copies": ("aten::copy_", "aten::cat", "aten::fill_", "aten::zero_", "aten::constant_pad_nd"),
    "optimiser": ("aten::_fused_adamw_", "aten::lerp_", "aten::linalg_vector_norm"),
}


@contextmanager
def training(*names: str, model: ModelSettings, **train) -> Iterator[Training]:
    """A training of some recorded runs, in a folder of its own."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        with StoreWriter(path / "store") as writer:
            for name in names:
                writer.add(read_run(RUNS / f"case-{name}.tar.xz", id=name).system)
        settings = FitSettings(model=model, train=TrainSettings(**train))
        task = prepare(Store(path / "store"), Split({"train": names}), settings)
        made = Training(task, path / "run", alone(settings.train))
        made.network.train()
        yield made


def gradients(made: Training, names: tuple[str, ...], *, share: float = 0.0) -> Callable[[], None]:
    """What a step does before the optimiser; share says how much the errors of levels count."""
    return lambda: made.steps.backward(names, k_at=made.k_at(0), share=share)


def seconds(call: Callable[[], None], *, repeats: int = 5) -> float:
    """The least of several repeats, after one that is not counted."""
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    clock = time.perf_counter if on_gpu else time.process_time
    found = []
    for _ in range(repeats + 1):
        start = clock()
        call()
        if on_gpu:
            torch.cuda.synchronize()
        found.append(clock() - start)
    return min(found[1:])


def peak_mb(call: Callable[[], None], device: str) -> float:
    """The most that a call holds of what it allocates."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        call()
    events = found.profiler.kineto_results.events()
    held = largest = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        largest = max(largest, held)
    return largest / 1e6


def gflop(call: Callable[[], None]) -> float:
    """10⁹ operations of the matrix products of a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e9


def products_limit(device: str, dtype: torch.dtype = torch.float32) -> float:
    """10⁹ operations per second of a large matrix product."""
    n = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / seconds(lambda: torch.mm(a, b), repeats=10) / 1e9


def n_edges(made: Training, names: tuple[str, ...]) -> int:
    """Directed edges of a batch."""
    return made.task.train.sample(names).batch.n_edges


@app.command()
def beside(
    preset: Preset = "paper",
    device: Device = "cpu",
    structures: Annotated[str, typer.Option(help="Recorded runs, by comma; one is a step.")] = "AlSb-zb-1,BeS-zb-0",
) -> None:
    """Ours and a plain e3nn network, step by step in turn."""
    print(f"{preset}, {device}: forward, loss and backward of one structure")
    print("structure    edges      ours s    e3nn s  ratio     ours MB   e3nn MB  ratio")
    for name in structures.split(","):
        with training(name, model=ModelSettings(preset=preset), device=device) as made:
            edges, own = n_edges(made, (name,)), gradients(made, (name,))
            blocks, plain = made.network.blocks, make_plain(made.network).to(made.ranks.device).blocks
            times, memory = defaultdict(list), {}
            for _ in range(3):  # in turn, for other work on the machine comes and goes
                for kind, chosen in (("ours", blocks), ("e3nn", plain)):
                    made.network.blocks = chosen
                    times[kind].append(seconds(own, repeats=2))
            for kind, chosen in (("ours", blocks), ("e3nn", plain)):
                made.network.blocks = chosen
                made.network.zero_grad()
                memory[kind] = peak_mb(own, device)
            t, m = {kind: min(found) for kind, found in times.items()}, memory
            print(
                f"{name:12s} {edges:5d}  {t['ours']:10.3f}{t['e3nn']:10.3f}{t['e3nn'] / t['ours']:7.1f}  "
                f"{m['ours']:10.0f}{m['e3nn']:10.0f}{m['e3nn'] / m['ours']:7.1f}",
                flush=True,
            )


def line(what: str, made: Training, names: tuple[str, ...], limit: float, share: float = 0.0) -> None:
    """Print one row of ``throughput``."""
    call = gradients(made, names, share=share)
    work, edges, device = gflop(call), n_edges(made, names), made.ranks.device.type
    spent = seconds(call)
    made.network.zero_grad()  # the profiler sees no end of what was there before it
    memory = peak_mb(call, device)
    print(
        f"{what:28s}{len(names):4d}{edges:7d}{spent / len(names):11.3f}{1e6 * spent / edges:9.0f}{work:9.1f}"
        f"{work / spent:9.0f}{100 * work / spent / limit:6.0f} {memory:9.0f}",
        flush=True,
    )


@app.command()
def throughput(preset: Preset = "paper", device: Device = "cpu") -> None:
    """Steps against cutoff, structures in a batch, precision and preset."""
    limit = products_limit(device)
    print(f"{preset}, {device}; a large float32 product makes {limit:.0f} GFLOP/s")
    print("                            structs  edges  s/struct  µs/edge    GFLOP  GFLOP/s     %        MB")
    name = ("AlSb-zb-1",)
    for cutoff in (5.0, 6.0, 7.5, 9.0):
        model = ModelSettings(preset=preset, correction_cutoff_ang=cutoff, graph_cutoff_ang=min(6.0, cutoff))
        with training(*name, model=model, device=device) as made:
            line(f"cutoff {cutoff} Å", made, name, limit)
    with training(*NAMES, model=ModelSettings(preset=preset), device=device) as made:
        for n in (1, 2, 4, 8):
            line(f"batch of {n}", made, NAMES[:n], limit)
    for precision in ("float32", "bf16-mixed", "float64"):
        with training(*name, model=ModelSettings(preset=preset), device=device, precision=precision) as made:
            line(precision, made, name, limit)
    for other in ("tiny", "small", "base", "paper"):
        with training(*name, model=ModelSettings(preset=other), device=device) as made:
            line(other, made, name, limit)
            line(f"{other}, with levels", made, name, limit, share=1.0)


@app.command()
def dominates(preset: Preset = "paper", device: Device = "cpu", batch: int = 1) -> None:
    """What a step's time goes to, and how far its products are from the machine's speed."""
    names = NAMES[:batch] if batch > 1 else ("AlSb-zb-1",)
    with training(*names, model=ModelSettings(preset=preset), device=device) as made:

        def step() -> None:
            made.step(names)

        spent, work = seconds(step), gflop(step)
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
        with profile(activities=kinds) as found:
            for _ in range(3):
                step()
        edges = n_edges(made, names)
    clock = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    times: dict[str, float] = defaultdict(float)
    calls = 0
    for event in found.key_averages():
        by_torch = event.key.startswith("aten::")
        rest = "elementwise and views" if by_torch else "autograd and Python"
        times[next((kind for kind, known in KINDS.items() if event.key in known), rest)] += getattr(event, clock)
        calls += event.count // 3 if by_torch else 0
    total, limit = sum(times.values()), products_limit(device)
    print(f"{preset}, {device}: {spent:.3f} s a step of {len(names)} structures, {edges} edges, {calls} operations")
    for kind, took in sorted(times.items(), key=lambda item: -item[1]):
        print(f"{100 * took / total:6.1f} %  {kind}")
    own = times["products"] / total * spent
    print(
        f"{work:.1f} GFLOP of products: {work / own:.0f} GFLOP/s in them, {work / spent:.0f} in all; a large product "
        f"makes {limit:.0f}, so that they alone would take {work / limit:.3f} s"
    )


@app.command()
def compiled(preset: Preset = "paper", device: Device = "cpu") -> None:
    """The blocks by torch.compile with dynamic shapes, beside themselves."""
    names = ("AlSb-zb-1", "BeS-zb-0")
    with training(*names, model=ModelSettings(preset=preset), device=device) as made:
        calls = [gradients(made, (name,)) for name in names]
        plain = [seconds(call) for call in calls]
        for block in made.network.blocks:
            block.compile(dynamic=True)
        start = time.perf_counter()
        for call in calls:
            call()
        took = time.perf_counter() - start
        for name, call, before in zip(names, calls, plain, strict=True):
            after = seconds(call)
            print(f"{preset}, {device}, {name}: {before:.3f} s, compiled {after:.3f} s, ratio {before / after:.2f}")
        print(f"compiling took {took:.0f} s")


if __name__ == "__main__":
    app()

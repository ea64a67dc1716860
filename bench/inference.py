"""Time and memory of predicting growing supercells.

    python bench/inference.py                                # 2 to 1000 atoms, whole and in chunks
    python bench/inference.py --preset small --plot PLOT     # ... as a figure
    python bench/inference.py --device cuda --max-memory-gb 16

S and H0 are those of one GaAs cell from the embedded engine, folded into each supercell; what computing them for the
supercell costs is told by `bench/lcao_engine.py supercells`. The network has fresh weights. Each line is a process of
its own; times are of building the batch and of the network, memory is what they add to the largest resident size (on
a GPU: what the device held). OMP_NUM_THREADS says how many threads compute.
"""

import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from nextham.core import LCAOSystem, Structure
from nextham.dft.lcao.engine import LCAOEngine
from nextham.dft.lcao.settings import LCAOSettings
from nextham.model import checkpoint
from nextham.model.settings import ModelSettings
from nextham.physics.symmetry import supercell
from nextham.predict.one import correction, cost_of

SIZES = ((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4), (5, 5, 4), (6, 6, 6), (10, 10, 5))
A_ANG = 5.75
PLAIN_ATOMS = 250  # larger ones are evaluated in chunks only


def crystal() -> LCAOSystem:
    """S and H0 of GaAs with two atoms."""
    cell = A_ANG / 2 * (1 - np.eye(3))
    structure = Structure.from_fractional(["Ga", "As"], [[0.0] * 3, [0.25] * 3], cell)
    with tempfile.TemporaryDirectory() as folder:
        return LCAOEngine(LCAOSettings()).h0(structure, id="GaAs", folder=Path(folder)).system


def resident_mb(*, peak: bool) -> float:
    """Resident memory, now or at most so far."""
    if peak:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def measure(small: LCAOSystem, n, preset: str, device: str, memory_gb: float | None):
    """Return atoms, edges, wall and CPU seconds, measured MB, expected MB of one supercell."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    card = checkpoint.Card(ModelSettings(preset=preset), small.basis, "")
    network = checkpoint.build(card).eval().to(device)
    correction(small, network, max_memory_gb=memory_gb)  # tables, and the device's programs
    system = supercell(small, n)
    cost, n_edges = cost_of(system, network)
    before = resident_mb(peak=False)
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    start, cpu = time.perf_counter(), time.process_time()
    correction(system, network, max_memory_gb=memory_gb)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    used = resident_mb(peak=True) - before
    if device.startswith("cuda"):
        used = torch.cuda.max_memory_allocated() / 2**20
    chunk = n_edges if memory_gb is None else cost.chunk(memory_gb, on_cpu=device == "cpu")
    expected = cost.plain(n_edges) if chunk >= n_edges else cost.chunked(chunk)
    return len(system.numbers), n_edges, seconds, cpu, used, expected / 2**20


def main(
    preset: Annotated[str, typer.Option(help="Sizes of the network.")] = "small",
    device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
    max_memory_gb: Annotated[float, typer.Option(help="Of the evaluation in chunks.")] = 4.0,
    atoms: Annotated[int, typer.Option(help="Largest cell.")] = 1000,
    plot: Annotated[Path | None, typer.Option(help="File of a plot (.png, .svg).")] = None,
) -> None:
    """Print time and memory of the network on growing supercells, at once and in chunks."""
    small = crystal()
    found: dict[str, list] = {"at once": [], "in chunks": []}
    print(f"{preset}, {device}\nhow        atoms   edges   wall s    CPU s  ms/atom      MB  MB/atom  expected MB")
    for how, rows in found.items():
        for n in SIZES:
            count = 2 * int(np.prod(n))
            if count > (min(atoms, PLAIN_ATOMS) if how == "at once" else atoms):
                continue
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                memory = None if how == "at once" else max_memory_gb
                row = pool.apply(measure, (small, n, preset, device, memory))
            rows.append(row)
            n_atoms, edges, seconds, cpu, mb, expected = row
            print(
                f"{how:10s} {n_atoms:5d} {edges:7d} {seconds:8.2f} {cpu:8.2f} {1e3 * cpu / n_atoms:8.1f} {mb:7.0f} "
                f"{mb / n_atoms:8.2f} {expected:12.0f}",
                flush=True,
            )
    if plot:
        draw({how: np.array(rows) for how, rows in found.items()}, plot, wall=device.startswith("cuda"))


def draw(found: dict[str, np.ndarray], path: Path, *, wall: bool) -> None:
    """Draw seconds (of the CPU, unless wall) and memory against atoms."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    for (how, rows), colour in zip(found.items(), ("#d55e00", "#0072b2"), strict=True):
        atoms, seconds, mb = rows.T[[0, 2 if wall else 3, 4]]
        time_axes.loglog(atoms, seconds, "o-", color=colour, label=how)
        memory_axes.loglog(atoms, np.maximum(mb, 1), "o-", color=colour, label=how)
    time_axes.loglog(atoms, atoms * seconds[-1] / atoms[-1], "--", color="0.5", label="linear in atoms")
    time_axes.set(xlabel="atoms", ylabel="seconds" if wall else "CPU seconds", title="Network, one prediction")
    memory_axes.set(xlabel="atoms", ylabel="MB", title="Memory beside the system's")
    for axes in (time_axes, memory_axes):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    typer.run(main)

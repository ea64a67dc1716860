"""Time, memory and errors of the embedded engine.

    python bench/lcao_engine.py runs PPORB RUNS...                 # recorded ABACUS runs: case folders or archives
    python bench/lcao_engine.py beside --command abacus            # ABACUS on the same crystals, in turn
    python bench/lcao_engine.py beside --species DIR CRYSTAL...    # ... on crystals of files, with other species
    python bench/lcao_engine.py supercells --plot PLOT             # 2 to 200 atoms, H0 only
    python bench/lcao_engine.py throughput --workers 2             # SCF of small crystals, structures per hour
    python bench/lcao_engine.py throughput --device cuda --workers 4
    python bench/lcao_engine.py dominates                          # what the time of an SCF goes to
    python bench/lcao_engine.py limit --device cuda                # what the machine can do

PPORB holds pseudo/ and orbital/; the others take the embedded species where none are named. Each process computes on
one thread, or as many as OMP_NUM_THREADS says. Times are CPU and wall seconds within the process, without imports; the
first case of `runs` also fills the cache of tables.
"""

import multiprocessing
import os
import re
import resource
import tarfile
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from nextham.campaign import load_structures
from nextham.core import SpinLayout, Structure
from nextham.dft.abacus.driver import AbacusEngine
from nextham.dft.abacus.reader import read_run
from nextham.dft.abacus.settings import AbacusSettings
from nextham.dft.engine import RunResult
from nextham.dft.lcao.engine import LCAOEngine
from nextham.dft.lcao.settings import LCAOSettings
from nextham.dft.settings import EMBEDDED, SpeciesSettings
from nextham.dft.species.source import open_source
from nextham.physics.spin import narrowed
from nextham.units import RYDBERG_EV

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Time, memory and errors of the embedded engine.")
Species = Annotated[Path, typer.Argument(help="Folder with pseudo/ and orbital/.")]
Device = Annotated[str, typer.Option(help="Torch device: cpu, cuda, cuda:1, ...")]

FCC = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
ZINCBLENDE = {"AlP": 5.51, "AlAs": 5.73, "GaP": 5.51, "GaAs": 5.75, "GaSb": 6.22, "InP": 5.97, "InSb": 6.64}  # Å
ROCKSALT = {"MgO": 4.26, "NaCl": 5.70, "PbTe": 6.56, "SnTe": 6.40, "PbS": 6.00}
SUPERCELL = "GaAs"
SIZES = ((1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (3, 2, 2), (3, 3, 3), (4, 3, 3), (4, 4, 4), (5, 5, 4))
KINDS = {  # of torch's operations, by their names
    "products": ("aten::bmm", "aten::mm", "aten::addmm", "aten::baddbmm"),
    "eigenproblems": ("aten::_linalg_eigh", "aten::linalg_cholesky_ex", "aten::linalg_solve_triangular"),
    "transforms": ("aten::_fft_c2r", "aten::_fft_r2c", "aten::_fft_c2c"),
    "blocks to and from containers": (
        "aten::index_add_",
        "aten::index_select",
        "aten::index",
        "aten::_index_put_impl_",
    ),
    "copies": ("aten::copy_", "aten::cat", "aten::fill_", "aten::zero_"),
}
_LONGEST_START_S = 900


def orbital_files(case: Path) -> dict[str, str]:
    """Element to .orb file of a recorded run."""
    if case.is_dir():
        text = next(case.glob("*scf/STRU")).read_text()
    else:
        with tarfile.open(case) as archive:
            text = archive.extractfile(next(m for m in archive if m.name.endswith("scf/STRU"))).read().decode()
    return {name.split("_")[0]: name for name in re.findall(r"\S+\.orb", text)}


def engine(pporb: Path, case: Path, **more) -> LCAOEngine:
    """Return an engine with the species of a recorded run."""
    return LCAOEngine(
        LCAOSettings(pseudo_dir=f"{pporb}/pseudo", orbital_dir=f"{pporb}/orbital", orbitals=orbital_files(case), **more)
    )


def timed(run, structure: Structure, id: str) -> tuple[RunResult, float, float]:
    """Return a result with its CPU and wall seconds."""
    with tempfile.TemporaryDirectory() as folder:
        cpu, wall = time.process_time(), time.perf_counter()
        result = run(structure, id=id, folder=Path(folder))
        return result, time.process_time() - cpu, time.perf_counter() - wall


def error(one: RunResult, two: RunResult, operator: str) -> str:
    """Return max and mean |difference| over every element of every block, Ry (S: 1)."""
    pairs = one.system.pairs.union(two.system.pairs)
    a, b = (r.system.operator(operator).on(pairs).values for r in (one, two))
    if operator != "overlap":
        a, b = (narrowed(v, SpinLayout.TIME_REVERSAL)[0] / RYDBERG_EV for v in (a, b))
    return f"{np.abs(a - b).max():.1e} {np.abs(a - b).mean():.1e}"


def peak_mb() -> float:
    """Return the largest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@app.command()
def runs(
    pporb: Species,
    cases: Annotated[list[Path], typer.Argument(help="Case folders or archives.")],
    device: Device = "cpu",
) -> None:
    """Print errors against recorded runs, and times."""
    print(f"{'case':12s} atoms  S max mean       H0 max mean      H max mean       E/eV    steps", end="")
    print("  H0 cpu wall   SCF cpu wall   MB")
    for case in cases:
        id = case.name.removeprefix("case-").removesuffix(".tar.xz")
        recorded = read_run(case, id=id)
        made = engine(pporb, case, kmesh=recorded.system.meta[0].kmesh, device=device)
        structure = recorded.system.structure()
        _, *h0 = timed(made.h0, structure, id)
        result, *scf = timed(made.scf, structure, id)
        errors = "  ".join(error(recorded, result, o) for o in ("overlap", "h0", "hamiltonian"))
        steps = result.system.meta[0].scf_steps
        energy = result.system.meta[0].total_energy_ev - recorded.system.meta[0].total_energy_ev
        times = f"{h0[0]:6.2f} {h0[1]:6.2f}  {scf[0]:6.2f} {scf[1]:6.2f}"
        print(
            f"{id:12s} {len(structure):4d}  {errors}  {energy:8.1e} {steps:4d}  {times}  {peak_mb():6.0f}", flush=True
        )


def small_crystals() -> dict[str, Structure]:
    """Return crystals of two atoms of embedded species, a little distorted."""
    found = {}
    for lattice, second in ((ZINCBLENDE, 0.25), (ROCKSALT, 0.5)):
        for name, a in lattice.items():
            sites = [[0.01, 0, 0], [second, second, second - 0.01]]
            found[name] = Structure.from_fractional(re.findall("[A-Z][a-z]?", name), sites, a * FCC)
    return found


def more_crystals() -> dict[str, Structure]:
    """Return strained and rattled crystals of two to five atoms of other structures, of embedded species."""
    cube, u = np.eye(3), 0.379
    hexagonal = np.array([[3.54, 0, 0], [-1.77, 1.77 * 3**0.5, 0], [0, 0, 5.70]])
    wurtzite = [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, u], [2 / 3, 1 / 3, 0.5 + u]]
    antifluorite = [[0.25] * 3, [0.75] * 3, [0] * 3]
    perovskite = [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    ideal = {
        "InN": Structure.from_fractional(["In", "In", "N", "N"], wurtzite, hexagonal),
        "TlCl": Structure.from_fractional(["Tl", "Cl"], [[0] * 3, [0.5] * 3], 3.83 * cube),
        "Mg2Ge": Structure.from_fractional(["Mg", "Mg", "Ge"], antifluorite, 6.39 * FCC),
        "BiSb": Structure.from_fractional(["Bi", "Sb"], [[0] * 3, [0.475] * 3], 6.2 * FCC),
        "TlPbBr3": Structure.from_fractional(["Tl", "Pb", "Br", "Br", "Br"], perovskite, 5.9 * cube),
        "H2O2": Structure.from_fractional(
            ["O", "O", "H", "H"], [[0.4, 0.45, 0.5], [0.66, 0.45, 0.5], [0.36, 0.62, 0.5], [0.7, 0.5, 0.67]], 5.6 * cube
        ),
    }
    rng = np.random.default_rng(0)
    found = {}
    for name, crystal in ideal.items():
        strain = np.eye(3) + rng.normal(scale=0.01, size=(3, 3))
        moved = crystal.positions + rng.normal(scale=0.03, size=crystal.positions.shape)
        found[name] = Structure(crystal.numbers, moved @ strain, crystal.cell @ strain)
    return found


def supercell(crystal: Structure, n: tuple[int, int, int]) -> Structure:
    """Return n copies of a crystal along its cell vectors."""
    corners = np.array(list(np.ndindex(*n)))
    positions = (corners @ crystal.cell)[:, None] + crystal.positions
    numbers = np.tile(crystal.numbers, len(corners))
    return Structure(numbers, positions.reshape(-1, 3), crystal.cell * np.array(n)[:, None])


@app.command()
def beside(
    crystals: Annotated[
        list[str] | None, typer.Argument(help="Names out of those made here, or files; by default all that are made.")
    ] = None,
    command: Annotated[str, typer.Option(help="How ABACUS is called.")] = "abacus",
    kspacing: Annotated[float, typer.Option(help="1/Bohr.")] = 0.2,
    scf_thr: Annotated[float, typer.Option(help="Of both.")] = 1e-6,
    species: Annotated[str, typer.Option(help="embedded, or a locked folder.")] = EMBEDDED,
    species_lock: Annotated[str | None, typer.Option(help="Its lock, where it lies elsewhere.")] = None,
) -> None:
    """Print CPU seconds of ABACUS and of the embedded engine on the same crystals and files, one after the other.

    H0 is ABACUS's own task for it, SCF its SCF alone; reading its files is not counted. Ours are made
    within this process, tables of the species in memory, the SCF with its H0. Differences are over every
    element of every block, in Ry (S: 1).
    """
    recipe = {"kspacing_inv_bohr": kspacing, "scf_thr": scf_thr}
    source = SpeciesSettings(source=species, lock=species_lock)
    ours = LCAOEngine(LCAOSettings(**recipe), open_source(source, LCAOSettings()))
    theirs = AbacusEngine(AbacusSettings(command=command, **recipe), ours.species)
    made = small_crystals() | more_crystals()
    print("crystal  atoms   H0: ABACUS  lcao  ratio   SCF: ABACUS  lcao  ratio  steps   ", end="")
    print("S max mean       H0 max mean      H max mean")
    for name in crystals or made:
        crystal, id = made[name] if name in made else read_one(Path(name)), Path(name).stem
        timed(ours.h0, crystal, id)
        h0, first = (timed(ours.h0, crystal, id)[1], timed(ours.scf, crystal, id))
        with tempfile.TemporaryDirectory() as folder:
            spent = [children_s()]
            theirs.h0(crystal, id=id, folder=Path(folder))
            spent.append(children_s())
            second = theirs.scf(crystal, id=id, folder=Path(folder))
            spent.append(children_s())
        a, b = spent[1] - spent[0], spent[2] - spent[1]
        errors = "  ".join(error(first[0], second, o) for o in ("overlap", "h0", "hamiltonian"))
        times = f"{a:10.1f} {h0:5.2f} {a / h0:6.1f}  {b:11.1f} {first[1]:5.1f} {b / first[1]:6.1f}"
        steps = "/".join(str(r.system.meta[0].scf_steps) for r in (second, first[0]))
        print(f"{id:8s} {len(crystal):5d}   {times}  {steps:>5s}   {errors}", flush=True)


def read_one(path: Path) -> Structure:
    """Return the crystal of a file."""
    ((_, crystal),) = load_structures([path])
    if not isinstance(crystal, Structure):
        raise crystal
    return crystal


def children_s() -> float:
    """Return the CPU seconds of the processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _h0_cost(device: str, n: tuple[int, int, int]) -> tuple[int, float, float, float]:
    """Return atoms, CPU and wall seconds, and peak MB of a process of its own."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    made = LCAOEngine(LCAOSettings(device=device, max_memory_gb=64.0))
    crystal = small_crystals()[SUPERCELL]
    timed(made.h0, crystal, "first")  # tables of the species
    cell = supercell(crystal, n)
    _, cpu, wall = timed(made.h0, cell, "x".join(map(str, n)))
    return len(cell), cpu, wall, peak_mb()


@app.command()
def supercells(
    device: Device = "cpu",
    plot: Annotated[Path | None, typer.Option(help="File of a plot (.png, .svg).")] = None,
) -> None:
    """Print time and memory of H0 of growing supercells of GaAs, each in a process of its own."""
    found = []
    print("atoms  H0 cpu   wall  cpu/atom  peak MB")
    for n in SIZES:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            atoms, cpu, wall, mb = pool.apply(_h0_cost, (device, n))
        found.append((atoms, cpu, mb))
        print(f"{atoms:5d}  {cpu:6.2f} {wall:6.2f}  {cpu / atoms:8.3f}  {mb:7.0f}", flush=True)
    if plot:
        _plot(np.array(found), plot)


def _plot(found: np.ndarray, path: Path) -> None:
    """Draw seconds and memory against atoms, each beside the line that is linear in atoms."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    atoms, cpu, mb = found.T
    time_axes.loglog(atoms, cpu, "o-", color="#0072b2", label="H0 and S")
    time_axes.loglog(atoms, atoms * cpu[-1] / atoms[-1], "--", color="0.5", label="linear in atoms")
    time_axes.set(xlabel="atoms", ylabel="CPU seconds, one thread", title="Time")
    memory_axes.plot(atoms, mb, "o-", color="#d55e00", label="peak of the process")
    memory_axes.axhline(mb[0], ls="--", color="0.5", label="of which program and tables")
    memory_axes.set(xlabel="atoms", ylabel="MB", title="Memory", ylim=(0, None))
    for axes in (time_axes, memory_axes):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def _start(settings: LCAOSettings, ready) -> None:
    """Make the engine of a worker: tables of all species are there, and the device knows its programs."""
    global _engine  # noqa: PLW0603 - one per process
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    _engine = LCAOEngine(settings)
    for name, structure in small_crystals().items():
        timed(_engine.h0, structure, name)
    timed(_engine.scf, structure, name)
    ready.wait(_LONGEST_START_S)


def _scf(job: tuple[str, Structure]) -> tuple[int, float]:
    result, cpu, _ = timed(_engine.scf, job[1], job[0])
    return result.system.meta[0].scf_steps, cpu


@app.command()
def throughput(
    device: Device = "cpu",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    repeat: Annotated[int, typer.Option(min=1, help="How often each crystal is computed.")] = 1,
    kspacing: Annotated[float, typer.Option(help="1/Bohr.")] = 0.2,
) -> None:
    """Print how many small crystals an hour are brought to self-consistency."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers + 1)
    settings = LCAOSettings(kspacing_inv_bohr=kspacing, device=device)
    jobs = list(small_crystals().items()) * repeat
    with context.Pool(workers, _start, (settings, ready)) as pool:
        ready.wait(_LONGEST_START_S)
        start = time.perf_counter()
        done = list(pool.imap_unordered(_scf, jobs))
        wall = time.perf_counter() - start
    steps, cpu = (sum(column) for column in zip(*done, strict=True))
    where = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    print(f"{len(jobs)} SCF of 2 atoms, {steps / len(jobs):.1f} steps each, {workers} processes, {where}")
    print(f"{3600 * len(jobs) / wall:.0f} structures per hour; {cpu / len(jobs):.2f} s CPU each, {wall:.1f} s in all")


def tile_work(made: LCAOEngine, crystal: Structure) -> tuple[float, float]:
    """Return the flops of the products of one call of the grid integration, and the share that is in vain.

    A diagonal tile is computed in full, but of two images' blocks only the one above the diagonal is used.
    """
    done = vain = 0
    for work in made._workspace(crystal, id="tiles", n_k=1).integrator._work:
        n_boxes, n_columns, n_points = work.shape
        for tile in work.tiles:
            n_rows, n_orb = tile.rows.stop - tile.rows.start, tile.parts[0].shape[1]
            done += 2 * n_boxes * n_points * n_rows * (n_columns - tile.rows.start)
            vain += 2 * n_boxes * n_points * n_rows * (n_rows - n_orb) // 2
    return done, vain / done


@app.command()
def dominates(
    crystals: Annotated[list[str], typer.Option("--crystal", help="Names out of those of `throughput`.")] = [  # noqa: B006
        "GaAs",
        "PbTe",
    ],
    kspacing: Annotated[float, typer.Option(help="1/Bohr.")] = 0.2,
) -> None:
    """Print what the wall time of an SCF goes to, and how far it is from the machine's products and eigenproblems.

    All times are the quickest of several; the profiler's own work is in its times and shares.
    """
    made = LCAOEngine(LCAOSettings(kspacing_inv_bohr=kspacing))
    for name in crystals:
        crystal = small_crystals()[name]
        alone = min(timed(made.scf, crystal, name)[2] for _ in range(4))
        full = {"double": tile_speed(torch.float64, "cpu"), "float": tile_speed(torch.float32, "cpu")}
        wall, profiler = min((_profiled(made, crystal, name) for _ in range(3)), key=lambda found: found[0])
        print(f"{name}: {alone:.2f} s; profiled {wall:.2f} s, of which")
        kinds = _shares(profiler, wall)
        least = kinds["eigenproblems"]
        for kind, (took, flops) in _products(profiler).items():
            speed = full.get(kind)
            least += flops / speed / 1e9 if speed else took
            beside = f"; the machine does {speed:.0f} on a tile" if speed else ""
            print(f"  products of {kind}: {took / wall:.0%}, {flops / took / 1e9:.0f} GF/s{beside}")
        done, vain = tile_work(made, crystal)
        print(
            f"  one call of the grid integration: {done / 1e9:.1f} GF, {vain:.0%} of them in halves of diagonal tiles"
        )
        print(f"  products at the machine's full speed and eigenproblems alone: {least / alone:.0%} of {alone:.2f} s")


def _profiled(made: LCAOEngine, crystal: Structure, name: str) -> tuple[float, torch.profiler.profile]:
    """Return the wall seconds of an SCF, and where they went."""
    with torch.profiler.profile(with_flops=True, record_shapes=True) as profiler:
        _, _, wall = timed(made.scf, crystal, name)
    return wall, profiler


def _shares(profiler: torch.profiler.profile, wall: float) -> dict[str, float]:
    """Print the share of each kind of operations; return their seconds."""
    spent = {e.key: e.self_cpu_time_total / 1e6 for e in profiler.key_averages()}
    found = {kind: sum(spent.pop(o, 0.0) for o in operations) for kind, operations in KINDS.items()}
    found["other operations of torch"] = sum(spent.values())
    found["numpy, scipy, Python"] = wall - sum(found.values())
    for kind, took in found.items():
        print(f"  {took / wall:4.0%} {kind}")
    return found


def _products(profiler: torch.profiler.profile) -> dict[str, tuple[float, float]]:
    """Return seconds and flops of matrix products by the type of their numbers."""
    found = defaultdict(lambda: np.zeros(2))
    for event in profiler.profiler.kineto_results.events():
        if event.name() in KINDS["products"]:
            kind = event.dtypes()[0]
            found[kind] += event.duration_ns() / 1e9, event.flops() * (4 if "complex" in kind else 1)
    return {kind: tuple(both) for kind, both in found.items()}


def seconds(call, device: str, repeats: int) -> float:
    """Return the wall seconds of a call, the device's queue emptied before and after."""
    call()
    for _ in range(2):
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def tile_speed(dtype: torch.dtype, device: str) -> float:
    """Return the speed of a product of the shape of a tile, GF/s."""
    boxes, rows, columns, points = (1, 96, 400, 500) if device == "cpu" else (32, 512, 400, 1000)
    a, b = (torch.rand(boxes, n, points, dtype=dtype, device=device) for n in (rows, columns))
    quickest = min(seconds(lambda: a @ b.mT, device, 20) for _ in range(10))  # other programs slow down some
    return 2 * a.numel() * columns / quickest / 1e9


@app.command()
def limit(device: Device = "cpu") -> None:
    """Print the speed of the matrix products and eigenproblems that the engine is made of."""
    for dtype in (torch.float64, torch.float32):
        print(f"products of a tile, {dtype}: {tile_speed(dtype, device):.0f} GF/s")
    for n in (26, 52, 104, 208, 416):
        h = torch.rand(max(1, 2**17 // n**2), n, n, dtype=torch.complex128, device=device)
        h = h + h.mH
        each = seconds(lambda h=h: torch.linalg.eigh(h), device, 2) / len(h)
        print(f"eigenproblem of {n} spin orbitals, {len(h)} at once: {each * 1e3:.2f} ms each")


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    app()

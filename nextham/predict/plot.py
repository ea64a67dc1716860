"""Bands of a predicted Hamiltonian, and what a model does, as figures."""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import LCAOSystem, SpinLayout
from nextham.exceptions import InputError
from nextham.files import whole
from nextham.physics.bands import KMesh, band_path, eigenproblem, fermi_level, gap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nextham.predict.explain import Explanation

FORMATS: Final = (".html", ".png", ".svg")
_FIGURES: Final = (".png", ".svg", ".pdf")
_WINDOW_EV: Final = (-12.0, 8.0)  # about the highest filled level
_MESH_INV_ANG: Final = 0.4  # largest step of the mesh for the Fermi level
_COPIES: Final = 8  # of H(k) that solving it takes
_GIB: Final = 2**30


def bands_file(path: Path, id: str, *, alone: bool) -> Path:
    """Return the file of one structure's bands: the path itself, or with the id in its name.

    >>> bands_file(Path("bands.svg"), "GaAs", alone=False).name
    'bands-GaAs.svg'
    """
    return path if alone else path.with_name(f"{path.stem}-{id}{path.suffix}")


def check_bands(path: Path) -> None:
    """Raise InputError unless the name tells a format."""
    if path.suffix not in FORMATS:
        raise InputError(f"bands cannot be drawn to {path}; call it {', '.join(f'*{suffix}' for suffix in FORMATS)}")


def bands_memory_gb(system: LCAOSystem) -> float:
    """Return the memory that one k point takes."""
    return float(_COPIES * 16 * (2 * int(system.n_orb.sum())) ** 2 / _GIB)


def plot_bands(system: LCAOSystem, path: Path, *, max_memory_gb: float | None = None) -> None:
    """Draw the bands of one structure's Hamiltonian, and of H0 in grey where it is known, along the standard path.

    Energies count from the highest filled level of each where the number of electrons is known. Levels come
    from dense matrices: the cost grows with the third power of the orbitals.

    Raises:
        InputError: if a k point does not fit into memory.
        WriteError: if the file cannot be written.
    """
    needed = bands_memory_gb(system)
    if max_memory_gb is not None and needed > max_memory_gb:
        raise InputError(
            f"{system.ids[0]}: bands of {2 * int(system.n_orb.sum())} spin orbitals need about {needed:.2g} GB, but "
            f"max_memory_gb is {max_memory_gb:g}: raise it (--max-memory-gb), or draw a smaller cell"
        )
    figure = _drawn(system)
    with whole(path) as part:
        if path.suffix == ".html":
            part.write_text(_page(figure, system.ids[0]))
        else:
            figure.savefig(part, format=path.suffix[1:], dpi=150)


def plot_explanation(found: Explanation, path: Path) -> None:
    """Draw attention by distance, the size of the correction by distance, and errors by the size of H - H0.

    Raises:
        InputError: if the name tells no format.
        WriteError: if the file cannot be written.
    """
    from matplotlib.figure import Figure

    if path.suffix not in _FIGURES:
        raise InputError(f"a figure cannot be written to {path}; call it {', '.join(f'*{s}' for s in _FIGURES)}")
    breakdowns = [name for name in ("distance", "size") if name in found.sums]
    figure = Figure(figsize=(4 + 4 * len(breakdowns), 3.6), layout="constrained")
    axes = figure.subplots(1, 1 + len(breakdowns))
    attention = found.attention()
    n_blocks = len(found.heard)
    for k in range(n_blocks):
        place = np.arange(len(attention)) + 0.8 * (k + 0.5) / n_blocks - 0.4
        axes[0].bar(place, [100 * shares[k] for shares in attention.values()], 0.8 / n_blocks, label=f"block {k + 1}")
    axes[0].set_xticks(range(len(attention)), list(attention), rotation=45, ha="right")
    axes[0].set(title="Attention by distance", ylabel="% of what an atom hears")
    titles = {"distance": "Correction by distance", "size": "Error by the size of H - H0"}
    lines = {
        "size_mev": ("0.65", "correction"),
        "h0_error_mev": ("#d55e00", "error of H0"),
        "error_mev": ("#0072b2", "error"),
    }
    for one, name in zip(axes[1:], breakdowns, strict=True):
        rows = found.rows(name)
        for key, (color, label) in lines.items():
            means = [row.get(key) or np.nan for row in rows.values()]
            if not np.isnan(means).all():
                one.semilogy(range(len(rows)), means, "o-", color=color, label=label)
        one.set_xticks(range(len(rows)), list(rows), rotation=45, ha="right")
        one.set(title=titles[name], ylabel="mean over elements (meV)")
    for one in axes:
        one.legend(frameon=False)
    with whole(path) as part:
        figure.savefig(part, format=path.suffix[1:], dpi=150)


def _drawn(system: LCAOSystem) -> Figure:
    from matplotlib.figure import Figure

    path = band_path(system.structure())
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    title, known = system.structure().formula, system.meta[0].n_electrons is not None
    for operator, color, label in (("h0", "0.65", "H0"), ("hamiltonian", "#0072b2", "NextHAM")):
        if operator not in system.operators:
            continue
        levels = eigenproblem(system, path.k, operator=operator).energies
        zero, width = _reference(system, operator, levels)
        axes.plot(path.x, levels - zero, lw=0.9, color=color)
        axes.plot([], [], color=color, label=label)
        if known and operator == "hamiltonian":
            title += f", gap {width:.2f} eV" if width else ", no gap"
    axes.set_title(title)
    for x, _ in path.ticks:
        axes.axvline(x, color="0.85", lw=0.8, zorder=0)
    axes.set_xticks([x for x, _ in path.ticks], [name for _, name in path.ticks])
    axes.set_xlim(path.x[0], path.x[-1])
    axes.set_ylabel("energy above the highest filled level (eV)" if known else "energy (eV)")
    if known:
        axes.set_ylim(*_WINDOW_EV)
    axes.legend(frameon=False, loc="upper right")
    return figure


def _reference(system: LCAOSystem, operator: str, on_path: NDArray[np.float64]) -> tuple[float, float]:
    """Return the highest filled level and the gap (eV) of a mesh and the path; zeros where electrons are unknown."""
    electrons = system.meta[0].n_electrons
    if electrons is None:
        return 0.0, 0.0
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(system.cells[0]), axis=0)
    steps = np.maximum(1, np.ceil(reciprocal / _MESH_INV_ANG).astype(int))
    even = SpinLayout.of(system.operators[operator]) is not SpinLayout.FULL
    mesh = KMesh.of((int(steps[0]), int(steps[1]), int(steps[2])), time_reversal=even)
    on_mesh = eigenproblem(system, mesh.k, operator=operator).energies
    levels = np.concatenate([on_mesh, on_path])
    width = gap(levels, electrons)
    if width:
        return float(np.nanmax(levels[:, round(electrons) - 1])), width
    return fermi_level(on_mesh, electrons), 0.0


def _page(figure: Figure, id: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    text = buffer.getvalue()
    drawing = text[text.index("<svg") :]
    name = html.escape(f"Bands of {id}")
    style = "body{font-family:sans-serif;max-width:60rem;margin:2rem auto}svg{width:100%;height:auto}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title><style>{style}</style>'
        f"</head>\n<body><h1>{name}</h1>\n{drawing}</body></html>\n"
    )

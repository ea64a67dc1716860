"""Systems to a folder that pyatb runs in: ABACUS's matrix files, and its Input for the bands along the standard path.

pyatb multiplies Ry by 13.605698066 eV, so that its levels are 3.6e-7 times their size above ours.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import numpy as np

from nextham.core import LCAOSystem
from nextham.dft.abacus.csr import CsrLayout
from nextham.dft.abacus.export import FILE_NAMES, export_abacus
from nextham.exceptions import InputError
from nextham.physics.bands import band_path

RYDBERG_EV: Final = 13.605698066  # pyatb/constants.py
_POINTS: Final = 20  # between two high-symmetry points


def export_pyatb(system: LCAOSystem, folder: Path, *, operators: Collection[str] = ()) -> list[Path]:
    """Write S, H (and H0 if it is there), STRU and Input of one structure; return the files.

    Raises:
        InputError: if the system lacks S or H.
    """
    wanted = tuple(operators) or tuple(system.operators)
    energy = "hamiltonian" if "hamiltonian" in wanted else "h0"
    if not {"overlap", energy} <= set(wanted):
        raise InputError(f"{system.ids[0]}: pyatb needs S and an H, not {', '.join(wanted)} alone")
    written = export_abacus(system, folder, operators=wanted, layout=CsrLayout.STEP)
    (folder / "Input").write_text(_input(system, FILE_NAMES[CsrLayout.STEP][energy]))
    return [*written, folder / "Input"]


def _input(system: LCAOSystem, matrix: str) -> str:
    meta = system.meta[0]
    known = meta.fermi_energy_ev is not None
    found = not known and meta.n_electrons is not None
    fermi = "Auto" if found else f"{meta.fermi_energy_ev or 0.0:.8f}"
    lines = [
        "INPUT_PARAMETERS",
        "{",
        "    nspin 4",
        "    package ABACUS",
        f"    fermi_energy {fermi}" + ("" if known or found else "  # unknown"),
        "    fermi_energy_unit eV",
        f"    HR_route {matrix}",
        f"    SR_route {FILE_NAMES[CsrLayout.STEP]['overlap']}",
        "    HR_unit Ry",
        "    max_kpoint_num 8000",
        "}",
        "",
        "LATTICE",
        "{",
        "    lattice_constant 1.0",
        "    lattice_constant_unit Angstrom",
        "    lattice_vector",
        *(f"    {a:.12f} {b:.12f} {c:.12f}" for a, b, c in system.cells[0].tolist()),
        "}",
        "",
    ]
    if found and meta.n_electrons is not None:
        lines += ["FERMI_ENERGY", "{", f"    electron_num {round(meta.n_electrons)}", "}", ""]
    points, labels = _path(system)
    lines += ["BAND_STRUCTURE", "{", "    kpoint_mode line", f"    kpoint_num {len(points)}"]
    lines += [f"    kpoint_label {', '.join(labels)}", "    high_symmetry_kpoint", *points, "}", ""]
    return "\n".join(lines)


def _path(system: LCAOSystem) -> tuple[list[str], list[str]]:
    """High-symmetry points with the number of points to the next, and their labels."""
    path = band_path(system.structure(), spacing_inv_ang=0.2)
    points, labels = [], []
    for number, (x, label) in enumerate(path.ticks):
        here = np.flatnonzero(np.abs(path.x - x) < 1e-9)
        names = label.split("|")
        last = number == len(path.ticks) - 1
        for k, name in ((here[0], names[0]), (here[-1], names[-1])) if len(names) > 1 else ((here[0], label),):
            jump = len(names) > 1 and name == names[0]  # the path goes on elsewhere
            count = 1 if last or jump else _POINTS
            points.append("    " + " ".join(f"{c:.10f}" for c in path.k[k] + 0.0) + f" {count}")
            labels.append(name.replace("Γ", "G"))
    return points, labels

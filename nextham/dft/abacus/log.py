"""The log of a run (running_scf.log, running_get_hs.log) of ABACUS 3.8 to 3.11."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.dft.engine import Cause, RunError
from nextham.physics.bands import Levels
from nextham.units import ABACUS_RYDBERG_EV, RYDBERG_EV

_CONVERGED: Final = ("charge density convergence is achieved", "#SCF IS CONVERGED#")
_UNCONVERGED: Final = ("convergence has not been achieved", "!!SCF IS NOT CONVERGED!!")
_TO_CODATA: Final = RYDBERG_EV / ABACUS_RYDBERG_EV  # ABACUS printed eV with its own Rydberg
_TYPE_CHARS: Final = 2000  # what the log says of one atom type is shorter
_NUMBER: Final = r"([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)"


@dataclasses.dataclass(frozen=True)
class Echo:
    """Positions of STRU as ABACUS read and folded them, at least ten decimals."""

    positions: NDArray[np.float64]  # (n_atoms, 3)
    unit_bohr: float | None  # the lattice constant as printed, where they are Cartesian; None: fractional

    def fractional(self, cell_bohr: NDArray[np.float64], lat0_bohr: float) -> NDArray[np.float64]:
        """Return fractional positions in a cell (3, 3), with the lattice constant in full."""
        if self.unit_bohr is None:
            return self.positions
        out: NDArray[np.float64] = self.positions @ np.linalg.inv(cell_bohr / lat0_bohr)
        return out


@dataclasses.dataclass(frozen=True)
class RunLog:
    """What a log says; energies in eV (CODATA)."""

    version: str  # e.g. "v3.9.0"
    converged: bool | None  # None where no SCF ran to an end
    fermi_energy_ev: float | None
    total_energy_ev: float | None
    n_electrons: float | None
    drho: tuple[float, ...]  # density error of each SCF step
    step_energies_ev: tuple[float, ...]  # Kohn-Sham energy of each SCF step
    autoset_moments: bool  # ABACUS put moments on the atoms of its own accord
    wall_time_s: float | None
    k: NDArray[np.float64]  # (n_k, 3) fractional
    echo: Echo | None  # None where the log has no table of positions
    levels: Levels | None
    zetas: Mapping[str, Mapping[int, int]]  # atom label: number of shells of each l
    tail: str  # last lines, for the ledger

    @property
    def release(self) -> tuple[int, int] | None:
        """The first two numbers of the version."""
        numbers = re.match(r"v(\d+)\.(\d+)", self.version)
        return (int(numbers[1]), int(numbers[2])) if numbers else None

    @property
    def kmesh(self) -> tuple[int, int, int] | None:
        """Divisions of the k mesh, None where the k points are not a full mesh through Γ."""
        n = tuple(len(np.unique(np.round(self.k[:, axis] % 1.0, 6))) for axis in range(3))
        if not len(self.k) or np.prod(n) != len(self.k) or np.abs(self.k).sum(axis=1).min() > 1e-9:
            return None
        return (n[0], n[1], n[2])


def read_log(path: str | Path) -> RunLog:
    """Read the log of a run.

    Raises:
        RunError: if there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(Cause.MISSING_FILE, f"there is no {path}; run the job again and keep its log")
    return parse_log(path.read_text(errors="replace"))


def parse_log(text: str) -> RunLog:
    """Return what the text of a log says."""
    version = re.search(r"ABACUS (v[\w.\-]+)", text)
    k_tables = _k_tables(text)
    levels = _levels(text, k_tables)
    energy = _last(rf"FINAL_ETOT_IS\s+{_NUMBER}\s*eV", text)
    return RunLog(
        version=version[1] if version else "",
        converged=converged(text),
        fermi_energy_ev=_ev(_fermi(text)),
        total_energy_ev=_ev(energy),
        n_electrons=_electrons(text),
        drho=density_errors(text),
        step_energies_ev=tuple(x * _TO_CODATA for x in _all(rf"E_KohnSham +\S+ +{_NUMBER}", text)),
        autoset_moments="Autoset magnetism for this atom" in text,
        wall_time_s=_wall_time(text),
        k=k_tables[-1] if k_tables else np.zeros((0, 3)),
        echo=_echo(text),
        levels=levels,
        zetas=_zetas(text),
        tail="\n".join(text.splitlines()[-20:]),
    )


def converged(text: str) -> bool | None:
    """Whether a log says that its SCF converged; None where no SCF ran to an end."""
    if any(mark in text for mark in _UNCONVERGED):
        return False
    return True if any(mark in text for mark in _CONVERGED) else None


def density_errors(text: str) -> tuple[float, ...]:
    """Return the density error of each SCF step in a log."""
    return _all(rf"Density error is {_NUMBER}", text) or _all(rf"Electron density deviation {_NUMBER}", text)


def _fermi(text: str) -> float | None:
    """Last row ``E_Fermi  Ry  eV`` of the energy tables, else the line ``EFERMI = x eV``."""
    found = _last(rf"E_Fermi +\S+ +{_NUMBER}", text)
    return found if found is not None else _last(rf"EFERMI\s*=\s*{_NUMBER}\s*eV", text)


def _electrons(text: str) -> float | None:
    return _last(rf"(?:AUTOSET|Autoset the) number of electrons:?\s*=\s*{_NUMBER}", text)


def _wall_time(text: str) -> float | None:
    found = re.findall(r"Total\s+Time\s*:\s*(\d+)\s*h\s*(\d+)\s*mins?\s*(\d+)\s*sec", text)
    if not found:
        return None
    hours, minutes, seconds = (int(x) for x in found[-1])
    return float(3600 * hours + 60 * minutes + seconds)


def _k_tables(text: str) -> list[NDArray[np.float64]]:
    """All tables of fractional k points, (n_k, 3) each."""
    pattern = r"K-POINTS DIRECT COORDINATES\s*\n[^\n]*DIRECT_X[^\n]*\n((?:\s*\d+(?:\s+[-\d.eE+]+){4,5}[^\n]*\n)+)"
    return [_table(m[1])[:, 1:4] for m in re.finditer(pattern, text)]


def _zetas(text: str) -> dict[str, dict[int, int]]:
    found = {}
    for part in (after[:_TYPE_CHARS] for after in text.split("READING ATOM TYPE")[1:]):
        label = re.search(r"[Aa]tom label\s*=\s*(\S+)", part)
        shells = re.findall(r"^ *L=(\d+), number of zeta\s*=\s*(\d+)", part, re.MULTILINE)
        if label and shells:
            found[label[1]] = {int(l): int(n) for l, n in shells}
    return found


def _table(text: str) -> NDArray[Any]:
    rows = [line.split()[:5] for line in text.splitlines() if line.strip()]
    return np.array(rows, dtype=np.float64)


def _echo(text: str) -> Echo | None:
    """First table of positions, that of STRU; its rows begin with taud_Si1, tauc_Si1 or, in newer builds, with Si."""
    heading = r"^ *(?:DIRECT|CARTESIAN) COORDINATES *(?:\( *UNIT *= *(\S+) Bohr *\)\.?)? *\n[^\n]* x +y +z[^\n]*\n"
    table = re.search(heading + r"((?: *\S+(?: +-?\d[-+.\deE]*){3}[^\n]*\n)+)", text, re.MULTILINE)
    if not table:
        return None
    rows = [line.split()[1:4] for line in table[2].splitlines()]
    return Echo(np.array(rows, dtype=np.float64), float(table[1]) if table[1] else None)


def _levels(text: str, k_tables: list[NDArray[np.float64]]) -> Levels | None:
    """Energies under ``STATE ENERGY(eV) AND OCCUPATIONS``, with the table of k points of the same length."""
    at = text.rfind("STATE ENERGY(eV) AND OCCUPATIONS")
    if at < 0:
        return None
    parts = text[at:].split(" kpoint (Cartesian)")[1:]  # the rest of its line, a table, the start of the next's line
    bands = [part.partition("\n")[2].rpartition("\n")[0].partition("\n\n")[0] for part in parts]
    rows = [table.split() for table in bands]  # number, energy and occupation of each band
    tables = [k for k in k_tables if len(k) == len(rows)]
    if not rows or not tables or len({len(r) for r in rows}) != 1 or len(rows[0]) % 3:
        return None
    energies = np.array([[float(word) for word in row[1::3]] for row in rows])
    return Levels(tables[-1], energies * _TO_CODATA)


def parse_levels(text: str, lattice: NDArray[np.float64]) -> Levels | None:
    """Return the energies in eig_occ.txt (3.11) or eig.txt (before it): sixteen digits, where the log has six.

    Args:
        text: of the file; of several ionic steps the last counts.
        lattice: (3, 3) rows in units of the lattice constant, since k is printed in 2π over it: k_i = k·a_i.
    """
    text = text[text.rfind("Electronic state energy (eV)") :]
    parts = re.split(r"^ *spin=\d+ k-point=\S+ Cartesian=(.*?)\(.*\n", text, flags=re.MULTILINE)
    k = [[float(x) for x in part.split()] for part in parts[1::2]]
    energies = [[float(line.split()[1]) for line in part.splitlines() if line.strip()] for part in parts[2::2]]
    if not k or len({len(e) for e in energies}) != 1:
        return None
    return Levels(np.array(k) @ lattice.T, np.array(energies) * _TO_CODATA)


def _last(pattern: str, text: str) -> float | None:
    found = re.findall(pattern, text)
    return float(found[-1]) if found else None


def _all(pattern: str, text: str) -> tuple[float, ...]:
    return tuple(float(x) for x in re.findall(pattern, text))


def _ev(value: float | None) -> float | None:
    return None if value is None else value * _TO_CODATA

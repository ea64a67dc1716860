"""Finished ABACUS runs to systems."""

from __future__ import annotations

import dataclasses
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, SpinLayout
from nextham.dft.abacus.assemble import read_operator
from nextham.dft.abacus.consistency import (
    check_converged,
    check_echo,
    check_is_h0,
    check_reach,
    check_same,
    check_support,
)
from nextham.dft.abacus.folder import RunFolder
from nextham.dft.abacus.provenance import provenance
from nextham.dft.abacus.shells import run_basis
from nextham.dft.directed import Atoms
from nextham.dft.engine import Cause, RunError, RunResult
from nextham.exceptions import InputError
from nextham.physics.spin import narrowed, narrowest
from nextham.units import RYDBERG_EV

H0_FOLDER: Final = "abacus_geths"
SCF_FOLDER: Final = "abacus_scf"
OVERLAP_NOISE: Final = 5e-10  # of spin components and imaginary parts of S, which has none; printed digits
_ARCHIVES: Final = (".tar", ".tar.xz", ".tar.gz", ".tgz", ".tar.bz2")


def read_run(
    case: str | Path | None = None,
    *,
    id: str = "",
    h0_dir: str | Path | None = None,
    scf_dir: str | Path | None = None,
) -> RunResult:
    """Read S, H0 and H of one structure.

    Args:
        case: a folder with abacus_geths/ and abacus_scf/ (or one of them), or a tar archive of such a folder.
        id: structure id; by default the name of the case without ``case-``.
        h0_dir: run folder of H0 instead of a case.
        scf_dir: run folder of the SCF instead of a case.

    Raises:
        RunError: if the runs are incomplete, damaged, unconverged or do not belong together.
        InputError: if there is no such case.
    """
    if case is not None and (h0_dir or scf_dir):
        raise InputError("give a case folder, or the folders of H0 and SCF, not both")
    if case is None and not (h0_dir or scf_dir):
        raise InputError("give a case folder, or the folder of an H0 run, an SCF run or both")
    id = id or case_id(case or scf_dir or h0_dir or "")
    try:
        with _opened(case) as folder:
            if folder is not None:
                h0_dir, scf_dir = _runs_of(folder)
            h0, scf = (RunFolder(Path(path)) if path else None for path in (h0_dir, scf_dir))
            return _Reader(h0, scf, id).result()
    except RunError as error:
        raise RunError(error.cause, f"{id}: {error}", log_tail=error.log_tail) from error


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """What read_run takes, to be read later or elsewhere."""

    id: str
    case: Path | None = None
    h0_dir: Path | None = None
    scf_dir: Path | None = None

    @property
    def path(self) -> Path | None:
        """Where it lies, for people."""
        return self.case or self.scf_dir or self.h0_dir

    def read(self) -> RunResult:
        """Read it."""
        return read_run(self.case, id=self.id, h0_dir=self.h0_dir, scf_dir=self.scf_dir)


def case_id(path: str | Path) -> str:
    """Return the structure id that a case folder, its archive or a run folder in it is named after.

    >>> case_id("runs/case-GaAs-zb-1.tar.xz"), case_id("runs/case-GaAs-zb-1/abacus_scf")
    ('GaAs-zb-1', 'GaAs-zb-1')
    """
    place = Path(path).resolve()
    name = place.parent.name if place.name in (H0_FOLDER, SCF_FOLDER) else place.name
    for ending in _ARCHIVES:
        name = name.removesuffix(ending)
    return name.removeprefix("case-")


@contextmanager
def _opened(case: str | Path | None) -> Iterator[Path | None]:
    """Yield the case as a folder; an archive is unpacked, confined to a temporary folder."""
    if case is None or Path(case).is_dir():
        yield Path(case) if case is not None else None
        return
    path = Path(case)
    if not path.is_file() or not path.name.endswith(_ARCHIVES):
        raise InputError(f"{path} is neither a run folder nor a tar archive of one")
    with tempfile.TemporaryDirectory(prefix="nextham-") as temporary:
        try:
            with tarfile.open(path) as archive:
                archive.extractall(temporary, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise RunError(Cause.TRUNCATED, f"{path} cannot be unpacked: {error}; make the archive again") from None
        yield Path(temporary)


def _runs_of(folder: Path) -> tuple[Path | None, Path | None]:
    """Return the H0 and SCF folders of a case folder, or of the one case folder in it."""
    inner = [p for p in sorted(folder.iterdir()) if p.is_dir()]
    for place in (folder, *(inner if len(inner) == 1 else ())):
        h0, scf = place / H0_FOLDER, place / SCF_FOLDER
        if h0.is_dir() or scf.is_dir():
            return (h0 if h0.is_dir() else None), (scf if scf.is_dir() else None)
    raise RunError(
        Cause.MISSING_FILE,
        f"{folder} has neither {H0_FOLDER}/ nor {SCF_FOLDER}/; name other folders with --h0-dir and --scf-dir",
    )


@dataclasses.dataclass(frozen=True)
class _Reader:
    """The runs of one structure."""

    h0: RunFolder | None
    scf: RunFolder | None
    id: str

    @property
    def runs(self) -> list[RunFolder]:
        return [run for run in (self.scf, self.h0) if run is not None]

    def result(self) -> RunResult:
        for run in self.runs:
            check_echo(run)
        if self.h0 and self.scf:
            check_same(self.h0, self.scf)
        if self.h0:
            check_is_h0(self.h0)
        if self.scf:
            check_converged(self.scf)
        structure = self.runs[0].stru.structure
        atoms = Atoms(run_basis(self.runs).restricted(structure.numbers.tolist()), structure.numbers)
        matrices = self._matrices(atoms)
        pairs = matrices["overlap"].pairs
        for matrix in matrices.values():
            pairs = pairs.union(matrix.pairs)
        values = {name: _narrowed(name, matrix.on(pairs), self.runs[0]) for name, matrix in matrices.items()}
        odd = {name: _odd_ev(values[name]) for name in values if name != "overlap"}
        meta = provenance(self.id, self.h0, self.scf, odd)
        system = LCAOSystem.single(structure, atoms.basis, pairs, values, meta)
        check_reach(system, meta.orbital_cutoff_ang)
        return RunResult(system, self.scf.levels if self.scf else None)

    def _matrices(self, atoms: Atoms) -> dict[str, BlockMatrix]:
        """Return the operators, each on its own pairs, in ABACUS's units."""
        with_s = next((run for run in self.runs if run.matrix("S")), self.runs[0])
        out = {"overlap": read_operator(with_s.required_matrix("S"), atoms, spinor=with_s.spinor)}
        if self.h0:
            out["h0"] = _hamiltonian(self.h0, atoms)
        if self.scf:
            out["hamiltonian"] = _hamiltonian(self.scf, atoms)
        for name, matrix in out.items():
            check_support(out["overlap"], matrix, name, self.runs[0])
        return out


def _hamiltonian(run: RunFolder, atoms: Atoms) -> BlockMatrix:
    """H of a run in Ry; two collinear files make h_0 = (H↑ + H↓)/2 and h_z = (H↑ - H↓)/2."""
    first = read_operator(run.required_matrix("H"), atoms, spinor=run.spinor)
    if run.n_spin != 2:
        return first
    path = run.matrix("H", spin=1)
    if path is None:
        raise RunError(Cause.MISSING_FILE, f"there is no H(R) of the second spin in {run.out}; run with out_mat_hs2 1")
    second = read_operator(path, atoms, spinor=False)
    pairs = first.pairs.union(second.pairs)
    up, down = first.on(pairs), second.on(pairs)
    values = np.zeros((4, up.values.shape[1]), dtype=np.complex128)
    values[0], values[3] = (up.values[0] + down.values[0]) / 2, (up.values[0] - down.values[0]) / 2
    return up.with_values(values)


def _odd_ev(values: NDArray[Any]) -> float:
    """Largest part that is odd under time reversal."""
    return narrowed(values, SpinLayout.TIME_REVERSAL)[1]


def _narrowed(name: str, matrix: BlockMatrix, run: RunFolder) -> NDArray[Any]:
    """Values in the narrowest exact spin layout, in eV."""
    if name != "overlap":
        return narrowest(matrix.values, 0.0)[0] * RYDBERG_EV
    kept, _ = narrowest(matrix.values, OVERLAP_NOISE)
    if SpinLayout.of(kept) is not SpinLayout.SCALAR:
        raise RunError(Cause.INCONSISTENT, f"S(R) in {run.out} is not real and equal for both spins; run the job again")
    return kept

"""Finished ABACUS runs to systems."""

from __future__ import annotations

import dataclasses
import hashlib
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, Provenance, SpinLayout, symbol
from nextham.dft.abacus.assemble import Atoms, read_operator
from nextham.dft.abacus.folder import RunFolder
from nextham.dft.abacus.geometry import check_geometry
from nextham.dft.abacus.shells import cutoffs_ang, run_basis
from nextham.dft.abacus.stru import element_of
from nextham.dft.engine import Cause, RunError, RunResult
from nextham.exceptions import InputError
from nextham.physics.spin import narrowest
from nextham.units import RYDBERG_EV

H0_FOLDER: Final = "abacus_geths"
SCF_FOLDER: Final = "abacus_scf"
H0_DEFINITION: Final = "atomic-density-step0"  # H of the superposed atomic densities, before any self-consistency
SPIN_TOLERANCE_RY: Final = 5e-10  # half the last printed digit of small elements: what a narrower spin layout may drop
_ARCHIVES: Final = (".tar", ".tar.xz", ".tar.gz", ".tgz", ".tar.bz2")
_SHARED_KEYS: Final = ("nspin", "lspinorb", "noncolin", "ecutwfc", "basis_type", "dft_functional")
_POSITION_TOLERANCE: Final = 1e-9  # the log echoes ten decimals


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
    with _opened(case) as folder:
        if folder is not None:
            h0_dir, scf_dir = _runs_of(folder)
        try:
            return _Reader(
                RunFolder(Path(h0_dir)) if h0_dir else None, RunFolder(Path(scf_dir)) if scf_dir else None, id
            ).result()
        except RunError as error:
            raise RunError(error.cause, f"{id}: {error}", log_tail=error.log_tail) from error


def case_id(path: str | Path) -> str:
    """Return the structure id that a folder or archive is named after.

    >>> case_id("runs/case-GaAs-zb-1.tar.xz")
    'GaAs-zb-1'
    """
    name = Path(path).resolve().name
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
            _check_echo(run)
        if self.h0 and self.scf:
            _check_same(self.h0, self.scf)
        if self.h0:
            _check_is_h0(self.h0)
        if self.scf:
            _check_converged(self.scf)
        structure = self.runs[0].stru.structure
        atoms = Atoms(run_basis(self.runs).restricted(structure.numbers.tolist()), structure.numbers)
        matrices = self._matrices(atoms)
        pairs = matrices["overlap"].pairs
        for matrix in matrices.values():
            pairs = pairs.union(matrix.pairs)
        values = {name: _narrowed(name, matrix.on(pairs), self.runs[0]) for name, matrix in matrices.items()}
        meta = self._provenance()
        system = LCAOSystem.single(structure, atoms.basis, pairs, values, meta)
        check_geometry(system, meta.orbital_cutoff_ang)
        return RunResult(system, self.scf.log.levels if self.scf else None)

    def _matrices(self, atoms: Atoms) -> dict[str, BlockMatrix]:
        """Return the operators, each on its own pairs, in ABACUS's units."""
        with_s = [run for run in self.runs if run.matrix("S")] or self.runs
        out = {"overlap": read_operator(with_s[0].required_matrix("S"), atoms, spinor=_spinor(with_s[0]))}
        if self.h0:
            out["h0"] = _hamiltonian(self.h0, atoms)
        if self.scf:
            out["hamiltonian"] = _hamiltonian(self.scf, atoms)
        for name, matrix in out.items():
            _check_support(out["overlap"], matrix, name, self.runs[0])
        return out

    def _provenance(self) -> Provenance:
        run = self.runs[0]
        log, keys = run.log, run.parameters
        versions = list(dict.fromkeys(r.log.version.removeprefix("v") for r in self.runs if r.log.version))
        start = self.h0 or run
        digests = [r.sha256 for r in self.runs]
        sigma = _number(keys.get("smearing_sigma"))
        electrons = log.n_electrons if log.n_electrons is not None else _number(keys.get("nelec")) or None
        return Provenance(
            id=self.id,
            engine="abacus",
            engine_version=", ".join(versions),
            h0_definition=H0_DEFINITION if self.h0 else "",
            magnetism=_magnetism(start),
            fermi_energy_ev=log.fermi_energy_ev if self.scf else None,
            total_energy_ev=log.total_energy_ev if self.scf else None,
            n_electrons=electrons,
            ecutwfc_ry=_number(keys.get("ecutwfc")),
            kmesh=log.kmesh if self.scf else None,
            smearing=keys.get("smearing_method", ""),
            smearing_ev=None if sigma is None else sigma * RYDBERG_EV,
            converged=log.converged if self.scf else None,
            scf_steps=len(log.drho) if self.scf else None,
            scf_drho=log.drho[-1] if self.scf and log.drho else None,
            wall_time_s=sum(r.log.wall_time_s or 0.0 for r in self.runs) or None,
            input_sha256=digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest(),
            pseudopotentials=_files(run, "upf", "pseudo_dir"),
            orbitals=_files(run, "orb", "orbital_dir"),
            orbital_cutoff_ang=cutoffs_ang(run),
        )


def _spinor(run: RunFolder) -> bool:
    return _n_spin(run) == 4


def _n_spin(run: RunFolder) -> int:
    """nspin, which lspinorb and noncolin force to 4."""
    keys = run.parameters
    if any(keys.get(key, "0").lower() in ("1", "true", "t") for key in ("lspinorb", "noncolin")):
        return 4
    return int(keys.get("nspin", "1"))


def _hamiltonian(run: RunFolder, atoms: Atoms) -> BlockMatrix:
    """H of a run in Ry; two collinear files make h_0 = (H↑ + H↓)/2 and h_z = (H↑ - H↓)/2."""
    first = read_operator(run.required_matrix("H"), atoms, spinor=_spinor(run))
    if _n_spin(run) != 2:
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


def _narrowed(name: str, matrix: BlockMatrix, run: RunFolder) -> NDArray[Any]:
    """Values in the narrowest exact spin layout, in eV."""
    kept, _ = narrowest(matrix.values, SPIN_TOLERANCE_RY)
    if name != "overlap":
        return kept * RYDBERG_EV
    if SpinLayout.of(kept) is not SpinLayout.SCALAR:
        raise RunError(Cause.INCONSISTENT, f"S(R) in {run.out} is not real and equal for both spins; run the job again")
    return kept


def _check_support(overlap: BlockMatrix, matrix: BlockMatrix, name: str, run: RunFolder) -> None:
    """Check that an operator has a block wherever S has one that counts."""
    strong = np.maximum.reduceat(np.abs(overlap.values).max(axis=0), overlap.block_ptr[:-1]) > 1e-6
    lacking = np.flatnonzero(strong & (matrix.pairs.index_of(overlap.pairs) < 0))
    if len(lacking):
        i, j = overlap.pairs.ij[lacking[0]].tolist()
        R = tuple(overlap.pairs.R[lacking[0]].tolist())
        raise RunError(
            Cause.INCONSISTENT,
            f"the {name} of {run.path} has no block for the pair of atoms {i + 1} and {j + 1}, R = {R}, where S has one; the "
            "two matrices belong to different runs",
        )


def _check_echo(run: RunFolder) -> None:
    """Check our reading of STRU against the positions that ABACUS echoes in its log."""
    ours, echo = run.stru.fractional, run.log.fractional
    if not len(echo):
        return
    if len(echo) != len(ours):
        raise RunError(
            Cause.INCONSISTENT, f"STRU of {run.path} has {len(ours)} atoms, its log {len(echo)}; the STRU was changed"
        )
    gap = np.abs(ours - echo)
    if (gap > _POSITION_TOLERANCE).any():
        k = int(np.argmax(gap.max(axis=1)))
        raise RunError(
            Cause.INCONSISTENT,
            f"atom {k + 1} ({run.stru.labels[k]}) of STRU in {run.path} is at {_vector(ours[k])}, in its log at "
            f"{_vector(echo[k])} (fractional); the STRU was changed after the run",
        )


def _vector(x: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{c:.6f}" for c in x) + ")"


def _check_same(h0: RunFolder, scf: RunFolder) -> None:
    a, b = h0.stru, scf.stru
    same = (
        np.array_equal(a.numbers, b.numbers)
        and np.abs(a.cell_bohr - b.cell_bohr).max() < 1e-8
        and np.abs(a.fractional - b.fractional).max() < 1e-9
    )
    if not same:
        raise RunError(
            Cause.INCONSISTENT,
            f"the STRU files of {h0.path} and {scf.path} hold different crystals; H0 and H must be of the same one",
        )
    for label, species in a.species.items():
        if (species.orb, species.upf) != (b.species[label].orb, b.species[label].upf):
            raise RunError(
                Cause.INCONSISTENT,
                f"{h0.path} and {scf.path} use different pseudopotentials or orbitals for {label}; "
                "use the same for both",
            )
    for key in _SHARED_KEYS:
        one, two = h0.parameters.get(key), scf.parameters.get(key)
        if one is not None and two is not None and one.split()[0].lower() != two.split()[0].lower():
            raise RunError(
                Cause.INCONSISTENT, f"{key} is {one} in {h0.path} and {two} in {scf.path}; use the same for both"
            )


def _check_is_h0(run: RunFolder) -> None:
    """A run gives H0 if it never mixed a density: get_hs, or one single SCF step."""
    kind = run.parameters.get("calculation", "scf")
    if kind in ("get_hs", "get_h0"):
        return
    steps = run.parameters.get("scf_nmax", "100")
    if kind != "scf" or int(steps) != 1 or _n_spin(run) == 2:
        raise RunError(
            Cause.BAD_INPUT,
            f"{run.path} does not write H0 (calculation {kind}, scf_nmax {steps}, nspin {_n_spin(run)}); "
            "use calculation get_hs, or scf with scf_nmax 1 and nspin 1 or 4",
        )


def _check_converged(run: RunFolder) -> None:
    if run.log.converged:
        return
    drho = f" (density error {run.log.drho[-1]:.1e} after {len(run.log.drho)} steps)" if run.log.drho else ""
    raise RunError(
        Cause.UNCONVERGED,
        f"the SCF in {run.path} did not converge{drho}; use a smaller mixing_beta, more smearing or a larger scf_nmax",
        log_tail=run.log.tail,
    )


def _magnetism(run: RunFolder) -> str:
    """Tell what moments the density of a run starts from; with noncolin 0 only the z part of a moment enters."""
    if run.log.autoset_moments:
        return "autoset"
    moments = run.stru.moments
    if _n_spin(run) == 1:
        return "nonmagnetic"
    seen = moments if run.parameters.get("noncolin", "0") in ("1", "true") else moments[:, 2:]
    return "moments" if np.abs(seen).max() > 1e-5 else "nonmagnetic"


def _files(run: RunFolder, kind: str, key: str) -> Mapping[str, str]:
    """Name of each element's file, with its hash where the file is there."""
    out = {}
    for label, species in run.stru.species.items():
        name = getattr(species, kind)
        path = run.species_file(name, key)
        digest = f"@sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" if path else ""
        out[symbol(element_of(label))] = name + digest
    return out


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text.split()[0])
    except ValueError:
        return None

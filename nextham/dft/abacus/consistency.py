"""Do the files of a run belong together? Sentences for the ways in which they do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, symbol
from nextham.dft.abacus.folder import RunFolder, truthy
from nextham.dft.engine import Cause, RunError

_STRONG_OVERLAP: Final = 1e-4  # blocks with an element above this belong to near pairs
_SUPPORT_OVERLAP: Final = 1e-6  # above this H has a block, too
_REACH_SLACK_ANG: Final = 1e-4
_SHARED_KEYS: Final = ("nspin", "lspinorb", "noncolin", "ecutwfc", "basis_type", "dft_functional")
_POSITION_TOLERANCE: Final = 1e-9  # fractional; the log echoes ten decimals
_UNIT_TOLERANCE: Final = (
    1e-6  # relative; the log prints the lattice constant to eight decimals, older ones to six digits
)


def check_support(overlap: BlockMatrix, matrix: BlockMatrix, name: str, run: RunFolder) -> None:
    """Check that an operator has a block wherever S has one that counts."""
    strong = np.maximum.reduceat(np.abs(overlap.values).max(axis=0), overlap.block_ptr[:-1]) > _SUPPORT_OVERLAP
    lacking = np.flatnonzero(strong & (matrix.pairs.index_of(overlap.pairs) < 0))
    if len(lacking):
        i, j = overlap.pairs.ij[lacking[0]].tolist()
        R = tuple(overlap.pairs.R[lacking[0]].tolist())
        raise RunError(
            Cause.INCONSISTENT,
            f"the {name} of {run.path} has no block for the atoms {i + 1} and {j + 1}, R = {R}, where S has one; "
            "the two matrices belong to different runs",
        )


def check_echo(run: RunFolder) -> None:
    """Check our reading of STRU against the positions that ABACUS echoes in its log.

    Fractional ones must have been folded alike. Cartesian ones are printed as they are, so whole cells do not count;
    where a log has no such table, the overlap alone tells (nextham.data.checks: labels).
    """
    stru, echo = run.stru, run.log.echo
    if echo is None:
        return
    if len(echo.positions) != len(stru.labels):
        raise RunError(
            Cause.INCONSISTENT,
            f"STRU of {run.path} has {len(stru.labels)} atoms, its log {len(echo.positions)}; the STRU was changed",
        )
    if echo.unit_bohr is not None and abs(echo.unit_bohr / stru.lat0_bohr - 1) > _UNIT_TOLERANCE:
        raise RunError(
            Cause.INCONSISTENT,
            f"STRU of {run.path} has the lattice constant {stru.lat0_bohr:.10g} Bohr, its log {echo.unit_bohr:.10g}; "
            "the STRU was changed after the run",
        )
    printed, tolerance = echo.fractional(stru.cell_bohr, stru.lat0_bohr), _POSITION_TOLERANCE
    if echo.unit_bohr is not None:
        printed += np.rint(stru.fractional - printed)
        tolerance *= max(1.0, float(np.linalg.norm(np.linalg.inv(stru.cell_bohr / stru.lat0_bohr))))
    gap = np.abs(stru.fractional - printed).max(axis=1)
    if gap.max() > tolerance:
        k = int(np.argmax(gap))
        raise RunError(
            Cause.INCONSISTENT,
            f"atom {k + 1} ({stru.labels[k]}) of STRU in {run.path} is at {_vector(stru.fractional[k])}, in its log at "
            f"{_vector(printed[k])} (fractional), {gap[k]:.1e} apart; the STRU was changed after the run",
        )


def _vector(x: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{c:.10f}" for c in x) + ")"


def check_same(h0: RunFolder, scf: RunFolder) -> None:
    """Check that H0 and H are of one crystal, computed in one way."""
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
    for k, (one, two) in enumerate(zip(a.labels, b.labels, strict=True)):
        mine, other = a.species[one], b.species[two]
        if (mine.orb, mine.upf) != (other.orb, other.upf):
            raise RunError(
                Cause.INCONSISTENT,
                f"{h0.path} and {scf.path} use different pseudopotentials or orbitals for atom {k + 1} "
                f"({one if one == two else f'{one}, {two}'}); use the same for both",
            )
    for key in _SHARED_KEYS:
        here, there = h0.parameters.get(key), scf.parameters.get(key)
        if here is not None and there is not None and _read(key, here) != _read(key, there):
            raise RunError(
                Cause.INCONSISTENT, f"{key} is {here} in {h0.path} and {there} in {scf.path}; use the same for both"
            )


def _read(key: str, value: str) -> str | bool:
    return truthy(value) if key in ("lspinorb", "noncolin") else value.split(maxsplit=1)[0].lower()


def check_is_h0(run: RunFolder) -> None:
    """A run gives H0 if it never mixed a density: get_hs, or one single SCF step."""
    kind = run.parameters.get("calculation", "scf")
    if kind in ("get_hs", "get_h0"):
        return
    steps = run.parameters.get("scf_nmax", "100")
    if kind != "scf" or int(steps) != 1 or run.n_spin == 2:
        raise RunError(
            Cause.BAD_INPUT,
            f"{run.path} does not write H0 (calculation {kind}, scf_nmax {steps}, nspin {run.n_spin}); "
            "use calculation get_hs, or scf with scf_nmax 1 and nspin 1 or 4",
        )


def check_converged(run: RunFolder) -> None:
    """Check that the log says so, and that it is whole: it ends with the total time, after the levels.

    A whole log without levels (out_band 0 in some versions) is good; the check of bands is then skipped.
    """
    if run.log.converged:
        if run.log.wall_time_s is None and run.levels is None:
            raise RunError(
                Cause.TRUNCATED,
                f"{run.log_path} ends before the levels and the total time are printed; "
                "copy the whole log, or run the job again",
                log_tail=run.log.tail,
            )
        return
    drho = f" (density error {run.log.drho[-1]:.1e} after {len(run.log.drho)} steps)" if run.log.drho else ""
    raise RunError(
        Cause.UNCONVERGED,
        f"the SCF in {run.path} did not converge{drho}; use a smaller mixing_beta, more smearing or a larger scf_nmax",
        log_tail=run.log.tail,
    )


def check_reach(system: LCAOSystem, cutoffs_ang: Mapping[str, float]) -> None:
    """Check that atoms with a large overlap are near enough for their orbitals to meet, where the radii are known.

    Positions that were not folded as ABACUS folds them, or another crystal's STRU, break this: R is then wrong.

    Raises:
        RunError: naming the pair.
    """
    radius = np.array([cutoffs_ang.get(name, np.inf) for name in system.structure().symbols])
    reach = radius[system.pairs.ij].sum(axis=1)
    overlap = system.operator("overlap")
    largest = np.maximum.reduceat(np.abs(overlap.values[0]), overlap.block_ptr[:-1])
    bad = np.flatnonzero((largest > _STRONG_OVERLAP) & (system.distances > reach + _REACH_SLACK_ANG))
    if not len(bad):
        return
    p = int(bad[np.argmax(largest[bad])])
    (i, j), R = system.pairs.ij[p].tolist(), tuple(system.pairs.R[p].tolist())
    name = f"{symbol(int(system.numbers[i]))}{i + 1}-{symbol(int(system.numbers[j]))}{j + 1}"
    raise RunError(
        Cause.INCONSISTENT,
        f"STRU and S(R) disagree: the pair {name}, R = {R}, has an overlap of {largest[p]:.1e} at "
        f"{system.distances[p]:.3f} Å, though its orbitals end at {reach[p]:.3f} Å; "
        "put the STRU of this very run beside its matrices, unchanged",
    )

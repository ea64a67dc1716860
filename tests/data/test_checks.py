"""Good systems get a certificate with true numbers; each check refuses the system that violates it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nextham.core import BlockMatrix, LCAOSystem, OrbitalBasis, PairList, Provenance, SpinLayout, Structure
from nextham.data.checks import CHECKS, certify
from nextham.data.settings import CheckSettings
from nextham.dft.engine import RunResult
from nextham.exceptions import CheckError
from nextham.physics.bands import Levels, eigenproblem, fermi_level, gap, monkhorst_pack
from nextham.physics.symmetry import rehomed
from nextham.testing import magnetic, synthetic_system, zincblende


@pytest.fixture(scope="module")
def good() -> LCAOSystem:
    """A made-up system with a Fermi level and a number of electrons that its bands agree with."""
    system = synthetic_system(zincblende(rattle_ang=0.1), OrbitalBasis.parse("Ga:2s2p1d As:2s2p1d"), id="good")
    system = system.with_operator("overlap", normalised(system.operator("overlap")))
    energies = eigenproblem(system, monkhorst_pack((3, 3, 3))).energies
    return system.with_meta(n_electrons=8.0, fermi_energy_ev=fermi_level(energies, 8.0), converged=True)


@pytest.fixture(scope="module")
def levels(good: LCAOSystem) -> Levels:
    """What an engine would print of it, with six significant digits."""
    k = np.random.default_rng(5).random((20, 3))
    exact = eigenproblem(good, k).energies[:, :12]
    return Levels(k, np.vectorize(lambda e: float(f"{e:.5e}"))(exact))


def refusal(check: str, system: LCAOSystem, **more: object) -> str:
    with pytest.raises(CheckError) as raised:
        certify(system, **more)  # type: ignore[arg-type]
    assert raised.value.check == check
    return str(raised.value)


def with_number(system: LCAOSystem, name: str, where: tuple[int, int], value: complex) -> LCAOSystem:
    values = np.array(system.operators[name])
    values[where] = value
    return system.with_operator(name, values)


def onsite_value(matrix: BlockMatrix, atom: int, row: int, column: int) -> int:
    pairs = matrix.pairs
    pair = int(np.flatnonzero(pairs.onsite & (pairs.ij[:, 0] == atom))[0])
    n = matrix.block(pair).shape[-1]
    return int(matrix.block_ptr[pair]) + row * n + column


def normalised(overlap: BlockMatrix) -> np.ndarray:
    """Values of an overlap whose orbitals are orthonormal on site."""
    values = np.array(overlap.values)
    for pair in np.flatnonzero(overlap.pairs.onsite).tolist():
        n = overlap.block(pair).shape[-1]
        values[0, overlap.block_ptr[pair] : overlap.block_ptr[pair + 1]] = np.eye(n).ravel()
    return values


# --- what a good system gets -----------------------------------------------------------------------------------------


def test_a_good_system_passes_every_check(good: LCAOSystem, levels: Levels) -> None:
    found = certify(good, levels=levels)
    assert found.passed == tuple(CHECKS)
    assert found.skipped == {}
    assert found.mesh is not None
    solved = eigenproblem(good, monkhorst_pack(found.mesh))
    low, high = solved.overlap_range.T
    assert found.overlap_min == pytest.approx(low.min())
    assert found.overlap_condition == pytest.approx((high / low).max())
    assert found.gap_ev == pytest.approx(gap(solved.energies, 8.0))
    assert found.electrons is not None
    assert abs(found.electrons - 8) <= CheckSettings().electron_tolerance
    assert found.band_error_ev is not None
    assert found.band_error_ev < 1e-4
    assert found.n_band_k == 12
    assert found.n_honly_pairs == 0
    assert certify(good, levels=levels, settings=CheckSettings(band_k_points=0)).n_band_k == 20


@pytest.mark.parametrize("name", ["AlSb-zb-1", "MgO-rs-1", "BaF2-fl-1"])
def test_real_runs_pass_every_check(example: Callable[[str], RunResult], name: str) -> None:
    result = example(name)
    found = certify(result.system, levels=result.levels)
    assert found.passed == tuple(CHECKS)
    assert found.band_error_ev is not None
    assert found.band_error_ev < 1e-4
    assert found.electron_error == pytest.approx(0, abs=0.05)
    assert found.time_reversal_ev is not None
    assert found.time_reversal_ev < 6e-6
    assert found.n_honly_pairs is not None
    assert found.n_honly_pairs > 0


def test_h0_alone(good: LCAOSystem) -> None:
    found = certify(good.without("hamiltonian"), required=("overlap", "h0"))
    assert found.skipped == {
        "h0-differs": "there are not both H and H0",
        "electron-count": "there is no H",
        "bands": "there is no H",
    }
    assert found.overlap_min == pytest.approx(certify(good).overlap_min)


def test_a_magnetic_system_is_not_held_to_time_reversal(good: LCAOSystem) -> None:
    found = certify(magnetic(good).with_meta(magnetism="moments"))
    assert found.skipped["time-reversal"] == "the magnetism of the h0 is 'moments'"
    assert found.time_reversal_ev is not None
    assert found.time_reversal_ev > 1e-3


def test_meshes_of_magnetic_systems_are_not_halved(good: LCAOSystem) -> None:
    system = magnetic(good).with_meta(magnetism="moments")
    found = certify(system)
    assert found.mesh is not None
    assert found.gap_ev == pytest.approx(gap(eigenproblem(system, monkhorst_pack(found.mesh)).energies, 8.0))


# --- what each check refuses -----------------------------------------------------------------------------------------


def test_converged(good: LCAOSystem) -> None:
    assert refusal("converged", good.with_meta(converged=False, scf_steps=100)) == (
        "good: the SCF did not converge in 100 steps; run it longer or with other mixing"
    )


def test_complete(good: LCAOSystem) -> None:
    assert refusal("complete", good.without("hamiltonian")) == (
        "good lacks the hamiltonian; the run did not write it or its file is lost"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_finite(good: LCAOSystem, bad: float) -> None:
    matrix = good.operator("h0")
    pair = 7
    (i, j), R = good.pairs.ij[pair].tolist(), tuple(good.pairs.R[pair].tolist())
    assert refusal("finite", with_number(good, "h0", (2, int(matrix.block_ptr[pair]) + 3), bad)) == (
        f"good: the h0 of pair ({i}, {j}, {R}) is not a finite number; the engine's file is damaged, run it again"
    )


def test_not_empty(good: LCAOSystem) -> None:
    assert refusal("not-empty", good.with_operator("hamiltonian", 0 * good.operators["hamiltonian"])) == (
        "good: the hamiltonian is empty or zero everywhere; run the engine again"
    )


def test_orthonormal(good: LCAOSystem) -> None:
    where = onsite_value(good.operator("overlap"), 1, 2, 2)
    bad = with_number(good, "overlap", (0, where), 1.25)
    assert refusal("orthonormal", bad).startswith(
        "good: an on-site overlap of pair (1, 1, (0, 0, 0)) differs from 1 by 2.50e-01 (tolerance 0.001); "
    )


def test_no_onsite_block(good: LCAOSystem) -> None:
    keep = ~(good.pairs.onsite & (good.pairs.ij[:, 0] == 1))
    bad = good.on(PairList.of_one(good.pairs.ij[keep], good.pairs.R[keep]))
    assert refusal("orthonormal", bad) == "good: atom 1 has no on-site block; run the engine again"


@pytest.mark.parametrize("name", ["hamiltonian", "h0"])
def test_hermitian(good: LCAOSystem, name: str) -> None:
    where = onsite_value(good.operator(name), 0, 0, 3)
    bad = with_number(good, name, (0, where), good.operators[name][0, where] + 1e-3)
    assert refusal("hermitian", bad) == (
        f"good: an on-site block of the {name} differs from its conjugate by 1.00e-03 eV (tolerance 1e-06); "
        "the engine's file is damaged or misread"
    )


def test_support(good: LCAOSystem) -> None:
    matrix = good.operator("hamiltonian")
    pair = 9
    values = np.array(matrix.values)
    values[:, matrix.block_ptr[pair] : matrix.block_ptr[pair + 1]] = 0
    (i, j), R = good.pairs.ij[pair].tolist(), tuple(good.pairs.R[pair].tolist())
    assert refusal("support", good.with_operator("hamiltonian", values)) == (
        f"good: pair ({i}, {j}, {R}) has an overlap but no hamiltonian; "
        "the hamiltonian's file is cut short or of another run"
    )


def test_labels_of_unfolded_positions(alsb: LCAOSystem) -> None:
    said = refusal("labels", rehomed(alsb, [[0, 0, 0], [0, 1, 0]]))
    assert said.startswith(f"{alsb.ids[0]}: atom 1 is outside the home cell at [")
    assert said.endswith("fold the positions before the run, R counts from folded ones")


def test_labels_that_count_from_other_positions(alsb: LCAOSystem) -> None:
    moved = rehomed(alsb, [[0, 0, 0], [0, 1, 0]])  # its R, but the folded positions
    bad = LCAOSystem.single(alsb.structure(), alsb.basis, moved.pairs, dict(moved.operators), alsb.meta[0])
    said = refusal("labels", bad)
    assert "Å apart without overlap, but pair" in said
    assert said.endswith("the positions are not those (folded) that R counts from")


@pytest.mark.parametrize("step", [0.05, 0.01])
@pytest.mark.parametrize("name", ["BeS-zb-0", "AlSb-zb-1", "BaF2-fl-1"])
def test_a_moved_atom_is_seen_in_the_overlap(example: Callable[[str], RunResult], name: str, step: float) -> None:
    system = example(name).system
    structure = system.structure()
    positions = np.array(structure.positions)
    positions[-1] += step * structure.cell[0]
    moved = Structure(structure.numbers, positions, structure.cell)
    bad = LCAOSystem.single(moved, system.basis, system.pairs, dict(system.operators), system.meta[0])
    said = refusal("labels", bad)
    assert said.endswith(
        "but |S| of two elements depends on the distance alone and decays with it; "
        "the positions are not those of the run that wrote S: put its own STRU beside its matrices"
    )


def test_equal_atoms_have_equal_overlap_with_themselves(example: Callable[[str], RunResult]) -> None:
    system = example("Si-dia-0").system
    values = np.array(system.operators["overlap"])
    values[0, onsite_value(system.operator("overlap"), 1, 0, 1)] += 0.5
    assert "pair (1, 1, (0, 0, 0)) has |S| = " in refusal("labels", system.with_operator("overlap", values))


def test_the_decay_of_the_overlap_need_not_be_compared(alsb: LCAOSystem) -> None:
    faster = CheckSettings(label_decay_inv_ang=3.0)
    with pytest.raises(CheckError, match="decays with it"):
        certify(alsb, settings=faster)
    certify(alsb, settings=CheckSettings(label_decay_inv_ang=None))


def test_time_reversal(good: LCAOSystem) -> None:
    said = refusal("time-reversal", magnetic(good))
    assert said.startswith("good: the hamiltonian breaks time reversal by ")
    assert said.endswith(
        "(tolerance 2e-05) though its run is nonmagnetic; its file is damaged or of another run: run it again, "
        "or raise checks.time_reversal_tolerance_ev in --settings"
    )
    odd = good.with_operator("h0", good.operator("h0").with_layout(SpinLayout.FULL).values + 1e-4)
    assert refusal("time-reversal", odd).startswith("good: the h0 breaks time reversal by 1.00e-04 eV")


def test_each_operator_is_held_to_the_magnetism_of_its_own_run(good: LCAOSystem) -> None:
    both = magnetic(good)
    h_alone = both.with_meta(magnetism="autoset", h0_magnetism="nonmagnetic")
    assert certify(h_alone).skipped["time-reversal"] == "the magnetism of the hamiltonian is 'autoset'"
    odd = both.operators["hamiltonian"]
    h0_alone = good.with_operator("h0", odd).with_meta(h0_magnetism="moments")
    assert certify(h0_alone).skipped["time-reversal"] == "the magnetism of the h0 is 'moments'"
    swapped = h_alone.with_operator("h0", odd + 1e-3)
    assert refusal("time-reversal", swapped).startswith("good: the h0 breaks time reversal by ")


def test_a_copied_file(good: LCAOSystem) -> None:
    assert refusal("h0-differs", good.with_operator("h0", good.operators["hamiltonian"])) == (
        "good: H0 and H are equal in every number, which no self-consistency gives; "
        "one file is a copy of the other: put each run's own matrix in its place"
    )


def test_time_reversal_forgives_noise_of_a_run_that_started_from_moments(good: LCAOSystem) -> None:
    values = np.array(good.operator("hamiltonian").with_layout(SpinLayout.FULL).values)
    where = onsite_value(good.operator("hamiltonian"), 0, 0, 0)
    values[3, where] += 6e-6
    assert certify(good.with_operator("hamiltonian", values)).time_reversal_ev == pytest.approx(6e-6)


def test_overlap_positive(good: LCAOSystem) -> None:
    matrix = good.operator("overlap")
    values = np.array(matrix.values)
    first, second = onsite_value(matrix, 0, 0, 1), onsite_value(matrix, 0, 1, 0)
    values[0, [first, second]] = 1.2
    said = refusal("overlap-positive", good.with_operator("overlap", values))
    assert said.startswith("good: S(k) has the eigenvalue -")
    assert "it must exceed 0; positions, cell and matrices are not of one run, or atoms lie on each other" in said


def test_electron_count(good: LCAOSystem) -> None:
    said = refusal("electron-count", good.with_meta(n_electrons=10.0))
    assert said.startswith("good: the levels below E_F = ")
    assert said.endswith("the engine has 10 (tolerance 0.5); H, S and the log are not of one run")


def test_electron_count_needs_the_engine(good: LCAOSystem) -> None:
    found = certify(good.with_meta(n_electrons=None))
    assert found.skipped["electron-count"] == "the engine names no number of electrons or no Fermi level"


def test_bands(good: LCAOSystem, levels: Levels) -> None:
    energies = np.array(levels.energies)
    energies[0, 3] += 0.001
    said = refusal("bands", good, levels=Levels(levels.k, energies))
    assert said.startswith("good: level 4 at k = ")
    assert said.endswith(
        "eV in the engine's output (tolerance 0.0001 eV); matrices and log are not of one run, or the file is misread"
    )


def test_bands_of_orbitals_that_nearly_depend_on_each_other() -> None:
    """The last printed digit of S moves a level 400 eV up by 16 meV: no damage; 1 meV at the lowest level is."""
    onsite = PairList(np.zeros((1, 2), dtype=int), np.zeros((1, 3), dtype=int), np.array([0, 1]))
    atom = Structure.from_fractional(["Ga"], np.zeros((1, 3)), 20 * np.eye(3))

    def made(overlap: float) -> LCAOSystem:
        values = {"overlap": [[1, overlap, overlap, 1]], "hamiltonian": [[-5.0, -5.02, -5.02, -5.0]]}
        arrays = {name: np.array(v, dtype=float) for name, v in values.items()}
        return LCAOSystem.single(atom, OrbitalBasis.parse("Ga:2s"), onsite, arrays, Provenance(id="near"))

    k = np.zeros((1, 3))
    energies = eigenproblem(made(1 - 5e-5), k).energies
    printed = made(1 - 5e-5 + 2e-9)
    assert np.abs(eigenproblem(printed, k).energies - energies).max() == pytest.approx(0.016, rel=0.01)
    required = ("overlap", "hamiltonian")
    assert certify(printed, levels=Levels(k, energies), required=required).band_error_ev == pytest.approx(
        0.016, rel=0.01
    )
    energies[:, :2] += 1e-3
    with pytest.raises(CheckError, match="near: level 1 at k"):
        certify(printed, levels=Levels(k, energies), required=required)


def test_bands_in_the_wrong_unit(good: LCAOSystem, levels: Levels) -> None:
    refusal("bands", good, levels=Levels(levels.k, levels.energies * 13.6 / 13.605693))


def test_more_bands_than_the_basis_has(good: LCAOSystem) -> None:
    n = 2 * int(good.n_orb.sum())
    said = refusal("bands", good, levels=Levels(np.zeros((1, 3)), np.zeros((1, n + 2))))
    assert said == (
        f"good: the engine printed {n + 2} levels at each k, but the matrices have {n}; the basis is not the run's"
    )

"""The engine on made-up species: symmetry, gauge of the cell, self-consistency, and what it refuses."""

import json
import re

import numpy as np
import pytest
import scipy.stats
from made_up_species import cell_of_two, upf_text, write_species

from nextham.core import Structure
from nextham.dft.engine import Cause, RunError
from nextham.dft.lcao import memory
from nextham.dft.lcao.engine import LCAOEngine
from nextham.dft.lcao.grid import grid_shape
from nextham.dft.lcao.settings import H0Definition, LCAOSettings
from nextham.exceptions import InputError
from nextham.physics.bands import eigenproblem
from nextham.physics.symmetry import onsite_antihermitian, permuted, rotated, supercell
from nextham.structures.prototypes import crystal
from nextham.units import BOHR_ANG


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("species")


@pytest.fixture(scope="module")
def settings(folder):
    return write_species(folder)


@pytest.fixture(scope="module")
def engine(settings):
    return LCAOEngine(settings)


@pytest.fixture(scope="module")
def converged(engine, tmp_path_factory):
    return engine.scf(cell_of_two(), id="SiC", folder=tmp_path_factory.mktemp("run"))


def h0_of(engine, structure, folder, id="x"):
    return engine.h0(structure, id=id, folder=folder).system


def largest_difference(a, b, operators=("overlap", "h0")):
    pairs = a.pairs.union(b.pairs)
    return max(np.abs(a.on(pairs).operators[o] - b.on(pairs).operators[o]).max() for o in operators)


def test_result_is_a_system_in_house_conventions(converged, settings):
    system = converged.system
    assert set(system.operators) == {"overlap", "h0", "hamiltonian"}
    assert len(system.operators["h0"]) == 4
    meta = system.meta[0]
    assert (meta.engine, meta.h0_definition, meta.magnetism) == ("lcao", "atomic-density-step0", "nonmagnetic")
    assert (meta.kmesh, meta.converged, meta.n_electrons) == ((2, 1, 1), True, 8.0)
    assert meta.scf_drho < settings.scf_thr
    assert 0 < meta.h0_wall_s < meta.scf_wall_s <= meta.wall_time_s + 1
    assert 0 < meta.h0_cpu_s < meta.scf_cpu_s
    assert set(meta.pseudopotentials) == {"Si", "C"}
    assert onsite_antihermitian(system.operator("hamiltonian")) < 1e-10
    assert onsite_antihermitian(system.operator("h0")) < 1e-10


def test_some_pairs_have_h_without_s(converged):
    system = converged.system
    assert (system.operator("h0").support & ~system.operator("overlap").support).any()


def test_levels_are_those_of_the_matrices(converged):
    bands = eigenproblem(converged.system, converged.levels.k)
    assert np.abs(bands.energies - converged.levels.energies).max() < 1e-8


def test_rotating_the_crystal_rotates_the_matrices(engine, tmp_path):
    turn = scipy.stats.special_ortho_group(3, seed=4).rvs()
    crystal = cell_of_two()
    there = Structure(crystal.numbers, crystal.positions @ turn.T, crystal.cell @ turn.T)
    due = rotated(h0_of(engine, crystal, tmp_path), turn)
    assert largest_difference(due, h0_of(engine, there, tmp_path)) < 1e-8


def test_inversion(engine, tmp_path):
    crystal = cell_of_two()
    there = Structure(crystal.numbers, -crystal.positions, -crystal.cell)
    due = rotated(h0_of(engine, crystal, tmp_path), -np.eye(3))
    assert largest_difference(due, h0_of(engine, there, tmp_path)) < 1e-8


def test_atoms_come_back_grouped_and_folded(engine, tmp_path):
    crystal = cell_of_two()
    both = Structure(
        np.r_[crystal.numbers, crystal.numbers],
        np.concatenate([crystal.positions, crystal.positions + crystal.cell[2] - crystal.cell[0]]),
        crystal.cell * np.array([[1.0], [1.0], [2.0]]),
    )
    system = h0_of(engine, both, tmp_path)
    assert system.numbers.tolist() == [14, 14, 6, 6]
    fractional = system.structure().fractional
    assert (fractional >= 0).all()
    assert (fractional < 1).all()


def test_supercell_has_the_matrices_of_its_cell(engine, settings, tmp_path):
    crystal = cell_of_two()
    double = Structure(
        np.tile(crystal.numbers, 2),
        np.concatenate([crystal.positions, crystal.positions + crystal.cell[0]]),
        crystal.cell * np.array([[2.0], [1.0], [1.0]]),
    )
    one, two = (grid_shape(s.cell / BOHR_ANG, 4 * settings.ecutwfc_ry) for s in (crystal, double))
    assert two == (2 * one[0], one[1], one[2])  # or the two grids integrate differently
    due = permuted(supercell(h0_of(engine, crystal, tmp_path), (2, 1, 1)), [0, 2, 1, 3])
    assert largest_difference(due, h0_of(engine, double, tmp_path)) < 1e-8


def test_supercell_has_the_energy_of_its_cells(settings, converged, tmp_path):
    one = cell_of_two().repeated((2, 1, 1))
    double = LCAOEngine(settings.model_copy(update={"kmesh": (1, 1, 1)})).scf(one, id="x", folder=tmp_path)
    energies = [r.system.meta[0].total_energy_ev for r in (converged, double)]
    assert energies[1] == pytest.approx(2 * energies[0], abs=1e-6)
    assert energies[0] < -100.0


def test_energy_is_stationary_at_self_consistency(engine, converged, tmp_path):
    """Its error is of second order in that of the density: it settles long before."""
    engine.scf(cell_of_two(), id="SiC", folder=tmp_path)
    steps = re.findall(r"drho (\S+) .* E\(electrons\) (\S+) Ry", (tmp_path / "lcao.log").read_text())
    errors, energies = np.array(steps, dtype=float).T
    late = errors < 1e-2
    assert late.sum() > 3
    assert (np.abs(energies - energies[-1])[late] < 30 * errors[late] ** 2 + 1e-9).all()


def test_moving_all_atoms_changes_little(folder, settings, tmp_path):
    """The egg-box effect: the grid's uniform sum is not exact for orbitals above its cutoff."""
    fine = LCAOEngine(settings.model_copy(update={"ecutwfc_ry": 25.0}))
    crystal = cell_of_two()
    moved = Structure(crystal.numbers, crystal.positions + np.array([0.05, 0.03, 0.02]), crystal.cell)
    a, b = h0_of(fine, crystal, tmp_path), h0_of(fine, moved, tmp_path)
    assert largest_difference(a, b, ("overlap",)) < 1e-9
    assert 0 < largest_difference(a, b, ("h0",)) < 5e-3


def test_mixed_precision_changes_less_than_the_threshold(settings, converged, tmp_path):
    double = LCAOEngine(settings.model_copy(update={"mixed_precision": False}))
    exact = double.scf(cell_of_two(), id="SiC", folder=tmp_path).system
    assert largest_difference(exact, converged.system, ("hamiltonian",)) < 1e-5


def test_core_h0_lacks_the_electrons(settings, tmp_path):
    core = LCAOEngine(settings.model_copy(update={"h0_definition": H0Definition.CORE}))
    system = h0_of(core, cell_of_two(), tmp_path)
    assert system.meta[0].h0_definition == "core"
    assert (
        system.operator("h0").block(0)[0, 0, 0]
        < h0_of(LCAOEngine(settings), cell_of_two(), tmp_path).operator("h0").block(0)[0, 0, 0] - 1.0
    )


@pytest.mark.parametrize("definition", H0Definition)
def test_scf_has_the_h0_of_h0_alone(settings, tmp_path, definition):
    engine = LCAOEngine(settings.model_copy(update={"h0_definition": definition}))
    found = engine.scf(cell_of_two(), id="SiC", folder=tmp_path).system
    assert np.array_equal(found.operators["h0"], h0_of(engine, cell_of_two(), tmp_path).operators["h0"])
    assert found.meta[0].h0_definition == definition


def test_log_tells_the_steps(converged, engine, tmp_path):
    engine.scf(cell_of_two(), id="SiC", folder=tmp_path / "deep" / "run")
    text = (tmp_path / "deep" / "run" / "lcao.log").read_text()
    assert "drho" in text
    assert not list((tmp_path / "deep" / "run").glob("*.part"))


def test_provenance_is_json_and_follows_the_inputs(engine, settings, tmp_path):
    one = h0_of(engine, cell_of_two(), tmp_path).meta[0]
    two = h0_of(engine, cell_of_two(3.2), tmp_path).meta[0]
    assert one.input_sha256 != two.input_sha256
    assert json.dumps(dict(one.orbital_cutoff_ang))


def refused(engine, structure, folder, run="h0"):
    with pytest.raises(RunError) as caught:
        getattr(engine, run)(structure, id="s-1", folder=folder)
    return caught.value


def test_overlapping_atoms(engine, tmp_path):
    crystal = Structure.from_fractional(["Si", "C"], [[0, 0, 0], [0.05, 0, 0]], 3 * np.eye(3))
    error = refused(engine, crystal, tmp_path)
    assert error.cause is Cause.BAD_INPUT
    assert str(error) == (
        "s-1: atoms 1 (Si) and 2 (C) are 0.150 Å apart (at least 0.3); check units and duplicate sites"
    )


@pytest.mark.parametrize(
    ("cell", "message"),
    [(np.diag([0.3, 3, 3]), "a lattice vector of 0.3 Å"), (np.diag([50, 50, 80]), "2e+05 Å³ per atom")],
)
def test_absurd_cells(engine, tmp_path, cell, message):
    crystal = Structure.from_fractional(["Si"], [[0, 0, 0]], cell)
    assert message in str(refused(engine, crystal, tmp_path, "scf"))


def test_missing_element_names_the_folder(engine, settings, tmp_path):
    crystal = Structure.from_fractional(["Si", "Pb"], [[0, 0, 0], [0.5] * 3], 3 * np.eye(3))
    error = refused(engine, crystal, tmp_path)
    assert error.cause is Cause.MISSING_FILE
    assert "Pb" in str(error)
    assert settings.pseudo_dir in str(error)


def test_memory_is_told_before_it_starts(settings, tmp_path):
    small = LCAOEngine(settings.model_copy(update={"max_memory_gb": 0.405}))
    message = str(refused(small, cell_of_two(9.0), tmp_path))
    assert "s-1 (CSi) needs about" in message
    assert "max_memory_gb is 0.405: raise it, or use" in message


def test_memory_that_the_machine_lacks_is_told_before_it_starts(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "memory_bytes", lambda: 0.3 * 2**30)
    error = refused(engine, cell_of_two(), tmp_path)
    assert error.cause is Cause.OUT_OF_MEMORY
    assert str(error).startswith("s-1 (CSi) needs about 0.4 GB, ")
    assert "; this machine has 0.3 GB: use " in str(error)


def test_scalar_relativistic_species_are_refused(settings, tmp_path):
    (tmp_path / "Si.upf").write_text(upf_text("Si", relativistic=False))
    engine = LCAOEngine(settings.model_copy(update={"pseudopotentials": {"Si": str(tmp_path / "Si.upf")}}))
    assert "is scalar-relativistic" in str(refused(engine, cell_of_two(), tmp_path))


def test_unconverged_scf_is_an_error_with_its_log(settings, tmp_path):
    hasty = LCAOEngine(settings.model_copy(update={"scf_nmax": 2, "scf_thr": 1e-9}))
    error = refused(hasty, cell_of_two(), tmp_path, "scf")
    assert error.cause is Cause.UNCONVERGED
    assert "did not converge in 3 attempts of 2 steps" in str(error)
    assert "drho" in error.log_tail
    assert "drho" in (tmp_path / "lcao.log").read_text()


def test_rescue_finds_what_a_first_attempt_misses(settings, converged, tmp_path):
    wild = LCAOEngine(settings.model_copy(update={"mixing_beta": 1.0, "mixing_history": 1, "scf_nmax": 40}))
    rescued = wild.scf(cell_of_two(), id="SiC", folder=tmp_path).system
    log = (tmp_path / "lcao.log").read_text()
    assert log.count("# Mixing(") == 2
    assert float(re.findall(r"drho (\S+)", log)[39]) > 0.1  # the first attempt is far from any solution
    assert largest_difference(rescued, converged.system, ("hamiltonian",)) < 1e-4  # eV; both stop at scf_thr


def test_what_was_tried_is_told_where_the_first_mixing_did_not_do(tmp_path):
    hasty = LCAOSettings(ecutwfc_ry=20, kmesh=(2, 2, 2), scf_nmax=3, scf_thr=1e-3)
    result = LCAOEngine(hasty).scf(crystal("A4", "Si", a_ang=5.431), id="Si", folder=tmp_path)
    assert [(a["beta"], a["outcome"]) for a in result.attempts] == [(0.7, "unconverged"), (0.2, "converged")]
    easy = LCAOEngine(hasty.model_copy(update={"scf_nmax": 9}))
    assert easy.scf(crystal("A4", "Si", a_ang=5.431), id="Si", folder=tmp_path).attempts == ()


def test_more_smearing_is_the_last_try_and_only_where_it_is_asked_for(settings, tmp_path):
    hopeless = settings.model_copy(update={"scf_nmax": 1, "scf_thr": 1e-9, "rescue_smearing_sigma_ry": 0.05})
    error = refused(LCAOEngine(hopeless), cell_of_two(), tmp_path, "scf")
    assert [a["smearing_sigma_ry"] for a in error.attempts] == [0.015, 0.015, 0.015, 0.05]
    once = hopeless.model_copy(update={"rescue": False})
    assert len(refused(LCAOEngine(once), cell_of_two(), tmp_path, "scf").attempts) == 1


def test_unknown_device_and_folder(settings):
    with pytest.raises(InputError, match="device 'cuda:99' is not there"):
        LCAOEngine(settings.model_copy(update={"device": "cuda:99"}))
    with pytest.raises(InputError, match="there is no folder"):
        LCAOEngine(settings.model_copy(update={"pseudo_dir": "/nowhere"}))

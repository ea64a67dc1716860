"""Errors of levels against plain loops over dense matrices, and what must leave them unchanged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bench_oracle_levels import GAMMA, Dense, dos_distance, lonely, median, mesh_4, path_of, within
from bench_predictions import noisy
from nextham_bench.metrics.bands import BandErrors, band_errors, reference_facts
from nextham_bench.metrics.levels import Levels, Solved, solved
from nextham_bench.tasks import tasks

from nextham.core import BlockMatrix, LCAOSystem
from nextham.exceptions import InputError
from nextham.physics.bands import KMesh


@pytest.fixture
def filled(synthetic: LCAOSystem) -> LCAOSystem:
    return synthetic.with_meta(n_electrons=20.0)


def errors(system: LCAOSystem, prediction: BlockMatrix) -> tuple[BandErrors, Solved]:
    levels = solved(system, {"model": prediction})
    return band_errors(levels.predictions["model"], levels), levels


@pytest.fixture(params=["synthetic", "magnetic", "real"])
def compared(request: pytest.FixtureRequest, filled: LCAOSystem, synthetic_magnetic: LCAOSystem, example) -> Compared:
    system = {
        "synthetic": lambda: filled,
        "magnetic": lambda: synthetic_magnetic.with_meta(n_electrons=20.0),
        "real": lambda: example("Si-dia-1").system,
    }[request.param]()
    return Compared.of(system, noisy(system, scale_ev=0.002))


@dataclasses.dataclass(frozen=True)
class Compared:
    """The levels of a prediction and its errors, and the levels again by dense matrices."""

    system: LCAOSystem
    model: BlockMatrix
    found: BandErrors
    levels: Solved
    H: np.ndarray  # (64, n_bands) on the mesh
    P: np.ndarray

    @classmethod
    def of(cls, system: LCAOSystem, model: BlockMatrix) -> Compared:
        dense = Dense(system)
        on_mesh = (dense.levels(matrix, mesh_4()) for matrix in (system.operator("hamiltonian"), model))
        return cls(system, model, *errors(system, model), *on_mesh)

    @property
    def window(self) -> tuple[float, float]:
        return self.levels.fermi - 10, self.levels.fermi + 5

    @property
    def shift(self) -> float:
        return median([self.P[at] - self.H[at] for at in within(self.H, *self.window)])

    @property
    def error(self) -> dict[tuple[int, int], float]:
        return {at: abs(self.P[at] - self.shift - self.H[at]) for at in within(self.H, *self.window)}


def test_every_number_equals_plain_loops_over_dense_matrices(compared: Compared) -> None:
    found, levels, H, P = compared.found, compared.levels, compared.H, compared.P
    np.testing.assert_allclose(levels.reference.mesh, H, atol=1e-8)
    np.testing.assert_allclose(levels.predictions["model"].mesh, P, atol=1e-8)
    error, shift = compared.error, compared.shift
    assert found.shift == pytest.approx(shift)
    assert found.mean == pytest.approx(np.mean(list(error.values())))
    assert found.rms == pytest.approx(np.sqrt(np.mean(np.square(list(error.values())))))
    assert found.max == pytest.approx(max(error.values()))
    assert found.occupied == pytest.approx(np.mean([e for at, e in error.items() if H[at] <= levels.fermi]))
    assert found.dos == pytest.approx(dos_distance(P - shift, H, *compared.window))
    ghosts = [lonely(list(P[q] - shift), list(H[q]), *compared.window) for q in range(64)]
    assert found.ghosts_per_k == pytest.approx(np.mean(ghosts))
    odd = []
    for q in range(64):
        own = [e for at, e in error.items() if at[0] == q]
        odd.append(bool(own) and max(own) >= 0.3 and max(own) >= 5 * np.median(own))
    assert found.ghost_k_share == pytest.approx(np.mean([g > 0 or o for g, o in zip(ghosts, odd, strict=True)]))


def test_edges_gap_and_fermi_level_equal_plain_ones(compared: Compared) -> None:
    found, H, P, n = compared.found, compared.H, compared.P, round(compared.levels.n_electrons)
    edges = [(energies[:, n - 1].max(), energies[:, n].min()) for energies in (P, H)]
    gaps = [max(0.0, bottom - top) for top, bottom in edges]
    assert found.gap == pytest.approx(gaps[0] - gaps[1], abs=1e-9)
    assert reference_facts(compared.levels).gap == pytest.approx(gaps[1], abs=1e-9)
    if gaps[1] > 0:
        assert found.vbm == pytest.approx(edges[0][0] - compared.shift - edges[1][0], abs=1e-9)
        assert found.cbm == pytest.approx(edges[0][1] - compared.shift - edges[1][1], abs=1e-9)
    else:
        assert found.vbm is found.cbm is None
    last = n * 64
    middle = [(np.sort(e.ravel())[last - 1] + np.sort(e.ravel())[last]) / 2 for e in (P, H)]
    assert found.fermi == pytest.approx(middle[0] - compared.shift - middle[1], abs=1e-9)


def test_the_path_is_seekpaths_and_has_the_shift_of_the_mesh(compared: Compared) -> None:
    dense, path = Dense(compared.system), path_of(compared.system, tasks().bands.path_spacing_inv_ang)
    H, P = (dense.levels(matrix, path) for matrix in (compared.system.operator("hamiltonian"), compared.model))
    along = [abs(P[at] - compared.shift - H[at]) for at in within(H, *compared.window)]
    assert compared.found.path == pytest.approx(np.mean(along))
    assert compared.found.path_max == pytest.approx(max(along))
    assert reference_facts(compared.levels).n_path_k == len(path)


def test_spin_orbit_coupling_at_gamma_equals_matrices_with_and_without_it(compared: Compared) -> None:
    full, scalar = Dense(compared.system), Dense(compared.system, scalar=True)
    dH, dP = (
        full.levels(matrix, [GAMMA])[0] - scalar.levels(matrix, [GAMMA])[0]
        for matrix in (compared.system.operator("hamiltonian"), compared.model)
    )
    low, high = compared.window
    inside = [b for b in range(len(dH)) if low <= compared.H[0, b] <= high]
    assert compared.found.soc_levels == pytest.approx(np.mean([abs(dP[b] - dH[b]) for b in inside]), abs=1e-9)
    mine, true = (max(d[b] for b in inside) - min(d[b] for b in inside) for d in (dP, dH))
    assert compared.found.soc_splitting == pytest.approx(mine - true, abs=1e-9)
    assert reference_facts(compared.levels).soc_splitting == pytest.approx(true, abs=1e-9)


def test_the_condition_of_the_overlap(compared: Compared) -> None:
    dense, facts = Dense(compared.system), reference_facts(compared.levels)
    spans = [np.linalg.eigvalsh(dense.at(dense.overlap, k)) for k in mesh_4()]
    assert facts.overlap_condition == pytest.approx(max(s[-1] / s[0] for s in spans))
    assert facts.overlap_min == pytest.approx(min(s[0] for s in spans))
    assert facts.n_levels == len(within(compared.H, *compared.window))


def test_time_reversal_halves_the_mesh_unless_an_operator_may_break_it(
    filled: LCAOSystem, synthetic_magnetic: LCAOSystem
) -> None:
    magnetic = synthetic_magnetic.operator("hamiltonian")
    for prediction, n_solved in ((filled.operator("h0"), 36), (magnetic, 64)):
        levels = solved(filled, {"model": prediction})
        assert len(set(levels.of_mesh.tolist())) == n_solved
        assert len(levels.reference.mesh) == 64
    assert len(KMesh.of((4, 4, 4)).k) == 36


def test_a_shifted_hamiltonian_has_no_error(filled: LCAOSystem) -> None:
    moved = filled.operator("hamiltonian") + 1.5 * filled.operator("overlap")
    found, _ = errors(filled, moved)
    assert found.shift == pytest.approx(1.5)
    numbers = [getattr(found, field.name) for field in dataclasses.fields(found) if field.name != "shift"]
    assert max(abs(x) for x in numbers if x is not None) < 1e-8


def test_without_spin_orbit_coupling_the_whole_splitting_is_the_error(example) -> None:
    system = example("AlSb-zb-0").system
    h = system.operator("hamiltonian")
    found, levels = errors(system, h.with_values(h.values[:1].real))
    splitting = reference_facts(levels).soc_splitting
    assert splitting == pytest.approx(0.67, abs=0.01)  # the textbook value of AlSb
    assert found.soc_splitting == pytest.approx(-splitting)


def test_electrons_follow_from_the_fermi_level_and_the_other_way_round(filled: LCAOSystem) -> None:
    levels = solved(filled, {})
    again = solved(filled.with_meta(n_electrons=None, fermi_energy_ev=levels.fermi), {})
    assert again.n_electrons == pytest.approx(20)
    with pytest.raises(InputError) as error:
        solved(filled.with_meta(n_electrons=None, id="Si-1"), {})
    assert str(error.value) == (
        "Si-1 has neither a Fermi level nor a number of electrons, which band errors need; score with --no-bands"
    )


def test_a_fermi_level_far_from_all_levels(filled: LCAOSystem) -> None:
    wrong = filled.with_meta(fermi_energy_ev=500.0)
    with pytest.raises(InputError, match=r"no level between 490.00 and 505.00 eV, around"):
        errors(wrong, wrong.operator("h0"))


def levels_of(*rows: list[float], n_electrons: float = 2.0) -> Solved:
    array = np.array(rows)
    own = Levels(array, np.zeros((0, array.shape[1])), np.zeros(array.shape[1]))
    return Solved(own, {}, 0.0, n_electrons, np.arange(len(array)), overlap_min=1.0, overlap_condition=1.0)


def compare(predicted: np.ndarray, reference: Solved) -> BandErrors:
    return band_errors(dataclasses.replace(reference.reference, mesh=predicted), reference)


def test_a_planted_level_is_a_ghost() -> None:
    reference = levels_of([-4.0, -3.0, -2.0, -1.0, 1.0, 2.0], [-4.0, -3.0, -2.0, -1.0, 1.0, 2.0])
    predicted = reference.reference.mesh.copy()
    predicted[1] = [-4.0, -3.5, -3.0, -2.0, -1.0, 1.0]  # a level too many at -3.5, and all above move down one
    found = compare(predicted, reference)
    assert found.ghosts_per_k == 0.5
    assert found.ghost_k_share == 0.5


def test_a_ghost_planted_in_real_blocks(example) -> None:
    """A direction of little norm pulled down by some meV: a level where S(k) is nearly null falls into the window."""
    system = example("Si-dia-1").system
    h = system.operator("hamiltonian")
    values = np.array(h.values)
    own = h.pairs.onsite[h.pair_of_value]
    place = np.flatnonzero(own)[: int(system.n_orb[0]) ** 2].reshape(system.n_orb[0], -1)
    values[0, place[1, 1]] -= 8.0  # the second s orbital of the first atom
    found, levels = errors(system, h.with_values(values))
    assert found.ghosts_per_k > 0.5
    assert found.ghost_k_share == 1.0
    clean = band_errors(levels.reference, levels)
    assert (clean.ghosts_per_k, clean.ghost_k_share) == (0.0, 0.0)


def test_one_band_far_off_its_median_is_outlying_even_if_it_finds_a_partner() -> None:
    row = [-4.0, -3.0, -2.0, -1.0, 1.0, 1.4]
    reference = levels_of(row, row)
    predicted = reference.reference.mesh.copy()
    predicted[0, 5] = 1.9
    assert compare(predicted, reference).ghost_k_share == 0.5


def test_metals_and_gaps_that_close_or_open() -> None:
    metal, insulator = levels_of([-2.0, -1.0, 1.0], [-2.0, 0.5, 2.0]), levels_of([-2.0, -1.0, 1.0], [-2.0, -0.5, 2.0])
    crossing = np.array([[-2.0, -1.0, 0.2], [-2.0, 0.5, 2.0]])
    closed = compare(crossing, insulator)
    assert closed.gap == pytest.approx(-1.5)
    assert closed.vbm == pytest.approx(1.0)
    assert closed.cbm == pytest.approx(-0.8)
    metal = levels_of(*crossing.tolist())
    opened = compare(insulator.reference.mesh, metal)
    assert opened.gap == pytest.approx(1.5)
    assert opened.vbm is opened.cbm is None
    assert compare(crossing, metal).gap == 0.0


def test_electrons_that_are_no_whole_number_fill_no_whole_bands() -> None:
    reference = levels_of([-2.0, -1.0, 1.0], [-2.0, -0.5, 2.0], n_electrons=1.5)
    found = compare(reference.reference.mesh + 0.1, reference)
    assert (found.gap, found.vbm, found.cbm) == (0.0, None, None)
    assert found.fermi == pytest.approx(0.0)


def test_filtered_levels_do_not_count() -> None:
    nan = float("nan")
    reference = levels_of([-2.0, -1.0, 1.0], [-2.0, -1.0, nan])
    found = compare(np.array([[-2.0, -1.0, 1.2], [-2.0, -1.0, nan]]), reference)
    assert found.mean == pytest.approx(0.2 / 5)
    assert found.dos == pytest.approx(0.2 / 5)
    assert found.ghosts_per_k == 0

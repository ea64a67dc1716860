"""Band errors and ghost states against plain loops, and what must leave them unchanged."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
from bench_oracle import directed, spinor
from bench_predictions import noisy
from hypothesis import given
from hypothesis import strategies as st
from nextham_bench.metrics.bands import ReferenceLevels, band_errors, compare_levels, reference_levels, unmatched
from nextham_bench.tasks import tasks

from nextham.core import LCAOSystem
from nextham.exceptions import InputError
from nextham.physics.bands import monkhorst_pack


@pytest.fixture
def filled(synthetic: LCAOSystem) -> LCAOSystem:
    return synthetic.with_meta(n_electrons=20.0)


def dense_levels(system: LCAOSystem, name: str, k: np.ndarray) -> np.ndarray:
    """Assemble the spinor matrices block by block and solve them."""
    start = np.concatenate([[0], np.cumsum(system.n_orb)])
    n = int(start[-1])

    def assembled(operator: str) -> np.ndarray:
        full = np.zeros((2, n, 2, n), dtype=complex)
        for (i, j, R), blocks in directed(system.operator(operator)).items():
            pieces = spinor(blocks).reshape(2, blocks.shape[1], 2, blocks.shape[2])
            full[:, start[i] : start[i + 1], :, start[j] : start[j + 1]] += np.exp(2j * np.pi * k @ R) * pieces
        return full.reshape(2 * n, 2 * n)

    return scipy.linalg.eigh(assembled(name), assembled("overlap"), eigvals_only=True)


def test_levels_of_the_whole_mesh_equal_dense_matrices(synthetic_magnetic: LCAOSystem, filled: LCAOSystem) -> None:
    mesh = monkhorst_pack(tasks().bands.mesh)
    for system in (filled, synthetic_magnetic.with_meta(n_electrons=20.0)):
        levels = reference_levels(system)
        for q in (0, 7, 33, 63):
            dense = dense_levels(system, "hamiltonian", mesh[q])
            np.testing.assert_allclose(levels.energies[q], dense, atol=1e-8)


def test_time_reversal_halves_the_mesh_unless_an_operator_may_break_it(
    filled: LCAOSystem, synthetic_magnetic: LCAOSystem
) -> None:
    assert len(reference_levels(filled).k) == 36
    magnetic = synthetic_magnetic.operator("hamiltonian")
    assert len(reference_levels(filled, prediction=magnetic).k) == 64


def test_every_number_equals_plain_loops(filled: LCAOSystem) -> None:
    model = noisy(filled, scale_ev=0.01)
    levels = reference_levels(filled)
    found = band_errors(filled, model, levels)
    predicted = reference_levels(filled.with_operator("hamiltonian", model.values)).energies
    low, high = (levels.fermi + edge for edge in tasks().bands.window_ev)
    inside = [
        (q, b) for q, b in itertools.product(*map(range, predicted.shape)) if low <= levels.energies[q, b] <= high
    ]
    difference = [predicted[place] - levels.energies[place] for place in inside]
    ordered = sorted(difference)
    shift = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    error = [abs(d - shift) for d in difference]
    occupied = [e for e, place in zip(error, inside, strict=True) if levels.energies[place] <= levels.fermi]
    assert found.shift == pytest.approx(shift)
    assert found.mean == pytest.approx(np.mean(error))
    assert found.rms == pytest.approx(np.sqrt(np.mean(np.square(error))))
    assert found.max == pytest.approx(max(error))
    assert found.occupied == pytest.approx(np.mean(occupied))
    tops = [e[:, 19].max() for e in (predicted, levels.energies)]
    bottoms = [e[:, 20].min() for e in (predicted, levels.energies)]
    gaps = [max(0, bottom - top) for bottom, top in zip(bottoms, tops, strict=True)]
    assert found.gap == pytest.approx(gaps[0] - gaps[1])
    middle = [(np.sort(e.ravel())[20 * 64 - 1] + np.sort(e.ravel())[20 * 64]) / 2 for e in (predicted, levels.energies)]
    assert found.fermi == pytest.approx(middle[0] - shift - middle[1])


def test_a_shifted_hamiltonian_has_no_band_error(filled: LCAOSystem) -> None:
    moved = filled.operator("hamiltonian") + 1.5 * filled.operator("overlap")
    found = band_errors(filled, moved, reference_levels(filled))
    assert found.shift == pytest.approx(1.5)
    assert max(found.mean, found.max, abs(found.gap), abs(found.fermi)) < 1e-8
    assert not found.has_ghost


def test_electrons_follow_from_the_fermi_level_and_the_other_way_round(filled: LCAOSystem) -> None:
    levels = reference_levels(filled)
    again = reference_levels(filled.with_meta(n_electrons=None, fermi_energy_ev=levels.fermi))
    assert again.n_electrons == pytest.approx(20)
    with pytest.raises(InputError) as error:
        reference_levels(filled.with_meta(n_electrons=None, id="Si-1"))
    assert str(error.value) == (
        "Si-1 has neither a Fermi level nor a number of electrons, which band errors need; score with --no-bands"
    )


def levels_of(*energies: list[float]) -> ReferenceLevels:
    array = np.array(energies)
    n = len(array)
    return ReferenceLevels(np.zeros((n, 3)), np.arange(n), array, fermi=0.0, n_electrons=2.0, overlap_condition=1.0)


def test_a_level_without_a_partner_is_a_ghost() -> None:
    reference = levels_of([-4.0, -3.0, -2.0, -1.0, 1.0, 2.0], [-4.0, -3.0, -2.0, -1.0, 1.0, 2.0])
    predicted = reference.energies.copy()
    predicted[1] = [-4.0, -3.5, -3.0, -2.0, -1.0, 1.0]  # a level too many at -3.5, and all above move down one
    found = compare_levels(predicted, reference)
    assert found.ghosts_per_k == 0.5
    assert found.ghost_k_share == 0.5
    assert found.has_ghost


def test_one_band_far_off_its_median_is_outlying_even_if_it_finds_a_partner() -> None:
    row = [-4.0, -3.0, -2.0, -1.0, 1.0, 1.4]
    reference = levels_of(row, row)
    predicted = reference.energies.copy()
    predicted[0, 5] = 1.9
    predicted[1, 3:] = [-1.0, 1.0, 1.4]
    assert compare_levels(predicted, reference).ghost_k_share == 0.5


@given(
    st.lists(st.floats(0, 3), max_size=6).map(sorted),
    st.lists(st.floats(0, 3), max_size=6).map(sorted),
)
def test_as_many_levels_are_matched_as_can_be(predicted: list[float], reference: list[float]) -> None:
    near = [[abs(p - r) <= 0.3 for r in reference] for p in predicted]

    def most(p: int, used: frozenset[int]) -> int:
        if p == len(predicted):
            return 0
        takes = [1 + most(p + 1, used | {r}) for r in range(len(reference)) if near[p][r] and r not in used]
        return max([most(p + 1, used), *takes])

    lonely = unmatched(np.array(predicted), np.array(reference), 0.3)
    assert len(predicted) - int(lonely.sum()) == most(0, frozenset())

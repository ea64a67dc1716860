"""What a prediction is refused for, in the sentence the user sees."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from nextham_bench.coverage import check_reference, covered, matched

from nextham.core import LCAOSystem, OrbitalBasis, PairList
from nextham.exceptions import InputError
from nextham.testing import synthetic_system, zincblende

ADVICE = "complete it, or score what there is with --allow-partial (not ranked)"


def refusal(call) -> str:
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def test_missing_extra_and_duplicate_structures_are_listed() -> None:
    def check(**more):
        return covered(["a", "b", "c"], ["a", "b", "c", "d"], ["b", "b", "c", "x", "d"], **more)

    assert refusal(check) == (
        "the prediction does not cover the 3 structures to be scored: "
        f"1 missing (a); 1 extra (x); 1 duplicate (b); {ADVICE}"
    )
    found = check(allow_partial=True)
    assert (found.missing, found.extra, found.duplicate, found.n_scored) == (("a",), ("x",), ("b",), 2)
    assert not found.complete


def test_long_lists_are_cut() -> None:
    wanted = [f"s{n:02d}" for n in range(13)]
    text = refusal(lambda: covered(wanted, wanted, wanted[12:]))
    assert text == (
        "the prediction does not cover the 13 structures to be scored: "
        f"12 missing (s00, s01, s02, s03, s04, s05, s06, s07, s08, s09 and 2 more); {ADVICE}"
    )


def test_nothing_to_score_is_refused_even_as_a_part() -> None:
    text = refusal(lambda: covered(["a"], ["a"], ["b"], allow_partial=True))
    assert text == "the prediction has none of the 1 structures to be scored (a)"


def test_structures_of_the_reference_outside_the_subset_are_no_extras() -> None:
    assert covered(["a"], ["a", "b"], ["a", "b"]).complete


def test_a_reference_without_h0_is_refused(synthetic: LCAOSystem) -> None:
    text = refusal(lambda: check_reference(synthetic.without("h0")))
    assert text == ("the reference record synthetic has no h0; a score needs overlap, h0 and hamiltonian")


def test_other_atoms(synthetic: LCAOSystem) -> None:
    swapped = synthetic_system(zincblende("As", "Ga"), synthetic.basis)
    text = refusal(lambda: matched(synthetic, swapped, swapped.operator("hamiltonian")))
    assert text == "the prediction of synthetic has other atoms or another order of atoms (As Ga instead of Ga As)"


def test_another_basis(synthetic: LCAOSystem) -> None:
    other = synthetic_system(synthetic.structure(), OrbitalBasis.parse("Ga:2s2p2d As:2s2p1d"))
    text = refusal(lambda: matched(synthetic, other, other.operator("hamiltonian")))
    assert text == (
        "the prediction of synthetic is in the orbital basis As:2s2p1d Ga:2s2p2d, "
        "the reference in As:2s2p1d Ga:2s2p2d1f"
    )


def test_a_moved_structure(synthetic: LCAOSystem) -> None:
    moved = dataclasses.replace(synthetic, positions=synthetic.positions + np.array([[0.0, 0, 0], [0, 0, 0.03]]))
    text = refusal(lambda: matched(synthetic, moved, moved.operator("hamiltonian")))
    assert text == (
        "the prediction of synthetic is of another structure: positions differ by up to 0.03 Å and lattice vectors "
        "by up to 0 Å"
    )


def test_another_h0_definition(synthetic: LCAOSystem) -> None:
    other = synthetic.with_meta(h0_definition="neutral-atoms")
    text = refusal(lambda: matched(synthetic, other, other.operator("hamiltonian")))
    assert text == (
        "the prediction of synthetic is built on the H0 definition 'neutral-atoms', the reference has 'synthetic'"
    )


def test_numbers_that_are_not_finite(synthetic: LCAOSystem) -> None:
    values = np.array(synthetic.operators["hamiltonian"])
    values[0, 3] = np.nan
    values[1, 3] = values[2, 7] = np.inf
    bad = synthetic.operator("hamiltonian").with_values(values)
    text = refusal(lambda: matched(synthetic, synthetic, bad))
    assert text == "the prediction of synthetic has 2 values that are not finite numbers (NaN or infinite)"


def without_pair(system: LCAOSystem, p: int) -> LCAOSystem:
    keep = np.arange(system.pairs.n_pairs) != p
    return system.on(PairList.of_one(system.pairs.ij[keep], system.pairs.R[keep]))


def test_a_pair_too_few(synthetic: LCAOSystem) -> None:
    fewer = without_pair(synthetic, 5)
    where = f"({', '.join(map(str, synthetic.pairs.ij[5]))}, {synthetic.pairs.R[5].tolist()})"
    text = refusal(lambda: matched(synthetic, fewer, fewer.operator("hamiltonian")))
    assert text == (
        f"the prediction of synthetic lacks 1 of {synthetic.pairs.n_pairs} pairs, such as (i, j, R) = {where}; "
        "predict every pair of the reference, zeros included"
    )


def test_a_pair_too_many(synthetic: LCAOSystem) -> None:
    reference = without_pair(synthetic, 5)
    where = f"({', '.join(map(str, synthetic.pairs.ij[5]))}, {synthetic.pairs.R[5].tolist()})"
    text = refusal(lambda: matched(reference, synthetic, synthetic.operator("hamiltonian")))
    assert text == (
        f"the prediction of synthetic has blocks at (i, j, R) = {where} that the reference does not have; "
        "predict on the reference's own pair list"
    )


def test_pairs_that_are_zero_in_the_reference_may_be_absent_and_the_other_way_round(synthetic: LCAOSystem) -> None:
    values = np.array(synthetic.operators["hamiltonian"])
    values[:, synthetic.operator("h0").pair_of_value == 5] = 0
    empty = synthetic.with_operator("hamiltonian", values)
    fewer = without_pair(synthetic, 5)
    assert matched(empty, fewer, fewer.operator("hamiltonian")).pairs == synthetic.pairs
    assert matched(fewer, empty, empty.operator("hamiltonian")).pairs == fewer.pairs

"""Gauge MAE against plain loops, and what must leave it unchanged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from bench_oracle import plain_errors
from bench_predictions import noisy
from nextham_bench.measure import measured
from nextham_bench.metrics.gauge_mae import BREAKDOWNS, COLUMNS, PROTOCOLS, counted_pairs, gauge_errors, near_pairs
from nextham_bench.schema import GaugeMae
from nextham_bench.tables import Tables

from nextham.core import BlockMatrix, LCAOSystem, SpinLayout
from nextham.dft.engine import RunResult
from nextham.physics.symmetry import permuted, rehomed


def gauge_table(pairs: list[tuple[LCAOSystem, BlockMatrix]], protocol: str) -> GaugeMae:
    tables = Tables()
    for system, prediction in pairs:
        tables.add(measured(system, prediction, bands=False))
    return tables.gauge_mae()[protocol]


def prediction_of(system: LCAOSystem, column: str, model: BlockMatrix) -> BlockMatrix:
    return {"zero": 0.0 * model, "h0": system.operator("h0"), "model": model}[column]


def sparse(system: LCAOSystem) -> LCAOSystem:
    """Zero blocks where real data has them: S or H0 vanish at long distance, and one pair is empty in all three."""
    values = {name: np.array(v) for name, v in system.operators.items()}
    of_value = system.operator("overlap").pair_of_value
    order = np.argsort(system.distances)
    values["overlap"][:, np.isin(of_value, order[-9:])] = 0
    values["h0"][:, np.isin(of_value, order[-4:])] = 0
    values["hamiltonian"][:, np.isin(of_value, order[-2:])] = 0
    values["h0"][:, np.isin(of_value, order[-2:-1])] = 0.1
    for name, v in values.items():
        system = system.with_operator(name, v)
    return system


@pytest.fixture(params=["synthetic", "magnetic", "sparse", "real"])
def system(request: pytest.FixtureRequest) -> LCAOSystem:
    if request.param == "sparse":
        return sparse(request.getfixturevalue("synthetic"))
    names = {"synthetic": "synthetic", "magnetic": "synthetic_magnetic", "real": "alsb"}
    return request.getfixturevalue(names[request.param])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_number_equals_plain_loops_over_the_full_spinor_matrix(system: LCAOSystem, protocol: str) -> None:
    model = noisy(system)
    found = gauge_errors(system, model)
    total, tables = found.totals[protocol], found.tallies[protocol]
    for c, column in enumerate(COLUMNS):
        plain = plain_errors(system, prediction_of(system, column, model), protocol=protocol)
        assert found.shifts[column] == pytest.approx(plain["mu"], abs=1e-12)
        assert total.count == plain["count"]
        np.testing.assert_allclose(np.array(total.sums[c][:2]).T / total.count, plain["table"], atol=1e-13)
        assert np.mean(total.sums[c][2]) / total.count == pytest.approx(plain["overall"], abs=1e-13)
        assert set(tables) == set(BREAKDOWNS)
        for name in BREAKDOWNS:
            assert set(tables[name]) == set(plain["groups"][name]), name
            for label, (count, modulus, uu_real) in plain["groups"][name].items():
                tally = tables[name][label]
                assert tally.count == count, (name, label)
                assert tally.overall[c] == pytest.approx(modulus, abs=1e-9), (name, label)
                assert tally.uu_real[c] == pytest.approx(uu_real, abs=1e-9), (name, label)


def test_protocols_count_what_they_say(synthetic: LCAOSystem) -> None:
    system = sparse(synthetic)
    full, paper = (counted_pairs(system, p) for p in PROTOCOLS)
    assert (~full).sum() == 1  # empty in H, H0 and S
    assert (full & ~paper).sum() == 1  # H0 or H holds nothing else of its cell
    assert paper[~full].all()  # others do, so its zeros count there
    of_other_cells = system.pairs.R[system.operator("h0").pair_of_value].any(axis=1)
    home = system.with_operator("h0", np.where(of_other_cells, 0, system.operators["h0"]))
    np.testing.assert_array_equal(counted_pairs(home, "paper"), ~home.pairs.R.any(axis=1))


def test_the_paper_protocol_gives_what_the_published_evaluation_gives(
    example: Callable[[str], RunResult],
) -> None:
    """Gauge MAE of H0 and pairs that the published code's own evaluation has for the same files, meV."""
    for case, n_pairs, mae in (("MgO-rs-1", 436, 1.826490), ("AlP-zb-1", 230, 1.564810), ("SrSe-rs-1", 162, 1.049745)):
        system = example(case).system
        pairs = near_pairs(system)
        assert pairs.multiplicity.sum() == n_pairs
        table = gauge_table([(system, system.operator("h0"))], "paper")
        assert table.overall.h0.macro_mev == pytest.approx(mae, rel=1e-3)  # its shift is of the counted elements alone


def test_adding_a_multiple_of_the_overlap_changes_nothing(system: LCAOSystem) -> None:
    model = noisy(system)
    moved = model + 0.7 * system.operator("overlap")
    a, b = gauge_errors(system, model), gauge_errors(system, moved)
    assert b.shifts["model"] - a.shifts["model"] == pytest.approx(0.7)
    for protocol in PROTOCOLS:
        np.testing.assert_allclose(b.totals[protocol].sums, a.totals[protocol].sums, atol=1e-9)


def test_order_of_atoms_and_home_cells_change_nothing(synthetic_magnetic: LCAOSystem) -> None:
    system = synthetic_magnetic.with_operator("h0", synthetic_magnetic.operators["h0"])
    model = noisy(system)
    both = system.without("overlap").with_operator("hamiltonian", model.values)
    expected = gauge_errors(system, model)
    moves = ((lambda s: permuted(s, [1, 0]), PROTOCOLS), (lambda s: rehomed(s, [[1, 0, -2], [0, 3, 0]]), ("full",)))
    for move, protocols in moves:  # which cells a file holds depends on the home cells
        found = gauge_errors(move(system), move(both).operator("hamiltonian"))
        for protocol in protocols:
            for name, labels in expected.tallies[protocol].items():
                for label, tally in labels.items():
                    other = found.tallies[protocol][name][label]
                    assert other.count == tally.count
                    np.testing.assert_allclose(other.overall, tally.overall, rtol=1e-9, atol=1e-12)
                    np.testing.assert_allclose(other.uu_real, tally.uu_real, rtol=1e-9, atol=1e-12)


def test_baselines_and_a_perfect_prediction(synthetic: LCAOSystem) -> None:
    h0 = gauge_table([(synthetic, synthetic.operator("h0"))], "full")
    assert h0.overall.model == h0.overall.h0
    assert h0.overall.skill == 0
    zero = gauge_table([(synthetic, 0.0 * synthetic.operator("h0"))], "full")
    assert zero.overall.model == zero.overall.zero
    perfect = gauge_table([(synthetic, synthetic.operator("hamiltonian"))], "full")
    assert perfect.overall.model.macro_mev == pytest.approx(0, abs=1e-9)
    assert perfect.overall.skill == pytest.approx(1)
    assert perfect.spin_blocks["ud"].real.skill is None  # H0 has no error there


def test_a_known_perturbation_gives_the_known_score(synthetic: LCAOSystem) -> None:
    """±d on h_0 of one pair of blocks that hold no overlap: nothing to align, mean = d * share of elements."""
    s = np.array(synthetic.operators["overlap"])
    h = synthetic.operator("hamiltonian")
    far = int(np.argmax(synthetic.distances))
    where = h.pair_of_value == far
    s[:, where] = 0
    system = synthetic.with_operator("overlap", s)
    values = np.array(h.values)
    values[0, where] += 0.010
    table = gauge_table([(system, h.with_values(values))], "full")
    share = 2 * where.sum() / table.n_elements
    assert table.spin_blocks["uu"].real.model.macro_mev == pytest.approx(10 * share)
    assert table.spin_blocks["uu"].imag.model.macro_mev == pytest.approx(0, abs=1e-9)
    assert table.spin_blocks["ud"].real.model.macro_mev == pytest.approx(0, abs=1e-9)
    assert table.overall.model.macro_mev == pytest.approx(10 * share / 2)
    assert table.breakdowns["overlap"]["H-only"].uu_real.model.macro_mev == pytest.approx(10)


def test_macro_weighs_structures_and_micro_elements(synthetic: LCAOSystem, alsb: LCAOSystem) -> None:
    pairs = [(synthetic, noisy(synthetic)), (alsb, noisy(alsb))]
    table = gauge_table(pairs, "full")
    plain = [plain_errors(s, p, protocol="full") for s, p in pairs]
    overall, counts = [1000 * x["overall"] for x in plain], [x["count"] for x in plain]
    assert table.overall.model.macro_mev == pytest.approx(np.mean(overall))
    assert table.overall.model.micro_mev == pytest.approx(np.average(overall, weights=counts))
    assert table.breakdowns["element"]["Al"].n_structures == 1


def test_a_scalar_prediction_and_a_full_one_of_equal_numbers_score_alike(synthetic: LCAOSystem) -> None:
    model = noisy(synthetic)
    a = gauge_errors(synthetic, model)
    b = gauge_errors(synthetic, model.with_layout(SpinLayout.FULL))
    np.testing.assert_allclose(a.totals["full"].sums, b.totals["full"].sums)

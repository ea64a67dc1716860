"""Predictions that are right in another unit or convention are named, honest ones of any quality are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from bench_predictions import noisy
from nextham_bench.coverage import check_echo
from nextham_bench.measure import measured
from nextham_bench.recognise import Suspicion, check_suspicions

from nextham.core import BlockMatrix, LCAOSystem, SpinLayout
from nextham.dft.abacus.order import row_map
from nextham.exceptions import InputError
from nextham.units import HARTREE_EV, RYDBERG_EV

ADVICE = "stores hold eV, in the order and signs of docs/conventions.md"
ABACUS = "in ABACUS's orbital order and signs (m = 0, 1, -1, 2, -2, times (-1)^m)"


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def suspected(system: LCAOSystem, prediction: BlockMatrix) -> Suspicion:
    return measured(system, prediction, bands=False).suspicion


@pytest.mark.parametrize(
    ("factor", "what"),
    [
        (1 / RYDBERG_EV, "in Rydberg (1/13.6 of the reference)"),
        (1 / HARTREE_EV, "in Hartree (1/27.2 of the reference)"),
        (RYDBERG_EV, "13.6 times the reference, converted from Rydberg twice"),
        (HARTREE_EV, "27.2 times the reference, converted from Hartree twice"),
        (1000.0, "in meV (1000 times the reference)"),
    ],
)
@pytest.mark.parametrize("part", ["hamiltonian", "correction"])
def test_wrong_units_are_named(synthetic: LCAOSystem, factor: float, what: str, part: str) -> None:
    if part == "hamiltonian":
        prediction = factor * synthetic.operator("hamiltonian")
    else:
        prediction = synthetic.operator("h0") + factor * synthetic.correction
    found = suspected(synthetic, prediction)
    text = refusal(lambda: check_suspicions([found, found, Suspicion()], 3))
    assert text == f"the prediction is {what} in 2 of 3 structures; {ADVICE}"


def moved(matrix: BlockMatrix, index: list[np.ndarray], sign: list[np.ndarray]) -> BlockMatrix:
    """Orbital a of each atom becomes sign[a] times orbital index[a]: block by block."""
    values = np.array(matrix.values)
    for p in range(matrix.pairs.n_pairs):
        i, j = matrix.pairs.ij[p]
        block = matrix.block(p)[:, index[i]][:, :, index[j]] * np.outer(sign[i], sign[j])
        values[:, matrix.block_ptr[p] : matrix.block_ptr[p + 1]] = block.reshape(len(values), -1)
    return matrix.with_values(values)


def in_abacus_order(matrix: BlockMatrix) -> BlockMatrix:
    """As a reader of ABACUS's files that forgot to convert would write it, by the parser's own map."""
    rows = row_map(matrix.basis, matrix.numbers)
    atoms = range(len(matrix.numbers))
    return moved(matrix, [rows.place[rows.atom == a] for a in atoms], [rows.sign[rows.atom == a] for a in atoms])


def m_of(shells: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    l = np.concatenate([np.full(2 * l + 1, l) for l in shells])
    return l, np.concatenate([np.arange(-l, l + 1) for l in shells])


def per_shell(matrix: BlockMatrix, order: Callable[[int], list[int]], sign: Callable[[int], int]) -> BlockMatrix:
    index, signs = [], []
    for z in matrix.numbers.tolist():
        places, own, start = [], [], 0
        for l in matrix.basis.shells(z):
            places += [start + l + m for m in order(l)]
            own += [sign(m) for m in order(l)]
            start += 2 * l + 1
        index.append(np.array(places))
        signs.append(np.array(own))
    return moved(matrix, index, signs)


def ascending(l: int) -> list[int]:
    return list(range(-l, l + 1))


CONVENTIONS: dict[str, Callable[[BlockMatrix], BlockMatrix]] = {
    ABACUS: in_abacus_order,
    "with Condon-Shortley signs (-1)^m (SIESTA)": lambda x: per_shell(x, ascending, lambda m: -1 if m % 2 else 1),
    "with signs (-1)^m for m > 0 (FHI-aims)": (
        lambda x: per_shell(x, ascending, lambda m: -1 if m % 2 and m > 0 else 1)
    ),
    "with p as x, y, z (PySCF)": (
        lambda x: per_shell(x, lambda l: [1, -1, 0] if l == 1 else ascending(l), lambda m: 1)
    ),
    "with m from l down to -l": lambda x: per_shell(x, lambda l: ascending(l)[::-1], lambda m: 1),
    "in OpenMX's orbital order (p as x, y, z; d as 3z²-1, x²-y², xy, xz, yz)": lambda x: per_shell(
        x,
        lambda l: [[0], [1, -1, 0], [0, 2, -2, 1, -1], [0, 1, -1, 2, -2, 3, -3]][l],
        lambda m: 1,
    ),
}


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("part", ["hamiltonian", "correction"])
def test_orbital_conventions_are_named(alsb: LCAOSystem, name: str, part: str) -> None:
    convert = CONVENTIONS[name]
    if part == "hamiltonian":
        prediction = convert(alsb.operator("hamiltonian"))
    else:
        prediction = alsb.operator("h0") + convert(alsb.correction)
    found = suspected(alsb, prediction)
    assert found.convention == name
    text = refusal(lambda: check_suspicions([found] * 2 + [Suspicion()], 3))
    assert text == f"the prediction is {name} in 2 of 3 structures; {ADVICE}"


def opposite_cell(matrix: BlockMatrix) -> BlockMatrix:
    """The block of (i, j, -R) stands at (i, j, R)."""
    where = {
        (*ij, *R): p for p, (ij, R) in enumerate(zip(matrix.pairs.ij.tolist(), matrix.pairs.R.tolist(), strict=True))
    }
    values = np.zeros_like(matrix.values)
    for (i, j, *R), p in where.items():
        minus = tuple(-x for x in R)
        if i == j:
            block = matrix.with_layout(SpinLayout.FULL).block(p).conj().swapaxes(1, 2)
            block = block if np.iscomplexobj(values) else np.stack([block[0].real, *(block[1:].imag)])[: len(values)]
        elif (i, j, *minus) in where:
            block = matrix.block(where[i, j, *minus])
        else:
            continue
        values[:, matrix.block_ptr[p] : matrix.block_ptr[p + 1]] = block.reshape(len(values), -1)
    return matrix.with_values(values)


def by_column(matrix: BlockMatrix) -> BlockMatrix:
    values = np.array(matrix.values)
    for p in range(matrix.pairs.n_pairs):
        block = matrix.block(p)
        values[:, matrix.block_ptr[p] : matrix.block_ptr[p + 1]] = [b.ravel(order="F") for b in block]
    return matrix.with_values(values)


def test_cells_and_columns_are_named(alsb: LCAOSystem) -> None:
    assert suspected(alsb, opposite_cell(alsb.operator("hamiltonian"))).convention == "with R of the opposite sign"
    assert suspected(alsb, by_column(alsb.operator("hamiltonian"))).convention == "with blocks column by column"
    both = in_abacus_order(opposite_cell(alsb.operator("hamiltonian")))
    assert suspected(alsb, both).convention == f"{ABACUS} and with R of the opposite sign"


@pytest.mark.parametrize("fraction", [-1.0, 0.0, 0.05, 0.5, 1.0, 2.0])
def test_honest_predictions_of_any_quality_are_not_suspected(
    synthetic: LCAOSystem, alsb: LCAOSystem, fraction: float
) -> None:
    for system in (synthetic, alsb):
        found = suspected(system, noisy(system, fraction=fraction))
        assert found == Suspicion()
        check_suspicions([found], 1)
    assert suspected(alsb, alsb.operator("h0")) == suspected(alsb, 0.0 * alsb.operator("h0")) == Suspicion()


def test_what_most_have_in_common_is_told_after_ten() -> None:
    odd, fine = Suspicion(unit="in Rydberg (1/13.6 of the reference)"), Suspicion()
    check_suspicions([odd] * 9, 3000)
    check_suspicions([odd] * 5 + [fine] * 5, 3000)
    assert "in 10 of 10 structures" in refusal(lambda: check_suspicions([odd] * 10, 3000))
    assert "in 1 of 1 structures" in refusal(lambda: check_suspicions([odd], 1))


# An overlap or H0 that a prediction carries itself.


def echoed(system: LCAOSystem, **changed: BlockMatrix) -> LCAOSystem:
    echo = system.without("hamiltonian")
    for name, matrix in changed.items():
        echo = echo.with_operator(name, matrix.values)
    return echo


def test_an_echo_of_the_reference_is_welcome_also_in_single_precision(alsb: LCAOSystem) -> None:
    check_echo(alsb, echoed(alsb))
    single = {
        name: alsb.operator(name).with_values(
            alsb.operators[name].astype(np.complex64 if np.iscomplexobj(alsb.operators[name]) else np.float32)
        )
        for name in ("overlap", "h0")
    }
    check_echo(alsb, echoed(alsb, **single))
    check_echo(alsb, alsb.without("overlap", "h0", "hamiltonian"))


def test_an_echo_in_another_convention_is_named(alsb: LCAOSystem) -> None:
    text = refusal(lambda: check_echo(alsb, echoed(alsb, overlap=in_abacus_order(alsb.operator("overlap")))))
    assert text.startswith(
        f"the prediction of {alsb.ids[0]} carries another overlap than the reference: it differs by "
    )
    assert text.endswith(f"; it is {ABACUS}, and {ADVICE}")
    text = refusal(lambda: check_echo(alsb, echoed(alsb, h0=(1 / RYDBERG_EV) * alsb.operator("h0"))))
    assert text.endswith(f"; it is in Rydberg (1/13.6 of the reference), and {ADVICE}")


SPINS = {
    "with spin down before spin up": [1, 1, -1, -1],
    "with σ_y of the opposite sign (↑↓ and ↓↑ exchanged)": [1, 1, -1, 1],
    "with h_z of the opposite sign": [1, 1, 1, -1],
    "with the whole spin vector of the opposite sign": [1, -1, -1, -1],
}


@pytest.mark.parametrize("name", SPINS)
def test_an_echo_in_another_order_of_spins_is_named(alsb: LCAOSystem, name: str) -> None:
    h0 = alsb.operator("h0")
    wrong = h0.with_values(h0.values * np.array(SPINS[name])[:, None])
    text = refusal(lambda: check_echo(alsb, echoed(alsb, h0=wrong)))
    assert text.endswith(f"; it is {name}, and {ADVICE}")


def test_an_echo_that_nothing_explains(alsb: LCAOSystem) -> None:
    rng = np.random.default_rng(0)
    h0 = alsb.operator("h0")
    other = h0.with_values(h0.values + 0.1 * rng.normal(size=h0.values.shape))
    text = refusal(lambda: check_echo(alsb, echoed(alsb, h0=other)))
    assert " eV at (i, j, R) = (" in text
    assert text.endswith("; predict with the reference's own h0, or leave it out")

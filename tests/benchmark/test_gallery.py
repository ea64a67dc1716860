"""The gallery shows the ghosts that the metric counts, and the condition of the overlap."""

from __future__ import annotations

import re

import numpy as np
import pytest
from bench_predictions import noisy
from board_cases import crystal
from nextham_bench.measure import measured
from nextham_bench.report.band_plot import PathLevels, band_overlay, ghost_plate
from nextham_bench.report.store_figures import worst_ghosts
from nextham_bench.schema import Scores, StructureRow
from nextham_bench.tables import Tables

from nextham.core import BlockMatrix, LCAOSystem
from nextham.physics.bands import eigenproblem


@pytest.fixture(scope="module")
def haunted() -> tuple[LCAOSystem, BlockMatrix, StructureRow]:
    system = crystal(0)
    prediction = noisy(system, scale_ev=0.3)
    tables = Tables()
    tables.add(measured(system, prediction))
    return system, prediction, tables.rows[0]


def test_levels_are_shifted_as_the_score_was(haunted: tuple[LCAOSystem, BlockMatrix, StructureRow]) -> None:
    system, prediction, row = haunted
    levels = PathLevels.of(system, prediction, row)
    assert levels is not None
    assert row.bands is not None
    assert row.reference is not None
    plain = eigenproblem(system.with_operator("hamiltonian", prediction.values), levels.path.k).energies
    shifted = plain - row.reference.fermi_ev - row.bands["model"].shift_mev / 1000
    np.testing.assert_allclose(levels.energies["model"], shifted, atol=1e-8)
    s = eigenproblem(system, levels.path.k).overlap_range
    np.testing.assert_allclose(levels.condition, s[:, 1] / s[:, 0])


def test_ghosts_are_marked_and_counted(haunted: tuple[LCAOSystem, BlockMatrix, StructureRow]) -> None:
    system, prediction, row = haunted
    levels = PathLevels.of(system, prediction, row)
    assert levels is not None
    ghosts = levels.ghosts()
    assert ghosts.any()
    for q, b in np.argwhere(ghosts):  # each is a level of the window that has no free level within 0.3 eV
        true, energy = levels.energies["reference"][q], levels.energies["model"][q, b]
        near = (np.abs(true - energy) <= 0.3).sum()
        rivals = (np.abs(levels.energies["model"][q] - energy) <= 0.6).sum()
        assert near < rivals
    text = ghost_plate(levels, id="GaAs-0", formula="GaAs", key="x")
    said = re.search(r'aria-label="([^"]*)"', text)
    assert said is not None
    assert f"{int(ghosts.sum())} ghost levels on {len(levels.path.x)} k points" in said[1]
    assert f"cond(S(k)) up to {levels.condition.max():.3g}" in said[1]
    assert "var(--ghost)" in text
    assert "var(--ghost)" not in band_overlay(levels, id="GaAs-0", formula="GaAs", key="x")


def test_the_worst_come_first(haunted: tuple[LCAOSystem, BlockMatrix, StructureRow], case) -> None:
    base, row = case.scores["good"], haunted[2]
    assert row.bands is not None
    worse = row.model_copy(
        update={
            "id": "worse",
            "bands": row.bands | {"model": row.bands["model"].model_copy(update={"ghosts_per_k": 9.0})},
        }
    )
    clean = row.bands["model"].model_copy(update={"ghosts_per_k": 0.0, "ghost_k_share": 0.0})
    none = row.model_copy(update={"id": "none", "bands": row.bands | {"model": clean}})
    scores: Scores = base.model_copy(update={"structures": (none, row, worse)})
    assert [one.id for one, _ in worst_ghosts(scores, 4)] == ["worse", "GaAs-0"]
    assert [one.id for one, _ in worst_ghosts(scores, 1)] == ["worse"]
    other = row.model_copy(update={"id": "other", "formula": "Si2"})
    scores = base.model_copy(update={"structures": (row, other, worse)})
    assert [one.id for one, _ in worst_ghosts(scores, 4)] == ["worse", "other", "GaAs-0"]  # another crystal first


def test_a_crystal_without_a_standard_path_has_no_plate(
    haunted: tuple[LCAOSystem, BlockMatrix, StructureRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nextham.exceptions import InputError

    def refuse(*_args: object, **_settings: object) -> None:
        raise InputError("no path")

    monkeypatch.setattr("nextham_bench.report.band_plot.band_path", refuse)
    assert PathLevels.of(*haunted) is None

"""Chunks of equal cost; what was computed keeps its chunk whatever becomes of the source."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fake_engine import write_crystals
from hypothesis import example, given
from hypothesis import strategies as st
from made_campaign import RESULTS, assignment, planned, run

from nextham.campaign.items import Item, read_chunk
from nextham.campaign.packing import packed
from nextham.campaign.plan import Plan, Shape, chunk_of
from nextham.campaign.runs import found_in, with_origin
from nextham.campaign.settings import CampaignSettings
from nextham.core import OrbitalBasis
from nextham.dft.cost import ABACUS_COST, LCAO_COST, Size, size_of
from nextham.dft.engine import RunResult
from nextham.dft.lcao.memory import estimate_memory
from nextham.dft.lcao.plan import load_crystal
from nextham.dft.lcao.settings import LCAOSettings
from nextham.dft.species.source import embedded_species
from nextham.exceptions import InputError
from nextham.structures.extxyz import write_extxyz
from nextham.structures.sourced import Sourced
from nextham.testing import synthetic_system, zincblende

costs = st.lists(st.floats(0, 1e4), min_size=1, max_size=60)


@given(costs, st.floats(1, 1e5), st.integers(1, 20))
@example([0.0, 0.0, 3.0], 1.0, 2)  # what cannot be read costs nothing
def test_each_item_is_in_one_chunk_and_none_is_too_long_or_much_too_dear(costs, capacity, most):
    chunks = packed(costs, capacity=capacity, most=most)
    assert sorted(k for chunk in chunks for k in chunk) == list(range(len(costs)))
    assert all(0 < len(chunk) <= most for chunk in chunks)
    mean, longest = sum(costs) / len(chunks), max(sum(costs[k] for k in chunk) for chunk in chunks)
    if most >= len(costs):
        assert longest <= mean + max(costs) + 1e-6  # of any greedy schedule


def test_chunks_by_cost_are_more_even_than_by_number():
    sizes = [1.0] * 30 + [20.0] * 6
    sums = [sum(sizes[k] for k in chunk) for chunk in packed(sizes, capacity=50, most=30)]
    assert max(sums) / min(sums) < 1.1


def test_the_cost_of_a_structure_follows_from_orbitals_k_points_and_volume():
    crystal, species = zincblende(), embedded_species()
    size = size_of(crystal, LCAOSettings(kmesh=(4, 4, 4)), lambda names: species.files(names, id="x"))
    assert (size.n_orb, size.n_k) == (26, 64)
    assert size.volume_ang3 == pytest.approx(crystal.volume)
    assert LCAO_COST.seconds(size) == pytest.approx(1.8 + 2.4 * crystal.volume / 100 + 0.245 * 64 * 26**3 / 1e6)
    double = Size(2 * size.n_orb, size.n_k, 2 * size.volume_ang3)
    eigen = ABACUS_COST.seconds(double) - ABACUS_COST.seconds(size)
    assert eigen > 7 * ABACUS_COST.eigen_s * size.n_k * size.n_orb**3 / 1e6


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_a_job_asks_for_the_memory_that_the_engine_will_take(copies):
    crystal, species, settings = zincblende(), embedded_species(), LCAOSettings()
    from nextham.core import Structure

    cells = [i * crystal.cell[0] + j * crystal.cell[1] for i in range(copies) for j in range(copies)]
    positions = [site + cell for cell in cells for site in crystal.positions]
    large = Structure(list(crystal.numbers) * len(cells), positions, crystal.cell * [[copies], [copies], [1]])
    size = size_of(large, settings, lambda names: species.files(names, id="x"))
    need = estimate_memory(load_crystal(large, species, id="x"), settings, size.n_k // 2 + 1).total / 2**20
    assert need < LCAO_COST.memory_mb(size) < 4 * need


def shape(**campaign) -> Shape:
    return Shape(CampaignSettings(**{"cores": 8, "chunk_minutes": 10, **campaign}), most=100, ranks=8)


def test_a_small_structure_has_a_core_and_a_large_one_ranks():
    few = chunk_of("00000", [Item("a", cost_s=60, memory_mb=500), Item("b", cost_s=60, memory_mb=900)], shape())
    assert (few.cores, few.tasks, few.memory_mb, few.minutes) == (2, 1, 1800, 1)
    large = chunk_of("00001", [Item("c", cost_s=2400, memory_mb=5000)], shape())
    assert (large.cores, large.tasks, large.mpi) == (6, 6, "srun")
    assert large.minutes < 10
    assert large.limit_minutes(2) == 2 * large.limit_minutes(1) > 6 * large.minutes
    alone = chunk_of("00001", [Item("c", cost_s=2400)], Shape(CampaignSettings(), most=9, ranks=1))
    assert (alone.tasks, alone.mpi) == (1, "")


def test_large_structures_have_jobs_of_their_own(place):
    plan = planned("a", "b", "c", chunk_minutes=0.1)  # less than one takes
    assert [plan[name].n for name in plan] == [1, 1, 1]
    assert [plan[name].n for name in planned("a", "b", "c", chunk_minutes=10)] == [3]
    assert sorted(path.name for path in Path("results/campaign/chunks").iterdir()) == ["00000.json"]


def test_crystals_come_back_bit_by_bit(place):
    plan = planned("a", "b")
    from nextham.structures.files import read_structure

    for item in plan.items_of("00000"):
        crystal = read_structure(f"crystals/{item.id}.vasp")
        assert item.crystal.positions.tolist() == crystal.positions.tolist()
        assert item.crystal.cell.tolist() == crystal.cell.tolist()


def test_what_was_computed_keeps_its_chunk(place):
    run(planned("a", "b"))
    plan = planned("a", "b", "c", "d", most=2)
    assert {name: [item.id for item in plan.items_of(name)] for name in plan} == {
        "00000": ["a", "b"],
        "00001": ["c", "d"],
    }
    assert plan.folder.receipt("00000").is_file()
    plan = planned("b", "d", most=1)  # a is gone, c too; 00001 was not begun
    assert {name: [item.id for item in plan.items_of(name)] for name in plan} == {"00000": ["b"], "00001": ["d"]}
    assert not plan.folder.receipt("00000").exists()  # its store holds too much


def test_files_that_did_not_change_are_not_read_again(place, monkeypatch):
    planned("a", "b")
    write_crystals(Path("crystals"), "b")
    read = []

    def found_in(path):
        from nextham.campaign.runs import found_in

        read.append(path.name)
        return found_in(path)

    monkeypatch.setattr("nextham.campaign.source.found_in", found_in)
    plan = planned()
    assert read == ["b.vasp"]
    assert [item.id for item in plan.items_of("00000")] == ["a", "b"]


def test_one_bad_file_costs_its_structure_alone(place):
    write_crystals(Path("crystals"), "a")
    Path("crystals/bad.vasp").write_text("no crystal")
    plan = planned()
    bad = {item.id: item.problem for item in read_chunk(plan.folder, "00000")}
    assert bad["a"] == ""
    assert "bad.vasp is not a complete POSCAR file" in bad["bad"]
    assert run(plan).failed == {"bad-input": 1}


def test_two_structures_of_one_id_are_refused(place):
    write_crystals(Path("crystals"), "a")
    os.link("crystals/a.vasp", "crystals/a.poscar")
    with pytest.raises(InputError, match=r"crystals/a.vasp and crystals/a.poscar are both called a; rename one"):
        planned()


@pytest.mark.parametrize("damage", ["", "{", '{"00000": {"n": 1}}'])
def test_a_damaged_plan_is_told(place, damage):
    plan = planned("a")
    plan.folder.plan.write_text(damage)
    with pytest.raises(InputError, match=r"results/campaign/plan.json is damaged .*plan again: nextham campaign plan"):
        Plan(plan.folder)["00000"]


def test_an_unknown_chunk_is_told(place):
    with pytest.raises(InputError, match=r"results/campaign/plan.json has no chunk 00007"):
        planned("a")["00007"]
    assert assignment().folder.results == RESULTS


def test_a_structure_keeps_its_source_and_licence(tmp_path):
    write_extxyz(tmp_path / "a.extxyz", [Sourced("x", zincblende(), "Materials Project mp-1", "CC-BY-4.0")])
    (found,) = found_in(tmp_path / "a.extxyz")
    item = Item("x", found.crystal, origin=found.origin)
    assert Item.of_json(json.loads(json.dumps(item.as_json()))) == item
    system = synthetic_system(zincblende(), OrbitalBasis.parse("Ga:1s As:1s"), cutoff_ang=3.0)
    made = with_origin(lambda: RunResult(system), item.origin).system.meta[0]
    assert (made.source, made.licence) == ("Materials Project mp-1", "CC-BY-4.0")

"""The page of a dataset: its numbers against plain counting, and a page that is whole and offline."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
from nextham_bench.cli import app
from nextham_bench.dataset_facts import crystal_system, dataset_facts
from nextham_bench.report.dataset_page import write_dataset_page
from typer.testing import CliRunner

from nextham.core import OrbitalBasis, PairList, SpinLayout
from nextham.data.checks import certify
from nextham.data.record import encode
from nextham.data.settings import CheckSettings, StoreSettings
from nextham.data.store import Store
from nextham.data.writer import StoreWriter
from nextham.exceptions import InputError
from nextham.physics.align import aligned
from nextham.physics.spin import to_spin_blocks
from nextham.testing import synthetic_system, zincblende

LOOSE = CheckSettings(norm_tolerance=1.0, label_decay_inv_ang=None, overlap_min=-10.0)


@pytest.fixture(scope="module")
def systems():
    made = []
    for k, (a, b) in enumerate((("Ga", "As"), ("Ga", "P"), ("Al", "As"))):
        basis = OrbitalBasis.parse(f"{a}:2s1p {b}:2s1p1d")
        system = synthetic_system(zincblende(a, b, rattle_ang=0.02 * k), basis, id=f"{a}{b}-B3-{k}", seed=k)
        times = {"h0_wall_s": 1.0 + k, "scf_wall_s": 20.0, "h0_cpu_s": 2.0, "scf_cpu_s": 60.0} if k else {}
        made.append(system.with_meta(n_electrons=8.0, scf_steps=9 + k, **times))
    return made


@pytest.fixture(scope="module")
def store(systems, tmp_path_factory):
    path = tmp_path_factory.mktemp("dataset") / "crystals"
    with StoreWriter(path) as writer:
        for system in systems:
            writer.add_record(encode(system, StoreSettings(), certificate=certify(system, settings=LOOSE)))
            writer.ledger.success(system.ids[0], "scf")
        writer.ledger.failure("GaSb-B3-0", "scf", "unconverged", "GaSb-B3-0 <b>did not</b> converge")
        writer.ledger.failure("GaSb-B3-1", "scf", "unconverged", "GaSb-B3-1 did not converge")
        writer.ledger.failure("mp-149", "check", "labels", "mp-149: the positions are not those of S")
    return Store(path)


@pytest.fixture(scope="module")
def facts(store):
    return dataset_facts(store)


def test_counts_yield_and_causes(facts):
    assert (facts.n_structures, facts.n_failed, facts.unknown_failed, facts.n_compositions) == (3, 3, 1, 3)
    rows = {row.element: row for row in facts.elements}
    assert {name: (row.n_structures, row.n_failed) for name, row in rows.items()} == {
        "Al": (1, 0),
        "P": (1, 0),
        "Ga": (2, 2),
        "As": (2, 0),
        "Sb": (0, 2),
    }
    assert rows["Ga"].causes == {"unconverged": 2}
    assert [(row.cause, row.count) for row in facts.causes] == [("unconverged", 2), ("labels", 1)]
    assert facts.causes[0].meaning == "self-consistency was not reached"
    assert facts.causes[1].meaning.startswith("fails the check: positions are folded")


def test_crystals_and_sizes(facts, systems):
    assert facts.crystal_systems["cubic"] == 1
    assert sum(facts.crystal_systems.values()) == sum(facts.space_groups.values()) == 3
    assert {row.id: (row.n_atoms, row.n_orb, row.n_pairs) for row in facts.structures} == {
        s.ids[0]: (2, int(s.n_orb.sum()), s.pairs.n_pairs) for s in systems
    }
    assert [crystal_system(f"x ({n})") for n in (1, 3, 16, 75, 143, 168, 195, 230, 231)] == [
        "triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic", "cubic", "unknown",
    ]  # fmt: skip


def test_quality_of_h0_by_element_is_a_plain_mean(facts, systems):
    """Every listed off-site pair stands for two blocks; on site each pair is an atom."""
    touching: dict[str, list[float]] = {}
    onsite: dict[str, list[float]] = {}
    for system in systems:
        error = aligned(system.correction, system.operator("overlap"))[0]
        real = np.abs(to_spin_blocks(error.values)[0].real) * 1e3
        pairs: PairList = system.pairs
        for z in set(system.numbers.tolist()):
            touches = (system.numbers[pairs.ij] == z).any(axis=1)
            for mask, out in ((touches, touching), (touches & pairs.onsite, onsite)):
                weight = (mask * pairs.multiplicity)[error.pair_of_value]
                out.setdefault({13: "Al", 15: "P", 31: "Ga", 33: "As"}[z], []).append(
                    float((real * weight).sum() / weight.sum())
                )
    for row in facts.elements:
        if row.n_structures:
            assert row.touching_mev == pytest.approx(np.mean(touching[row.element]), rel=1e-6)
            assert row.onsite_mev == pytest.approx(np.mean(onsite[row.element]), rel=1e-6)
        else:
            assert row.onsite_mev is None
    assert SpinLayout.of(systems[0].operators["h0"]) is SpinLayout.TIME_REVERSAL


def test_cost_of_h0(facts, store):
    assert facts.cost is not None
    assert (facts.cost.n_structures, facts.cost.h0_wall_s, facts.cost.scf_wall_s) == (2, 5.0, 40.0)
    assert facts.cost.share == pytest.approx(0.125)
    assert facts.cost.median_share == pytest.approx((0.1 + 0.15) / 2)
    assert facts.cost.cpu_share == pytest.approx(4 / 120)


def test_a_sample_reads_fewer_matrices(store):
    assert dataset_facts(store, sample=1).n_measured == 1
    none = dataset_facts(store, sample=0)
    assert none.n_measured == 0
    assert all(row.onsite_mev is None for row in none.elements)


def test_the_page_is_whole_offline_and_escaped(facts, tmp_path):
    write_dataset_page(facts, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    addresses = re.findall(r"(?:href|src)=\"([^\"]*)\"", text)
    assert addresses
    assert all(a.startswith(("#", "data:")) for a in addresses)
    assert "<b>did not</b>" not in text
    assert "&lt;b&gt;did not&lt;/b&gt;" in text
    ids = re.findall(r"\bid=\"([^\"]+)\"", text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"href=\"#([a-z0-9]+)\"", text.partition("<nav")[2].partition("</nav>")[0])) <= set(ids)
    assert all("aria-label" in svg for svg in re.findall(r"<svg[^>]*>", text))
    for words in ("Yield", "50.0 %", "Cost of H0", "12.5 %", "unconverged"):
        assert words in text
    assert json.loads((tmp_path / "page.json").read_text())["n_failed"] == 3
    rows = list(csv.DictReader(io.StringIO((tmp_path / "page.csv").read_text())))
    assert [row["id"] for row in rows] == [row.id for row in facts.structures]


def test_a_bare_store_has_a_page_too(systems, tmp_path):
    with StoreWriter(tmp_path / "bare") as writer:
        writer.add(systems[0].without("hamiltonian", "h0"))
    result = CliRunner().invoke(app, ["dataset", str(tmp_path / "bare"), "-o", str(tmp_path / "page.html")])
    assert result.exit_code == 0, result.exception
    text = (tmp_path / "page.html").read_text()
    for words in (
        "No structure tells its gap",
        "No structure has both H and H0",
        "The records do not tell how long",
        "No structure in the ledger failed",
    ):
        assert words in text


def test_json_alone_and_an_empty_store(store, tmp_path):
    result = CliRunner().invoke(app, ["dataset", str(store.path), "--json", "--sample", "0"])
    assert json.loads(result.stdout)["n_structures"] == 3
    with StoreWriter(tmp_path / "empty", allow_empty=True):
        pass
    result = CliRunner().invoke(app, ["dataset", str(tmp_path / "empty"), "-o", str(tmp_path / "p.html")])
    assert isinstance(result.exception, InputError)
    assert str(result.exception).endswith("holds no structure")
    assert not (tmp_path / "p.html").exists()

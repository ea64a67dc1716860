"""The report page: whole, offline, readable without eyes, safe with any name."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from bench_predictions import noisy
from html_page import Page, checked
from nextham_bench.report.page import write_report
from nextham_bench.schema import Scores
from nextham_bench.score import Request, score

from nextham.core import LCAOSystem, OrbitalBasis
from nextham.data.store import StoreWriter
from nextham.exceptions import InputError
from nextham.testing import synthetic_system, zincblende

EVIL = '<script>alert("1")</script>'


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("report")
    with StoreWriter(folder / "reference") as reference, StoreWriter(folder / "prediction") as prediction:
        for n in range(2):
            system = crystal(n)
            reference.add(system)
            hamiltonian = noisy(system, seed=n).values
            prediction.add(system.without("overlap", "h0").with_operator("hamiltonian", hamiltonian))
    return folder / "reference", folder / "prediction"


def crystal(n: int) -> LCAOSystem:
    basis = OrbitalBasis.parse("Ga:1s1p As:1s1p1d")
    system = synthetic_system(zincblende(rattle_ang=0.02), basis, id=f"GaAs-{n}", seed=n, cutoff_ang=4.0)
    return system.with_meta(n_electrons=8.0)


@pytest.fixture(scope="module")
def page(stores: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    reference, prediction = stores
    path = tmp_path_factory.mktemp("page") / "deep" / "index.html"
    scores = [
        score(Request(reference=reference, baseline="h0")),
        score(Request(reference=reference, prediction=prediction, name=f"ours {EVIL}")),
    ]
    write_report(scores, path, reference=reference, prediction=prediction)
    assert (path.parent / "table.md").read_text().count("| overall |") == 2
    assert sorted(p.name for p in path.parent.iterdir()) == ["index.html", "table.md"]
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(page: str) -> Page:
    return checked(page)


def test_every_figure_says_in_words_what_it_shows(parsed: Page) -> None:
    kinds = [label.partition(" ")[0] for label in parsed.labels]
    assert sorted(kinds) == ["Band", "Band", "Error", "Predicted"]  # overlays of both, distance, parity
    assert any(label.startswith("Band structure of GaAs-") for label in parsed.labels)
    assert "No structure has a ghost state" in parsed.words


def test_names_cannot_inject_markup(page: str, parsed: Page) -> None:
    assert EVIL not in page
    assert EVIL in parsed.words


def test_the_page_carries_its_numbers(parsed: Page, stores: tuple[Path, Path]) -> None:
    assert list(parsed.downloads) == ["scores.json", "structures.csv", "table.md"]
    scores = Scores.model_validate_json(parsed.downloads["scores.json"])
    rows = list(csv.DictReader(parsed.downloads["structures.csv"].splitlines()))
    assert [row["id"] for row in rows] == ["GaAs-0", "GaAs-1"]
    mean = sum(float(row["overall_model_mev"]) for row in rows) / 2
    assert mean == pytest.approx(scores.headline.overall.model.macro_mev)


def test_the_page_names_what_was_scored(parsed: Page) -> None:
    for word in ("H0 (baseline)", "paper", "full", "Skill over H0", "GaAs-1", "metric version", "reference sha256"):
        assert word in parsed.words


def test_the_page_needs_no_stores(stores: tuple[Path, Path], tmp_path: Path) -> None:
    write_report([score(Request(reference=stores[0], baseline="zero", bands=False))], tmp_path / "index.html")
    page = checked((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "Colour by" in page.words
    assert "no structure has a ghost state" not in page.words.lower()  # nobody looked


def test_stores_and_scores_that_do_not_belong_together(stores: tuple[Path, Path], tmp_path: Path) -> None:
    reference, prediction = stores
    with StoreWriter(tmp_path / "other") as writer:
        writer.add(crystal(7))
    ours = score(Request(reference=reference, prediction=prediction, name="ours", bands=False))
    other = score(Request(reference=tmp_path / "other", baseline="h0", bands=False))
    out = tmp_path / "index.html"
    with pytest.raises(InputError) as error:
        write_report([ours, other], out)
    assert str(error.value) == ("h0 was scored on other data than ours (dataset hashes differ); report them apart")
    with pytest.raises(InputError) as error:
        write_report([ours], out, reference=reference, prediction=reference)
    assert str(error.value) == f"{reference} is not the prediction that ours scores (hashes differ)"
    with pytest.raises(InputError, match="does not hold GaAs-0, which ours was scored on; give that reference"):
        write_report([ours], out, reference=tmp_path / "other", prediction=prediction)
    assert not out.exists()

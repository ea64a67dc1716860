"""The report page: whole, offline, readable without eyes, safe with any name."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bench_predictions import noisy
from nextham_bench.report.page import write_report
from nextham_bench.score import Request, score

from nextham.core import LCAOSystem, OrbitalBasis
from nextham.data.store import StoreWriter
from nextham.exceptions import InputError
from nextham.testing import synthetic_system, zincblende

VOID = {"meta", "link", "br", "img", "hr", "input", "path", "use", "rect", "image", "circle", "line"}
EVIL = '<script>alert("1")</script>'


class Page(HTMLParser):
    """Checks that tags balance, and collects what a browser would fetch and what a screen reader would say."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.labels: list[str] = []
        self.unlabelled: list[str] = []
        self.ids: list[str] = []
        self.scripts = 0
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self._look(tag, dict(attrs))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look(tag, dict(attrs))

    def _look(self, tag: str, attrs: dict[str, str | None]) -> None:
        self.scripts += tag == "script"
        self.addresses += [v or "" for k, v in attrs.items() if k in {"href", "src", "xlink:href", "action", "data"}]
        if tag in {"svg", "img"}:
            label = attrs.get("aria-label") or attrs.get("alt")
            (self.labels if label else self.unlabelled).append(label or tag)
        if attrs.get("id"):
            self.ids.append(str(attrs["id"]))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


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
    found = Page()
    found.feed(page)
    found.close()
    return found


def test_the_page_is_well_formed_html(page: str, parsed: Page) -> None:
    assert parsed.open == []
    assert page.startswith("<!doctype html>")
    assert 'name="viewport"' in page
    assert len(parsed.ids) == len(set(parsed.ids))


def test_nothing_is_fetched_from_anywhere(page: str, parsed: Page) -> None:
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in parsed.addresses)
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    targets = {address[1:] for address in parsed.addresses if address.startswith("#")}
    assert targets <= set(parsed.ids)


def test_every_figure_says_in_words_what_it_shows(parsed: Page) -> None:
    assert parsed.unlabelled == []
    assert len(parsed.labels) == 4  # parity, distance, bands of the two structures
    assert any(label.startswith("Band structure of GaAs-") for label in parsed.labels)


def test_names_cannot_inject_markup(page: str, parsed: Page) -> None:
    assert EVIL not in page
    assert parsed.scripts == 0
    assert any(EVIL in text for text in parsed.text)


def test_the_page_names_what_was_scored(parsed: Page) -> None:
    text = " ".join(parsed.text)
    for word in ("H0 (baseline)", "paper", "full", "Skill over H0", "GaAs-1", "metric version", "reference sha256"):
        assert word in text


def test_the_page_needs_no_stores(stores: tuple[Path, Path], tmp_path: Path) -> None:
    write_report([score(Request(reference=stores[0], baseline="zero", bands=False))], tmp_path / "index.html")
    assert "<h2>Elements</h2>" in (tmp_path / "index.html").read_text()


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

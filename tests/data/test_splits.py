"""Splits cover the store, spread each composition, and are refused when ids or checksums disagree."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextham.console import load_settings
from nextham.data.draw import make_split, shortened
from nextham.data.settings import SplitSettings
from nextham.data.splits import Split
from nextham.exceptions import InputError


def manifest(n: int, n_formulas: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"s{k}" for k in range(n)],
            "reduced_formula": [f"F{k % n_formulas}" for k in range(n)],
            "elements": ["Si"] * n,
        }
    )


@given(n=st.integers(1, 60), n_formulas=st.integers(1, 9), seed=st.integers(0, 5))
def test_each_structure_is_in_one_split(n: int, n_formulas: int, seed: int) -> None:
    table = manifest(n, n_formulas)
    split = make_split(table, SplitSettings(seed=seed, fractions={"train": 0.7, "val": 0.1, "test": 0.2}))
    assert sorted(id for ids in split.ids.values() for id in ids) == sorted(table["id"])
    if n >= 3:
        assert all(split.ids.values())
    assert len(split["train"]) == pytest.approx(0.7 * n, abs=1.7)


def test_each_composition_is_spread() -> None:
    table = manifest(300, 3)
    split = make_split(table, SplitSettings(fractions={"train": 0.8, "val": 0.1, "test": 0.1}))
    formula = dict(zip(table["id"], table["reduced_formula"], strict=True))
    assert all(abs(n - 10) <= 1 for n in Counter(formula[id] for id in split["test"]).values())


@given(
    seed=st.integers(0, 20),
    formulas=st.lists(st.sampled_from(["Be S", "Si", "Ba Te", "Al P"]), min_size=4, max_size=20),
)
def test_every_element_is_trained_on(seed: int, formulas: list[str]) -> None:
    table = pd.DataFrame(
        {"id": [f"s{k}" for k in range(len(formulas))], "reduced_formula": formulas, "elements": formulas}
    )
    fractions = {"train": 0.6, "val": 0.2, "test": 0.2}
    split = make_split(table, SplitSettings(seed=seed, fractions=fractions))
    elements = dict(zip(table["id"], (set(f.split()) for f in formulas), strict=True))
    turned = SplitSettings(seed=seed, fractions=dict(reversed(fractions.items())))
    assert make_split(table, turned).ids == split.ids
    seen = set().union(*(elements[id] for id in split["train"]))
    assert all(elements[id] <= seen for name in ("val", "test") for id in split[name])
    assert sorted(id for ids in split.ids.values() for id in ids) == sorted(elements)


def test_structures_are_exchanged_not_only_taken() -> None:
    formulas = ["Si"] * 8 + ["Ba Te", "C"]
    table = pd.DataFrame({"id": list("abcdefghij"), "reduced_formula": formulas, "elements": formulas})
    for seed in range(6):
        split = make_split(table, SplitSettings(seed=seed))
        assert [len(ids) for ids in split.ids.values()] == [8, 1, 1]
        assert {"i", "j"} <= set(split["train"])


def test_the_order_in_the_store_does_not_matter_but_the_seed_does() -> None:
    table = manifest(40)
    once = make_split(table, SplitSettings())
    assert make_split(table.iloc[::-1], SplitSettings()) == once
    assert make_split(table, SplitSettings(seed=1)) != once


def test_lists_from_files(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("# ours\ns1\ns0\n\n")
    (tmp_path / "test.txt").write_text("s3\n")
    files = {"train": tmp_path / "train.txt", "test": tmp_path / "test.txt"}
    split = make_split(manifest(5), SplitSettings(id_files=files))
    assert split.ids == {"train": ("s1", "s0"), "test": ("s3",)}
    (tmp_path / "test.txt").write_text("s0\n")
    with pytest.raises(InputError) as raised:
        make_split(manifest(5), SplitSettings(id_files=files))
    assert str(raised.value) == "the split lists s0 twice, in train and test; list each id once"
    (tmp_path / "test.txt").write_text("s33\ns44\n")
    with pytest.raises(InputError) as raised:
        make_split(manifest(5), SplitSettings(id_files=files, missing="refuse"))
    assert str(raised.value) == ("split test lists s33 (and 1 more), which the store does not hold; did you mean s3?")
    with pytest.raises(InputError, match=r"there is no list of ids .*nowhere\.txt"):
        make_split(manifest(5), SplitSettings(id_files={"train": tmp_path / "nowhere.txt"}))


def test_saved_and_loaded(tmp_path: Path) -> None:
    split = make_split(manifest(20))
    split.save(tmp_path / "deep" / "split.json")
    assert Split.load(tmp_path / "deep" / "split.json") == split
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["split.json"]


def test_edited_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    make_split(manifest(20)).save(path)
    content = json.loads(path.read_text())
    content["splits"]["test"][0] = "other"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as raised:
        Split.load(path)
    assert str(raised.value) == f"{path}: the ids of test do not agree with their sha256; make the split again"
    content["splits"]["test"] = content["splits"]["train"][:1]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"split\.json: the split lists s\d+ twice, in train and test"):
        Split.load(path)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"split\.json is not a split file \('splits'\); make one with nextham split"):
        Split.load(path)
    with pytest.raises(InputError, match="there is no split file"):
        Split.load(tmp_path / "x.json")


def test_an_unknown_subset() -> None:
    with pytest.raises(InputError) as raised:
        Split({"train": ("a",), "test": ()})["tset"]
    assert str(raised.value) == "there is no split 'tset'; there are train, test"


def test_bad_settings() -> None:
    with pytest.raises(InputError) as raised:
        load_settings(SplitSettings, '{"fraction": {"train": 1.0}}')
    assert str(raised.value) == "the given settings: fraction is not a setting; did you mean fractions?"
    with pytest.raises(InputError, match="must not be negative and must add up to 1"):
        load_settings(SplitSettings, '{"fractions": {"train": 0.5, "test": 0.6}}')


def crystals(formulas: dict[str, str], copies: int) -> pd.DataFrame:
    """A manifest of families of copies: crystal name to its elements."""
    rows = [(f"{name}-{k}", elements, elements) for name, elements in formulas.items() for k in range(copies)]
    return pd.DataFrame(rows, columns=["id", "reduced_formula", "elements"])


FAMILIES = {"SiC-B3": "C Si", "SiC-B4": "C Si", "C-A4": "C", "GaAs-B3": "As Ga", "InAs-B3": "As In", "GaN-B4": "Ga N"}


@given(seed=st.integers(0, 20))
def test_copies_of_a_crystal_stay_together(seed: int) -> None:
    table = crystals(FAMILIES, 3)
    fractions = {"train": 0.6, "val": 0.2, "test": 0.2}
    split = make_split(table, SplitSettings(seed=seed, fractions=fractions, group="crystal"))
    families = {name: {id.rpartition("-")[0] for id in ids} for name, ids in split.ids.items()}
    assert sum(map(len, families.values())) == len(FAMILIES)
    assert sorted(id for ids in split.ids.values() for id in ids) == sorted(table["id"])
    trained = set(" ".join(FAMILIES[f] for f in families["train"]).split())
    assert all(set(FAMILIES[f].split()) <= trained for f in families["test"])


def test_an_id_without_a_number_is_a_crystal_of_its_own() -> None:
    table = pd.DataFrame({"id": ["mp-1", "mp-2", "a-b", "a-c"], "reduced_formula": ["Si"] * 4, "elements": ["Si"] * 4})
    halves = SplitSettings(group="crystal", fractions={"train": 0.5, "test": 0.5})
    split = make_split(table, halves)
    assert split.of("mp-1") == split.of("mp-2")  # so ids of a database are not for this option
    assert {split.of("a-b"), split.of("a-c")} <= {"train", "test"}


def test_shorter_lists_are_nested_and_have_every_element() -> None:
    table = crystals(FAMILIES, 5)
    split = make_split(table, SplitSettings(seed=1))
    parts = [shortened(split, "train", n, manifest=table, seed=2) for n in (4, 8, 16, len(split["train"]))]
    for small, large in pairwise(parts):
        assert set(small["train"]) < set(large["train"])
        assert small["test"] == split["test"]
    elements = dict(zip(table["id"], table["elements"], strict=True))
    assert set(" ".join(elements[id] for id in parts[0]["train"]).split()) == {"C", "Si", "As", "Ga", "In", "N"}
    assert parts[-1].ids == split.ids
    with pytest.raises(InputError, match="2 structures of the list train cannot have all of its elements"):
        shortened(split, "train", 2, manifest=table)
    with pytest.raises(InputError, match="holds 24 structures, it cannot be shortened to 25"):
        shortened(split, "train", 25, manifest=table)

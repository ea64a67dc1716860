"""Splits of stores: families that need crystals, leakage against every pair matched, and the command."""

from __future__ import annotations

import itertools
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from made_stores import store_of
from typer.testing import CliRunner

from nextham.cli import app
from nextham.core import Structure
from nextham.data.audit import Audit, Leak
from nextham.data.settings import SplitSettings
from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.exceptions import InputError
from nextham.splitting import Dataset, audited, leave_one_element_out, split_of, structures_of, with_families
from nextham.structures.generate import build
from nextham.structures.settings import CrystalSettings

FORMULAS = {
    "B1": {"NaCl": 5.64, "PbS": 5.94, "MgO": 4.21},
    "B3": {"GaAs": 5.65, "SiC": 4.36, "BN": 3.62},
    "A4": {"Si": 5.43, "Ge": 5.66},
    "C1": {"Mg2Si": 6.35},
    "E2_1": {"NaMgF3": 3.96},
}
SPLIT = {"fractions": {"train": 0.6, "val": 0.2, "test": 0.2}}


def turned(structure: Structure) -> Structure:
    """The same crystal in another cell, turned, with its atoms in another order."""
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    q *= np.sign(np.linalg.det(q))
    cell = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]) @ structure.cell @ q
    return Structure(structure.numbers[::-1], structure.positions[::-1] @ q, cell).folded()


@pytest.fixture(scope="module")
def crystals() -> dict[str, Structure]:
    made = build(CrystalSettings(prototypes=FORMULAS, perturbed=2, strain=0.03, supercells={"2x1x1": 1}))
    found = {each.id: each.structure.folded() for each in made.found}
    return found | {"GaAs-again": turned(found["GaAs-B3-0"]), "PbS-again": turned(found["PbS-B1-0"])}


@pytest.fixture(scope="module")
def store(crystals, tmp_path_factory) -> Store:
    return store_of(tmp_path_factory.mktemp("stores") / "store", crystals)


def settings(**more) -> SplitSettings:
    return SplitSettings.model_validate({**SPLIT, "cover_elements": False, **more})


def family(id: str) -> str:
    return {"GaAs-again": "GaAs-B3", "PbS-again": "PbS-B1"}.get(id, id.rpartition("-")[0])


def test_crystals_are_read_without_operators(store, crystals):
    found = structures_of(store)
    assert list(found) == list(crystals)
    assert found["PbS-B1-1"] == crystals["PbS-B1-1"]


def test_copies_are_recognised_whatever_their_ids(store, crystals):
    named = Dataset(store).crystals
    for a, b in itertools.combinations(crystals, 2):
        assert (named[a] == named[b]) == (family(a) == family(b)), (a, b)


def test_group_geometry_keeps_crystals_together_and_does_not_leak(store):
    for seed in range(3):
        split = split_of(Dataset(store), settings(group="geometry", seed=seed, strict=True))
        where = {family(id): name for name, ids in split.ids.items() for id in ids}
        assert all(where[family(id)] == name for name, ids in split.ids.items() for id in ids)
        assert split.audit is not None
        assert split.audit.leaks == ()


def matched(a: Structure, b: Structure) -> bool:
    """Whether pymatgen's matcher, as it comes, finds two structures the same or one a supercell of the other."""
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core.structure import Structure as Crystal

    one, other = (Crystal(s.cell, s.numbers.tolist(), s.fractional) for s in (a, b))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(StructureMatcher(angle_tol=10, attempt_supercell=True).fit(one, other))


def test_the_audit_finds_every_structure_that_any_pair_shows_to_leak(store, crystals):
    split = split_of(Dataset(store), settings(seed=3))
    assert split.audit is not None
    told = {(leak.subset, leak.id, leak.reference) for leak in split.audit.leaks}
    expected = set()
    for subset, references in {"val": ["train"], "test": ["train", "val"]}.items():
        for id, reference in itertools.product(split[subset], references):
            if any(matched(crystals[id], crystals[other]) for other in split[reference]):
                expected.add((subset, id, reference))
    assert told == expected
    assert len(expected) > 5
    for leak in split.audit.leaks:
        assert family(leak.id) == family(leak.reference_id)
        assert leak.reference_id in split[leak.reference]


def test_a_duplicate_goes_before_a_copy_and_is_measured(store):
    lists = {"train": ("GaAs-B3-1", "GaAs-B3-0", "PbS-B1-2"), "test": ("GaAs-again", "PbS-B1-1", "Si-A4-0")}
    audit = audited(Split(lists), Dataset(store), {}).audit
    assert audit is not None
    first, second = audit.leaks
    assert (first.id, first.reference_id, first.kind) == ("GaAs-again", "GaAs-B3-0", "duplicate")
    assert first.rms_ang == pytest.approx(0, abs=1e-5)
    assert (second.id, second.reference_id, second.kind) == ("PbS-B1-1", "PbS-B1-2", "copy")
    assert second.rms_ang is not None
    assert 1e-4 < second.rms_ang < 0.3
    assert audit.counts == {"test": {"train": {"duplicate": 1, "copy": 1}}}
    assert audit.lines() == ["leakage: test has 1 copy and 1 duplicate of structures in train"]
    with pytest.raises(InputError) as error:
        audit.refuse()
    assert str(error.value).startswith(
        "the split leaks, 2 pairs: GaAs-again of test is a duplicate of GaAs-B3-0 of train"
    )


def test_copies_are_meant_in_ood_strain():
    leak = Leak("ood-strain", "a-1", "train", "a-0", "copy", 0.1, 1.1)
    Audit({}, {}, (leak,)).refuse()
    with pytest.raises(InputError, match="the split leaks, 1 pairs"):
        Audit({}, {}, (leak, Leak("ood-strain", "b", "train", "a", "duplicate", None, 1.0))).refuse()


def test_every_family_in_one_file(store, tmp_path):
    families = ("ood-prototype", "ood-size", "ood-heavy", "ood-strain")
    asked = with_families(settings(held_out={"prototypes": ["C1"]}), families)
    split = split_of(Dataset(store), asked)
    inside = set(split["train"]) | set(split["val"]) | set(split["test"])
    assert {family(id) for id in split["ood-prototype"]} == {"Mg2Si-C1"}
    assert {family(id) for id in split["ood-heavy"]} == {"PbS-B1"}
    assert set(split["ood-size"]) == {"NaMgF3-E2_1-3", "Mg2Si-C1-3"}  # 10 and 6 atoms; 5 would be too many
    strained = split["ood-strain"]
    assert 0 < len(strained) <= 0.1 * len(store)
    assert all(id.endswith(("-1", "-2", "-3")) for id in strained)
    for name in split.ids:
        assert not name.startswith("ood-") or not inside & set(split[name])
    assert sorted(set().union(*split.ids.values())) == sorted(store.ids)
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split
    assert split_of(Dataset(store), asked) == split


def test_strained_structures_are_outside_the_range_that_is_trained(store, crystals):
    split = split_of(Dataset(store), settings(held_out={"strain_above": 0.03}, audit=False))
    ideal = {family(id): s.volume / len(s) for id, s in crystals.items() if id.endswith("-0")}
    change = {id: abs(np.log(s.volume / len(s) / ideal[family(id)])) for id, s in crystals.items()}
    assert {id for id, value in change.items() if value > np.log(1.03)} == set(split["ood-strain"])


def test_each_element_is_left_out_in_turn(store, crystals):
    found, problems = leave_one_element_out(Dataset(store), settings())
    assert sorted(found) == sorted({name for each in crystals.values() for name in each.symbols})
    assert problems == {}
    for element, split in found.items():
        assert list(split.ids) == ["train", "val", "test"]
        for id, each in crystals.items():
            assert (id in split["test"]) == (element in each.symbols)
        assert set().union(*split.ids.values()) == set(crystals)


def test_an_element_that_cannot_be_left_out_is_told(crystals, tmp_path):
    few = {id: crystals[id] for id in ("Si-A4-0", "SiC-B3-0", "Mg2Si-C1-0", "Si-A4-1")}
    found, problems = leave_one_element_out(Dataset(store_of(tmp_path / "few", few)), settings())
    assert sorted(found) == ["C", "Mg"]
    assert problems["Si"] == "ood-element leaves nothing to train on: every structure has Si"
    with pytest.raises(InputError, match=r"^no structure of .*few has Pb; there are C Mg Si$"):
        leave_one_element_out(Dataset(Store(tmp_path / "few")), settings(held_out={"elements": ["Pb"]}))
    only = store_of(tmp_path / "only", {id: crystals[id] for id in ("Si-A4-0", "Si-A4-1")})
    with pytest.raises(InputError, match=r"^no element can be left out; the first reason: ood-element leaves nothing"):
        leave_one_element_out(Dataset(only), settings())


def test_structures_of_another_store(store, crystals, tmp_path):
    part = {id: each for id, each in crystals.items() if family(id) in ("GaAs-B3", "Si-A4", "PbS-B1")}
    other = store_of(tmp_path / "other", part, shells="1s1p", engine="another")
    split = split_of(Dataset(store), settings(), others={"ood-basis": other, "ood-engine": other})
    trained = {*split["train"], *split["val"]}
    assert set(split["ood-basis"]) == set(part) - trained
    assert split.stores["ood-basis"]["path"] == str(other.path)
    assert split.stores["ood-engine"] == {"path": str(other.path), "engine": "another"}
    assert split.about["ood-basis"] == {"left_out": len(set(part) & trained)}
    split.save(tmp_path / "split.json")
    loaded = Split.load(tmp_path / "split.json")
    assert loaded == split
    assert loaded.checked(store.ids, "store") == split  # ids of other stores are not looked for here
    with pytest.raises(InputError, match=r"ood-basis: .* has the orbital basis of .*; name a store with another"):
        split_of(Dataset(store), settings(), others={"ood-basis": store})
    with pytest.raises(
        InputError, match=r"ood-engine: .* has the engine of .* \(synthetic\); name a store with another"
    ):
        split_of(Dataset(store), settings(), others={"ood-engine": store})


def run(*words: object):
    return CliRunner().invoke(app, ["split", *map(str, words)])


TEXT = "{fractions: {train: 0.6, val: 0.2, test: 0.2}, cover_elements: false}"


def test_the_command_writes_lists_and_what_they_leak(store, tmp_path):
    path = tmp_path / "split.json"
    done = run(store.path, "-o", path, "--settings", TEXT, "--family", "ood-heavy")
    assert done.exit_code == 0, done.output
    split = Split.load(path)
    assert set(split.ids) == {"train", "val", "test", "ood-heavy"}
    assert split.audit is not None
    assert "leakage: test has" in done.output
    content = json.loads(path.read_text())
    assert content["about"]["held_out"] == {"ood-heavy": {"heavy_above": 54}}
    assert len(content["audit"]["pairs"]) == len(split.audit.leaks)
    facts = json.loads(run(store.path, "-o", path, "--settings", TEXT, "--dry-run", "--json", "--no-audit").stdout)
    assert facts["files"][str(path)]["audit"] is None
    assert Split.load(path) == split


def test_strict_refuses_and_writes_nothing(store, tmp_path):
    path = tmp_path / "split.json"
    done = run(store.path, "-o", path, "--settings", TEXT, "--strict")
    assert done.exit_code != 0
    assert isinstance(done.exception, InputError)
    assert str(done.exception).startswith("the split leaks, ")
    assert " of test is a " in str(done.exception) or " of val is a " in str(done.exception)
    assert not path.exists()
    text = TEXT.replace("{frac", "{group: geometry, frac", 1)
    assert run(store.path, "-o", path, "--settings", text, "--strict").exit_code == 0


def test_one_file_per_element(store, tmp_path):
    done = run(store.path, "-o", tmp_path / "elements", "--settings", TEXT, "--family", "ood-element")
    assert done.exit_code == 0, done.output
    index = json.loads((tmp_path / "elements" / "index.json").read_text())
    assert set(index["elements"]) == {p.stem for p in (tmp_path / "elements").glob("*.json")} - {"index"}
    assert len(index["elements"]) >= 12
    lead = Split.load(tmp_path / "elements" / "Pb.json")
    assert {family(id) for id in lead["test"]} == {"PbS-B1"}


def test_lists_of_files_with_what_is_not_there(store, tmp_path):
    (tmp_path / "train.txt").write_text("GaAs-B3-0\nSi-A4-0\nmp-1\nGaAs-B3-0\n")
    (tmp_path / "test.txt").write_text("mp-2\nPbS-B1-0\n")
    files = ["--train", tmp_path / "train.txt", "--test", tmp_path / "test.txt"]
    done = run(store.path, "-o", tmp_path / "split.json", *files)
    assert done.exit_code == 0, done.output
    split = Split.load(tmp_path / "split.json")
    assert split.ids == {"train": ("GaAs-B3-0", "Si-A4-0"), "test": ("PbS-B1-0",)}
    assert split.about == {"missing": {"train": ["mp-1"], "test": ["mp-2"]}, "repeated": {"train": ["GaAs-B3-0"]}}
    assert "1 ids of train are not in the store: mp-1" in done.output
    assert "1 ids of train are listed more than once: GaAs-B3-0" in done.output
    (tmp_path / "test.txt").write_text("mp-2\n")
    done = run(store.path, "-o", tmp_path / "other.json", *files)
    assert str(done.exception) == (
        f"the store holds none of the 1 ids of {tmp_path / 'test.txt'} (test); is it a list of another dataset?"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--family", "ood-colour"], "there is no family ood-colour; there are random, ood-element, ood-prototype, "),
        (["--family", "ood-element"], "ood-element without an element leaves out one after the other"),
        (["--settings", "held_out: {elements: [Xx]}"], "the given settings: held_out: 'Xx' is not an element symbol"),
        (["--settings", "held_out: {elements: [He]}"], "ood-element would be empty: no structure has He"),
        (["--settings", "held_out: {prototypes: [B111]}"], "held_out.prototypes: no prototype is called B111"),
        (["--size", "3"], "--shorten and --size belong together; give both or neither"),
    ],
)
def test_a_bad_request_is_told(store, tmp_path, words, sentence):
    done = run(store.path, "-o", tmp_path / "split.json", *words)
    assert isinstance(done.exception, InputError)
    assert sentence in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_a_folder_for_elements_goes_alone(store, tmp_path):
    words = ["--family", "ood-element", "--family", "ood-size"]
    done = run(store.path, "-o", tmp_path / "folder", *words)
    assert str(done.exception) == "the family ood-element in a folder goes alone, not with ood-size"


def test_a_shorter_split_keeps_its_part_of_the_audit(store, tmp_path):
    run(store.path, "-o", tmp_path / "a.json", "--settings", TEXT)
    done = run(store.path, "-o", tmp_path / "b.json", "--shorten", tmp_path / "a.json", "--size", 18)
    assert done.exit_code == 0, done.output
    whole, part = Split.load(tmp_path / "a.json"), Split.load(tmp_path / "b.json")
    assert whole.audit is not None
    assert part.audit is not None
    kept = [leak for leak in whole.audit.leaks if leak.reference != "train" or leak.reference_id in part["train"]]
    assert list(part.audit.leaks) == kept
    assert len(kept) < len(whole.audit.leaks)


def test_a_damaged_audit_is_told(tmp_path: Path):
    path = tmp_path / "split.json"
    Split({"train": ("a",)}, audit=Audit({"train": 1}, {})).save(path)
    path.write_text(path.read_text().replace('"pairs": []', '"pairs": [1]'))
    with pytest.raises(InputError, match=r"split\.json is not a split file"):
        Split.load(path)

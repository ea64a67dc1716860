"""Lists outside the distribution: what is in them, what is not, and when nothing would be left."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nextham.core import atomic_number
from nextham.data.draw import make_split
from nextham.data.heldout import Facts, HeldOut, held_out, with_strains
from nextham.data.settings import HeldOutSettings, SplitSettings
from nextham.exceptions import InputError

ELEMENTS = ["H", "C", "O", "Si", "Fe", "Xe", "Cs", "Pb", "Bi"]
facts_strategy = st.lists(
    st.builds(
        Facts,
        elements=st.frozensets(st.sampled_from(ELEMENTS), min_size=1, max_size=3),
        n_atoms=st.integers(1, 40),
        volume_ang3=st.floats(5, 30),
        prototype=st.sampled_from(["A", "B", "C", "D"]),
        strain=st.one_of(st.none(), st.floats(-0.2, 0.2)),
    ),
    min_size=4,
    max_size=40,
).map(lambda rows: {f"s{k}": row for k, row in enumerate(rows)})

ASKED = [
    HeldOutSettings(elements=("Pb", "Bi")),
    HeldOutSettings(heavy_above=54),
    HeldOutSettings(atoms_above=20),
    HeldOutSettings(size_share=0.2),
    HeldOutSettings(prototypes=("A",)),
    HeldOutSettings(prototype_share=0.3),
    HeldOutSettings(strain_above=0.05),
    HeldOutSettings(strain_share=0.2),
    HeldOutSettings(heavy_above=54, size_share=0.2, elements=("C",)),
]


@given(facts=facts_strategy, asked=st.sampled_from(ASKED), seed=st.integers(0, 3))
def test_lists_hold_what_they_say_and_the_rest_does_not(facts, asked, seed):
    try:
        apart = held_out(facts, asked, seed=seed)
    except InputError:
        return  # nothing in a list, or nothing left: tested below
    rest = [each for id, each in facts.items() if not any(id in ids for ids in apart.lists.values())]
    assert rest
    for name, ids in apart.lists.items():
        inside, by = [facts[id] for id in ids], apart.about[name]
        assert inside
        if name == "ood-element":
            assert all(each.elements & set(by["elements"]) for each in inside)
            assert not any(each.elements & set(by["elements"]) for each in rest)
        if name == "ood-heavy":
            heaviest = [max(map(atomic_number, each.elements)) for each in facts.values()]
            assert len(ids) == sum(z > 54 for z in heaviest)
        if name == "ood-size":
            assert min(each.n_atoms for each in inside) > max(each.n_atoms for each in rest)
        if name == "ood-prototype":
            assert not {each.prototype for each in inside} & {each.prototype for each in rest}
        if name == "ood-strain":
            least = min(abs(each.strain) for each in inside)
            assert all(each.strain is None or abs(each.strain) < least for each in rest)


@given(values=st.lists(st.integers(1, 8), min_size=2, max_size=30), share=st.floats(0.05, 0.9))
def test_a_share_is_kept_to_unless_the_largest_are_more(values, share):
    facts = {f"s{k}": Facts(frozenset({"C"}), n, 10.0) for k, n in enumerate(values)}
    if len(set(values)) == 1:
        with pytest.raises(InputError, match="leaves nothing to train on"):
            held_out(facts, HeldOutSettings(size_share=share))
        return
    chosen = len(held_out(facts, HeldOutSettings(size_share=share)).lists["ood-size"])
    top = values.count(max(values))
    assert chosen == top or top <= chosen <= share * len(values)
    more = sorted(n for n in values if n > sorted(values)[-chosen] - 1)
    smaller = [n for n in values if n < min(more)]
    if chosen > top and smaller:
        assert chosen + smaller.count(max(smaller)) > share * len(values)


def facts(**strains: tuple[str, float]) -> dict[str, Facts]:
    return {id: Facts(frozenset({"C"}), 2, volume, crystal=crystal) for id, (crystal, volume) in strains.items()}


def test_strain_is_measured_from_the_most_symmetric_copies():
    found = with_strains(
        facts(
            a0=("a", 10.0), a1=("a", 11.0), a2=("a", 9.5), b0=("b", 20.0), b1=("b", 22.0), b2=("b", 21.0), c=("c", 5.0)
        ),
        {"a0": 216, "a1": 1, "a2": 2, "b0": 225, "b1": 225, "b2": 225, "c": 1},
    )
    expected = {"a0": 1.0, "a1": 1.1, "a2": 0.95, "b0": 20 / 21, "b1": 22 / 21, "b2": 1.0}
    for id, ratio in expected.items():
        assert found[id].strain == pytest.approx(np.log(ratio), abs=1e-12)
    assert found["c"].strain is None  # nothing to compare with


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"elements": ["O"]}, "ood-element would be empty: no structure has O"),
        ({"elements": ["C"]}, "ood-element leaves nothing to train on: every structure has C"),
        ({"elements": ["O", "H"]}, "ood-element would be empty: no structure has one of H O"),
        ({"heavy_above": 54}, "ood-heavy would be empty: no structure has an element of atomic number above 54"),
        ({"heavy_above": 2}, "ood-heavy leaves nothing to train on: every structure has an element of atomic number"),
        ({"atoms_above": 4}, "ood-size would be empty: no structure has more than 4 atoms"),
        ({"size_share": 0.5}, "ood-size leaves nothing to train on: every structure has more than"),
        ({"prototypes": ["B"]}, "ood-prototype would be empty: no structure has one of the prototypes B"),
        ({"strain_share": 0.2}, "ood-strain needs strained copies beside their crystals, and no crystal has two"),
    ],
)
def test_a_list_without_structures_or_a_rest_without_is_told(asked, sentence):
    same = {f"s{k}": Facts(frozenset({"C", "Si"}), 4, 10.0, prototype="A") for k in range(5)}
    with pytest.raises(InputError) as error:
        held_out(same, HeldOutSettings.model_validate(asked))
    assert str(error.value).startswith(sentence)


def test_lists_that_leave_nothing_together_are_told():
    two = {"a": Facts(frozenset({"Bi"}), 1, 9.0), "b": Facts(frozenset({"C"}), 9, 9.0)}
    with pytest.raises(InputError, match=r"^ood-size, ood-heavy together leave nothing to train on; hold out less$"):
        held_out(two, HeldOutSettings(heavy_above=54, atoms_above=5))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"elements": ["Xx"]}, "'Xx' is not an element symbol"),
        ({"size_share": 0.1, "atoms_above": 3}, "atoms_above and size_share say the same thing in two ways"),
        ({"size_share": 1.0}, "less than 1"),
    ],
)
def test_bad_settings_are_told(asked, sentence):
    with pytest.raises(ValidationError, match=sentence):
        HeldOutSettings.model_validate(asked)


def manifest(elements: list[str]) -> pd.DataFrame:
    ids = [f"s{k}" for k in range(len(elements))]
    return pd.DataFrame({"id": ids, "reduced_formula": elements, "elements": elements})


def test_held_out_structures_are_not_drawn_and_the_seed_draws_the_rest():
    table = manifest(["Si"] * 20 + ["Bi"] * 3)
    apart = HeldOut({"ood-heavy": ("s20", "s21", "s22")}, {"ood-heavy": {"heavy_above": 54}})
    split = make_split(table, SplitSettings(), apart=apart)
    assert {name: len(ids) for name, ids in split.ids.items()} == {"train": 16, "val": 2, "test": 2, "ood-heavy": 3}
    assert split.about["held_out"] == {"ood-heavy": {"heavy_above": 54}}
    assert make_split(table, SplitSettings(), apart=apart) == split
    assert make_split(table, SplitSettings(seed=1), apart=apart) != split


def test_too_few_structures_beside_the_lists_are_told():
    apart = HeldOut({"ood-heavy": ("s0", "s1")}, {})
    with pytest.raises(InputError) as error:
        make_split(manifest(["Bi", "Bi", "C", "C"]), SplitSettings(), apart=apart)
    assert str(error.value) == (
        "ood-heavy: 2 of 4 structures are left, which is too few for train, val, test; hold out less"
    )

"""Elements that were never trained on: what is known stays, and a new element is the mean of the known ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from made_networks import network

from nextham.core import LCAOSystem, OrbitalBasis
from nextham.exceptions import InputError
from nextham.model import checkpoint
from nextham.model.extend import with_unseen
from nextham.model.settings import ModelSettings
from nextham.predict import Predictor
from nextham.predict.one import correction
from nextham.testing import synthetic_system, zincblende

SETTINGS = ModelSettings(lmax=2, n_blocks=1)
SHELLS = "2s2p1d"


def system(first: str, second: str, shells: str = SHELLS) -> LCAOSystem:
    basis = OrbitalBasis.parse(" ".join(f"{name}:{shells}" for name in sorted({first, second})))
    return synthetic_system(zincblende(first, second, rattle_ang=0.1), basis, cutoff_ang=4.0)


def renamed(made: LCAOSystem, **new: str) -> LCAOSystem:
    """The same numbers under the names of other elements."""
    from nextham.core import atomic_number

    of = {atomic_number(old): atomic_number(name) for old, name in new.items()}
    basis = OrbitalBasis({of.get(z, z): made.basis.shells(z) for z in made.basis})
    return dataclasses.replace(made, numbers=np.array([of.get(z, z) for z in made.numbers.tolist()]), basis=basis)


def test_known_structures_are_predicted_as_before():
    known = system("Ga", "As")
    trained = network(known, SETTINGS)
    same = with_unseen(trained, known)
    more = with_unseen(trained, system("Ga", "Bi", shells=SHELLS))
    expected = correction(known, trained)
    np.testing.assert_array_equal(correction(known, same), expected)
    np.testing.assert_allclose(correction(known, more), expected, atol=1e-12)


@pytest.mark.parametrize("delta", [True, False])
def test_with_one_known_element_a_new_one_is_taken_for_it(delta):
    """The mean of one element is the element itself: numbers under another name give the same answer."""
    silicon = system("Si", "Si")
    settings = SETTINGS.model_copy(update={"delta": delta, "target": "spin-scalar" if delta else "pauli"})
    trained = network(silicon, settings)
    unseen = renamed(silicon, Si="Ge")
    with pytest.raises(InputError, match="contains Ge, which the model was not trained on"):
        correction(unseen, trained)
    found = correction(unseen, with_unseen(trained, unseen))
    if delta:
        np.testing.assert_allclose(found, correction(silicon, trained), atol=1e-9)
    else:  # the mean of H is not known of a new element: it is that of its H0
        assert np.isfinite(found).all()


def test_a_new_kind_of_path_adds_nothing():
    trained = network(system("Si", "Si", shells="1s1p"), SETTINGS)
    unseen = synthetic_system(zincblende("Si", "Ge"), OrbitalBasis.parse("Si:1s1p Ge:1s1p1d"), cutoff_ang=4.0)
    found = correction(unseen, with_unseen(trained, unseen))
    assert np.isfinite(found).all()
    matrix = unseen.operator("overlap").with_values(found[:1])
    ge = next(p for p in np.flatnonzero(unseen.pairs.onsite) if unseen.numbers[unseen.pairs.ij[p, 0]] == 32)
    block = matrix.block(int(ge))[0]
    np.testing.assert_array_equal(block[4:, 4:], 0.0)
    assert np.abs(block[:4, :4]).max() > 0


def test_the_predictor_says_what_it_never_saw(tmp_path):
    known = system("Ga", "As")
    torch.manual_seed(0)
    card = checkpoint.Card(SETTINGS, known.basis, "synthetic")
    checkpoint.save(tmp_path / "a", checkpoint.build(card).double().state_dict(), card)
    unseen = system("Ga", "Bi")
    with pytest.raises(InputError, match="contains Bi, which the model was not trained on"):
        Predictor([tmp_path / "a"])(unseen)
    made = Predictor([tmp_path / "a"], unseen_elements=True)(unseen)
    assert made.unseen == ("Bi",)
    assert np.isfinite(made.system.operators["hamiltonian"]).all()
    predictor = Predictor([tmp_path / "a"], unseen_elements=True)
    assert predictor(known).unseen == ()
    other = system("Ga", "Bi", shells="1s1p")
    with pytest.raises((InputError, ValueError), match="Ga"):
        predictor(other)

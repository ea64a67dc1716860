"""Data that cannot be trained on: told before the first step, in one sentence that names the structure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_training import fit, run, system, training, write

from nextham.exceptions import InputError
from nextham.testing import magnetic


def with_hole(id: str, operator: str):
    one = system(id)
    values = np.array(one.operator(operator).values)
    values[0, 5] = np.nan
    return one.with_operator(operator, values)


@pytest.mark.parametrize("bad", ["b", "d"])  # in train, in val
@pytest.mark.parametrize("operator", ["overlap", "h0", "hamiltonian"])
def test_numbers_that_are_none(tmp_path, bad, operator):
    store = write(tmp_path / "store", *(with_hole(id, operator) if id == bad else system(id) for id in "abcd"))
    with pytest.raises(InputError, match=rf"/store: the \w+ of {bad} cannot be read .* \(numbers are missing or NaN\)"):
        training(store, tmp_path / "run", fit())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("bad", ["b", "d"])
@pytest.mark.parametrize("operator", ["overlap", "h0", "hamiltonian"])
def test_operators_that_are_missing(tmp_path, bad, operator):
    store = write(tmp_path / "store", *(system(id).without(operator) if id == bad else system(id) for id in "abcd"))
    with pytest.raises(InputError) as refused:
        training(store, tmp_path / "run", fit())
    assert str(refused.value) == (
        f"{bad} in {store.path} has no {operator}, which training needs; leave it out of the split"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_device_that_is_not_there(tmp_path):
    store = write(tmp_path / "store", *map(system, "abcd"))
    sentence = "train.device is cuda, but this machine has no CUDA device; set it to auto or cpu"
    with pytest.raises(InputError, match=sentence):
        training(store, tmp_path / "run", fit(device="cuda"))
    with pytest.raises(InputError, match=sentence):
        run(store, tmp_path / "run", settings=fit(device="cuda"))
    assert not (tmp_path / "run").exists()


def test_magnetic_structure(tmp_path):
    store = write(tmp_path / "store", *(magnetic(system(id)) if id == "c" else system(id) for id in "abcd"))
    with pytest.raises(InputError, match="the correction of c depends on spin"):
        training(store, tmp_path / "run", fit())

"""Batches of several structures, and the table of path weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from made_networks import SWITCHES, suited
from torch import Tensor

from nextham.core import LCAOSystem, OrbitalBasis, Structure
from nextham.model.batch import Batch
from nextham.model.blocks import PathTable
from nextham.model.on_device import OnDevice
from nextham.model.settings import ModelSettings
from nextham.model.vocabulary import Vocabulary
from nextham.testing import synthetic_system, zincblende

BASIS = OrbitalBasis.parse("Al:1s1p As:2s1p1d Ga:1s1p1d1f")


def crystals() -> list[LCAOSystem]:
    """Elements in common, in other numbers and orders, and an atom alone."""
    alone = Structure.from_fractional(["As"], [[0, 0, 0]], 20 * np.eye(3))
    found = [zincblende("Ga", "As", rattle_ang=0.1), alone, zincblende("Al", "Ga"), zincblende("As", "Al")]
    return [synthetic_system(s, BASIS, id=str(k), cutoff_ang=4.5, seed=k) for k, s in enumerate(found)]


def differences(one: object, other: object, where: str = "") -> list[str]:
    """Names of the fields that differ; numbers may be rounded otherwise, products of other sizes are."""
    assert type(one) is type(other), where
    if isinstance(one, Tensor):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), where
        if not one.is_floating_point() or not one.numel():
            return [] if torch.equal(one, other) else [where]
        rounding = 32 * torch.finfo(one.dtype).eps * one.abs().max()
        return [] if (one - other).abs().max() <= rounding else [where]
    if isinstance(one, OnDevice):
        pairs = [(f.name, getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)]
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        pairs = [(key, one[key], other[key]) for key in one]
    elif isinstance(one, tuple) and not hasattr(one, "_fields"):
        assert len(one) == len(other), where
        pairs = list(zip(map(str, range(len(one))), one, other, strict=True))
    else:
        return [] if one == other else [where]
    return [found for name, a, b in pairs for found in differences(a, b, f"{where}.{name}")]


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("name", ["default", "no delta", "magnetic", "no descriptors"])
def test_joined_batches_are_the_batch_of_all_structures(name, labels):
    settings = SWITCHES[name]
    systems = [suited(s, settings) for s in crystals()]

    def build(system: LCAOSystem) -> Batch:
        vocabulary = Vocabulary(BASIS, settings.target)
        return Batch.build(system, vocabulary, settings=settings, dtype=torch.float32, labels=labels)

    joined, whole = Batch.joined([build(s) for s in systems]), build(LCAOSystem.concat(systems))
    assert differences(joined, whole) == []
    assert len(joined.n_values) == 4
    moved = dataclasses.replace(joined, edge_j=joined.edge_j.roll(1), length=joined.length.roll(1))
    assert differences(joined, moved) == [".edge_j", ".length"]


def test_table_holds_every_path_and_its_transpose_once():
    vocabulary = Vocabulary(BASIS)
    settings = ModelSettings()
    system = LCAOSystem.concat(crystals())
    blocks = Batch.build(system, vocabulary, settings=settings, dtype=torch.float32, labels=False).hopping
    table: PathTable = blocks.table
    kind = torch.arange(len(vocabulary.kinds))[:, None].expand_as(table.shells[0]).flatten()
    i, j = table.shells.flatten(1)
    forward, backward = table.place.T
    assert torch.equal(kind[forward], blocks.kind)
    assert torch.equal(kind[backward], blocks.swapped_kind)
    assert torch.equal(i[forward], blocks.shell_i)
    assert torch.equal(j[forward], blocks.shell_j)
    assert torch.equal(i[backward], blocks.shell_j)
    assert torch.equal(j[backward], blocks.shell_i)
    used = torch.unique(table.place)
    assert len({(int(a), int(b), int(k)) for a, b, k in zip(i[used], j[used], kind[used], strict=True)}) == len(used)

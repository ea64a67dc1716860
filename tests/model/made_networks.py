"""Networks with random weights, and the moves that a prediction has to follow."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import torch

from nextham.core import LCAOSystem, SpinLayout
from nextham.core.blocks import widened
from nextham.model.batch import Batch
from nextham.model.network import NextHAM
from nextham.model.settings import ModelSettings
from nextham.model.statistics import Statistics
from nextham.model.vocabulary import Vocabulary
from nextham.physics import symmetry
from nextham.predict import predicted

TOLERANCE_EV = 1e-8
_SWITCHES: dict[str, dict[str, Any]] = {
    "no trace_grad": {"trace_grad": False},
    "ensemble": {"ensemble": (3.0, 4.0)},
    "S alone": {"descriptors": ("overlap",)},
    "no descriptors": {"descriptors": ()},
    "pauli": {"target": "pauli"},
    "pauli ensemble": {"target": "pauli", "ensemble": (4.0,)},
    "no delta": {"target": "pauli", "delta": False},
    "no delta, no H0": {"target": "pauli", "delta": False, "descriptors": ("overlap",)},
    "magnetic": {"target": "pauli-magnetic"},
    "magnetic, no delta": {"target": "pauli-magnetic", "delta": False, "trace_grad": False},
}
SWITCHES = {"default": ModelSettings()} | {
    name: ModelSettings(channels=8, width=32, **given) for name, given in _SWITCHES.items()
}


def labelled(system: LCAOSystem, settings: ModelSettings) -> Batch:
    vocabulary = Vocabulary(system.basis, settings.target)
    return Batch.build(system, vocabulary, settings=settings, dtype=torch.float64, labels=True)


def network(system: LCAOSystem, settings: ModelSettings) -> NextHAM:
    """Random weights, statistics of the system itself, float64."""
    batch, vocabulary = labelled(system, settings), Vocabulary(system.basis, settings.target)
    torch.manual_seed(3)
    statistics = Statistics.measure(lambda: [batch], vocabulary, delta=settings.delta)
    return NextHAM(settings, vocabulary, statistics).double()


def hamiltonian(system: LCAOSystem, model: NextHAM) -> LCAOSystem:
    return predicted(system.without("hamiltonian"), model)


def magnetised(system: LCAOSystem) -> LCAOSystem:
    """The system with random Hermitian parts of every kind in H0 and H."""
    for seed, name in enumerate(("h0", "hamiltonian")):
        matrix, rng = system.operator(name), np.random.default_rng(seed)
        parts = rng.normal(size=(2, 4, matrix.values.shape[1]))
        extra = 0.2 * (parts[0] + 1j * parts[1]) * np.exp(-system.distances)[matrix.pair_of_value]
        for group in matrix.groups:
            index = group.index[matrix.pairs.onsite[group.pairs]]
            if len(index):
                extra[:, index] = (extra[:, index] + extra[:, index].conj().swapaxes(-1, -2)) / 2
        system = system.with_operator(name, widened(matrix.values, SpinLayout.FULL) + extra)
    return system


def suited(system: LCAOSystem, settings: ModelSettings) -> LCAOSystem:
    """The system, magnetic where the settings are for magnetic data."""
    return magnetised(system) if settings.target == "pauli-magnetic" else system


def time_reversed(system: LCAOSystem) -> LCAOSystem:
    """h_0 -> h_0*, h -> -h*."""
    changed = {}
    for name, values in system.operators.items():
        full = widened(values, SpinLayout.FULL).conj()
        full[1:] *= -1
        changed[name] = full if name != "overlap" else values
    return dataclasses.replace(system, operators=changed)


@cache
def turn(seed: int) -> np.ndarray:
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return q * np.linalg.det(q)


MOVES = {
    "rotation": lambda s: symmetry.rotated(s, turn(1)),
    "inversion": lambda s: symmetry.rotated(s, -np.eye(3)),
    "mirror": lambda s: symmetry.rotated(s, turn(2) @ np.diag([1, 1, -1]) @ turn(2).T),
    "permutation": lambda s: symmetry.permuted(s, np.arange(len(s.numbers))[::-1]),
    "home cell": lambda s: symmetry.rehomed(s, [[1, 0, -1], [0, 2, 0]]),
    "supercell": lambda s: symmetry.supercell(s, (2, 1, 1)),
    "translation": lambda s: dataclasses.replace(s, positions=s.positions + np.array([0.3, -1.0, 0.2])),
}

"""Exact properties with weights that a training made, which are no longer small, even or independent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_networks import MOVES, SWITCHES, TOLERANCE_EV, hamiltonian, labelled, network, suited, time_reversed

from nextham.core import LCAOSystem
from nextham.model.network import NextHAM
from nextham.physics import symmetry
from nextham.train.loss import gauge_mae, trace_targets

STEPS = 12
SIZES = {"channels": 4, "lmax": 3, "n_heads": 2, "width": 16}


def trained(system: LCAOSystem, model: NextHAM) -> list[float]:
    """Take some steps and return the losses (eV)."""
    batch, found = labelled(system, model.settings), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(STEPS):
        output = model(batch)
        pairs = zip(output.traces or (), trace_targets(batch), strict=False)
        loss = gauge_mae(output.correction - batch.target, batch).sum()
        found.append(float(loss.detach()))
        optimizer.zero_grad()
        (loss + 1e-3 * sum((a - b).abs().mean() for a, b in pairs)).backward()
        optimizer.step()
    return found


@pytest.fixture(scope="module", params=["default", "ensemble", "pauli", "magnetic"])
def made(request, alsb) -> tuple[LCAOSystem, NextHAM, LCAOSystem]:
    settings = SWITCHES[request.param].model_copy(update=SIZES)
    system = suited(alsb, settings)
    model = network(system, settings)
    losses = trained(system, model)
    assert losses[-1] < 0.7 * losses[0]
    return system, model, hamiltonian(system, model)


@pytest.mark.parametrize("move", MOVES)
def test_trained_network_moves_with_the_crystal(made, move):
    system, model, prediction = made
    after = hamiltonian(MOVES[move](system), model).operator("hamiltonian")
    expected = MOVES[move](prediction).operator("hamiltonian")
    assert np.abs((after - expected).values).max() < TOLERANCE_EV


def test_trained_network_is_hermitian_and_follows_time_reversal(made):
    system, model, prediction = made
    h = prediction.operator("hamiltonian")
    rounding = 1e-14 * np.abs(h.values).max()
    assert symmetry.onsite_antihermitian(h) < rounding
    backwards = hamiltonian(time_reversed(system), model).operator("hamiltonian")
    assert np.abs((backwards - time_reversed(prediction).operator("hamiltonian")).values).max() < rounding


@pytest.mark.parametrize("name", ["default", "ensemble"])
def test_trained_network_still_learns_with_every_parameter(synthetic, name):
    """In a crystal without symmetry, where nothing vanishes."""
    settings = SWITCHES[name].model_copy(update=SIZES)
    model = network(synthetic, settings)
    trained(synthetic, model)
    batch = labelled(synthetic, settings)
    model.zero_grad()
    output = model(batch)
    traces = sum((a - b).square().sum() for a, b in zip(output.traces, trace_targets(batch), strict=True))
    ((output.correction - batch.target).square().sum() + traces).backward()
    size = {name: float(p.grad.abs().max()) for name, p in model.named_parameters()}
    assert [name for name, s in size.items() if s < 1e-9 * max(size.values())] == []

"""Evaluation in chunks: the plain numbers, whatever the chunk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_networks import SWITCHES, suited
from made_networks import network as made

from nextham.exceptions import InputError
from nextham.model import checkpoint
from nextham.model.batch import Batch
from nextham.model.chunked import Cost, correction_in_chunks
from nextham.model.settings import ModelSettings
from nextham.physics.symmetry import supercell
from nextham.predict import predicted
from nextham.predict.one import cost_of


def network_of(system, **settings):
    torch.manual_seed(0)
    shape = ModelSettings(**{"lmax": 3, "channels": 8, **settings})

    return checkpoint.build(checkpoint.Card(shape, system.basis, "synthetic")).double().eval()


def batch_of(system, network):
    return Batch.build(system, network.vocabulary, settings=network.settings, dtype=torch.float64, labels=False)


@pytest.mark.parametrize("trace_grad", [True, False])
@pytest.mark.parametrize("chunk", [1, 37, 300, 10**6])
def test_chunks_give_what_one_evaluation_gives(synthetic, chunk, trace_grad):
    system = supercell(synthetic, (2, 1, 1))
    network = network_of(system, trace_grad=trace_grad)
    batch = batch_of(system, network)
    with torch.no_grad():
        plain = network(batch).correction
    assert plain.abs().max() > 0.1
    assert (correction_in_chunks(network, batch, chunk_edges=chunk) - plain).abs().max() < 1e-10


def test_chunks_on_a_recorded_run_with_f_orbitals(alsb):
    network = network_of(alsb)
    batch = batch_of(alsb, network)
    with torch.no_grad():
        plain = network(batch).correction
    assert (correction_in_chunks(network, batch, chunk_edges=200) - plain).abs().max() < 1e-10


@pytest.mark.parametrize("name", SWITCHES)
def test_chunks_do_what_every_switch_asks_for(synthetic, name):
    system = suited(synthetic, SWITCHES[name])
    model = made(system, SWITCHES[name])
    batch = batch_of(system, model)
    with torch.no_grad():
        plain = model(batch).correction
    assert (correction_in_chunks(model, batch, chunk_edges=100) - plain).abs().max() < 1e-12 * plain.abs().max()


def test_memory_decides_about_chunks_and_changes_nothing(synthetic, monkeypatch):
    system = supercell(synthetic, (2, 2, 1))
    network = network_of(system)
    calls = []

    def noted(*args, chunk_edges):
        calls.append(chunk_edges)
        return correction_in_chunks(*args, chunk_edges=chunk_edges)

    monkeypatch.setattr("nextham.predict.one.correction_in_chunks", noted)
    plain = predicted(system, network).operators["hamiltonian"]
    assert np.abs(predicted(system, network, max_memory_gb=8.0).operators["hamiltonian"] - plain).max() < 1e-10
    assert calls == []
    cost, n_edges = cost_of(system, network)
    little = cost.chunked(n_edges // 3) / 2**30
    assert np.abs(predicted(system, network, max_memory_gb=little).operators["hamiltonian"] - plain).max() < 1e-10
    assert calls == [n_edges // 3]
    with pytest.raises(InputError, match=r"needs about .* GB for the network, but max_memory_gb is 0.001: raise it"):
        predicted(system, network, max_memory_gb=0.001)


def test_memory_is_linear_in_the_atoms():
    def cost(n):
        return Cost.of(ModelSettings(), n_atoms=n, n_edges=80 * n, n_values=9000 * n, itemsize=4)

    assert cost(1000).held == pytest.approx(1000 * cost(1).held)
    assert cost(1000).batch == pytest.approx(1000 * cost(1).batch)
    assert cost(1000).chunked(512) < cost(1000).plain(80_000)
    assert cost(1000).chunk(0.01, on_cpu=True) == 0
    assert cost(2).chunk(100.0, on_cpu=True) < cost(2).chunk(100.0, on_cpu=False)

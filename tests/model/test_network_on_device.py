"""The network on a device that refuses mixed devices as CUDA does, and on CUDA itself."""

from __future__ import annotations

import copy

import pytest
import torch
from made_networks import SWITCHES, labelled, network, suited
from pretended_device import DEVICE, PretendedDevice

from nextham.model.chunked import correction_in_chunks

EVERY = pytest.mark.parametrize("name", SWITCHES)


def made(system, name):
    """Batch, network and the correction that the processor finds."""
    settings = SWITCHES[name]
    system = suited(system, settings)
    batch, model = labelled(system, settings), network(system, settings)
    with torch.no_grad():
        return batch, model, model(batch).correction


@pytest.mark.parametrize("name", ["default", "ensemble", "no descriptors", "pauli", "magnetic"])
def test_device_computes_the_same_and_is_never_waited_for(alsb, name):
    batch, model, due = made(alsb, name)
    with PretendedDevice() as device, torch.no_grad():
        there = batch.to(DEVICE), model.to(DEVICE)
        device.waits = 0
        found = there[1](there[0]).correction
        assert device.waits == 0
        assert torch.equal(found.to("cpu"), due)
    n_groups = len(batch.onsite.groups) + len(batch.hopping.groups)
    work = {"spin-scalar": 1, "pauli": 2.5, "pauli-magnetic": 8}[model.settings.target]
    assert device.calls.total() < (1500 + 320 * n_groups) * work  # each costs some 10 µs to start, a view less


def test_chunks_visit_the_device(alsb):
    batch, model, due = made(alsb, "default")
    with PretendedDevice():
        found = correction_in_chunks(model.to(DEVICE), batch, chunk_edges=60)
        assert (found - due).abs().max() < 1e-12


@pytest.mark.gpu
@EVERY
def test_cuda_gives_the_numbers_and_gradients_of_the_processor(alsb, name):
    batch, model, due = made(alsb, name)
    there = copy.deepcopy(model).cuda()
    for one, own in ((model, batch), (there, batch.to(torch.device("cuda")))):
        output = one(own)
        (output.correction.square().sum() + sum(t.square().sum() for t in output.traces or ())).backward()
    assert (output.correction.detach().cpu() - due).abs().max() < 1e-11 * due.abs().max()
    pairs = [(a.grad, b.grad.cpu()) for a, b in zip(model.parameters(), there.parameters(), strict=True)]
    largest = max(float(a.abs().max()) for a, _ in pairs)
    assert max(float((a - b).abs().max()) for a, b in pairs) < 1e-10 * largest


@pytest.mark.gpu
def test_chunks_on_cuda(alsb):
    batch, model, due = made(alsb, "default")
    assert (correction_in_chunks(model.cuda(), batch, chunk_edges=60) - due).abs().max() < 1e-11

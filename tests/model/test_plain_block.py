"""Our attention block is e3nn's tensor products seen from the frame of each edge: the same numbers to rounding."""

from __future__ import annotations

import copy

import e3nn
import numpy as np
import pytest
import torch
from e3nn import o3
from made_networks import labelled, network, suited
from plain_block import PlainEdgeLinear, make_plain

from nextham.model.attention import Frame, leave
from nextham.model.irreps import Hidden, wigner_matrices
from nextham.model.layers import EdgeLinear
from nextham.model.settings import ModelSettings

SHAPES = {  # the stages of what is alive, every target, both attention of nodes without TraceGrad and with
    "default": {},
    "no trace_grad": {"trace_grad": False, "n_blocks": 3},
    "no descriptors": {"descriptors": ()},
    "magnetic": {"target": "pauli-magnetic"},
}


@pytest.fixture(autouse=True)
def _e3nn():
    """e3nn makes its coefficients in the default type, and compiles for seconds unless told not to."""
    torch.set_default_dtype(torch.float64)
    e3nn.set_optimization_defaults(jit_script_fx=False)
    yield
    torch.set_default_dtype(torch.float32)
    e3nn.set_optimization_defaults(jit_script_fx=True)


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("lmax", [1, 2, 4])
def test_edge_maps_are_tensor_products_with_harmonics_up_to_twice_lmax(lmax, stage):
    hidden = Hidden(lmax)
    torch.manual_seed(0)
    linear, frame = EdgeLinear(hidden, 3, 2, stage=stage), Frame(hidden)
    torch.nn.init.normal_(linear.bias)
    vectors = np.random.default_rng(0).normal(size=(20, 3))
    turn = frame(tuple(torch.from_numpy(d) for d in wigner_matrices(vectors, lmax)))
    pieces = torch.randn(20, hidden.dim, 3).split([copies * n for copies, n in hidden.orders], dim=1)
    x = torch.cat([piece * alive for piece, alive in zip(pieces, linear.alive, strict=True)], dim=1)
    degrees, in_e3nn_order = list(range(2 * lmax + 1)), torch.from_numpy(vectors[:, [1, 2, 0]])
    harmonics = o3.spherical_harmonics(degrees, in_e3nn_order, True, normalization="integral")
    with torch.no_grad():
        plain = PlainEdgeLinear(hidden, linear)(leave(x, turn), harmonics)
        assert (leave(linear(x), turn) - plain).abs().max() < 1e-14 * plain.abs().max()


@pytest.mark.parametrize("name", SHAPES)
def test_network_of_plain_blocks_gives_the_same_numbers_and_gradients(alsb, name):
    settings = ModelSettings(lmax=2, channels=4, n_heads=2, width=16, **SHAPES[name])
    system = suited(alsb, settings)
    batch, ours = labelled(system, settings), network(system, settings)
    found = {}
    for kind, model in (("plain", make_plain(copy.deepcopy(ours))), ("ours", ours)):
        output = model(batch)
        (output.correction.square().sum() + sum(t.square().sum() for t in output.traces or ())).backward()
        gradients = {key.replace("0.plain.", "").replace(".block", ""): p.grad for key, p in model.named_parameters()}
        found[kind] = [output.correction.detach(), *(t.detach() for t in output.traces or ())], gradients
    for a, b in zip(found["ours"][0], found["plain"][0], strict=True):
        assert (a - b).abs().max() < 1e-13 * b.abs().max()
    shared = found["ours"][1].keys() & {key for key, g in found["plain"][1].items() if g is not None}
    assert len(shared) > 0.7 * len(found["ours"][1])  # all but those of the tensor products
    largest = max(float(g.abs().max()) for g in found["ours"][1].values())
    for key in shared:
        assert (found["ours"][1][key] - found["plain"][1][key]).abs().max() < 1e-12 * largest

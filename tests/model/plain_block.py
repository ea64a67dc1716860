"""The attention block as e3nn writes it, the oracle of ours: tensor products with Y(d) in the global frame.

Nothing turns to the frame of an edge, irreps are looped over, and TraceGrad's gradient is taken by autograd. A block
made of one of ours has the same parameters and gives the same numbers.
"""

from __future__ import annotations

import torch
from e3nn import o3
from torch import Tensor, nn

from nextham.model.attention import Block, Edges, enter, leave
from nextham.model.irreps import Hidden, Irrep
from nextham.model.layers import EdgeLinear, IrrepLinear, Norm, TraceGrad
from nextham.model.network import NextHAM


def reduced(hidden: Hidden, linear: EdgeLinear) -> dict[tuple[Irrep, Irrep], list[Tensor]]:
    """Return the matrices (n_in, n_out) of two irreps, for m = 0 (if both or none is natural), 1, .. min(l, l')."""
    weights, found = iter(linear.weights), {}
    kinds = [(0, True), (0, False), *((m, None) for m in range(1, hidden.lmax + 1))]
    kinds = [(m, kind) for m, kind in kinds if m or any(i.natural is kind for i in hidden.irreps)]
    for (m, kind), (_, n), alive in zip(kinds, hidden.orders, linear.alive, strict=True):
        held = [i for i in hidden.irreps if i.l >= m and kind in (None, i.natural)]
        weight = next(weights) if alive else torch.zeros(0)
        blocks = weight.reshape(n, -1, n, linear.n_out) if alive else None
        for a, i in enumerate(held):
            for b, o in enumerate(held):
                n_in = next(iter(linear.weights)).shape[0] // hidden.orders[0][1]
                zero = linear.bias.new_zeros(n_in, linear.n_out)
                found.setdefault((i, o), []).append(zero if blocks is None else blocks[a, :, b])
    return found


def coupling(i: Irrep, o: Irrep) -> Tensor:
    """Return B (n_m, n_l): what Y_l(z), by Clebsch and Gordan, does between the components m of two irreps.

    Natural irreps have the component m of an even one where unnatural ones have -m.
    """
    ls = [l for l in range(abs(i.l - o.l), i.l + o.l + 1) if (-1) ** l * i.parity == o.parity]
    ms = range(0 if i.natural == o.natural else 1, min(i.l, o.l) + 1)
    at_z = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)  # e3nn's (x, y, z) is our (y, z, x)
    rows = []
    for m in ms:
        places = [irrep.l + (m if irrep.natural else -m) for irrep in (i, o)]
        tables = [o3.wigner_3j(i.l, l, o.l, dtype=torch.float64) for l in ls]
        heights = [o3.spherical_harmonics(l, at_z, True, normalization="integral")[l] for l in ls]
        rows.append(torch.stack([h * t[places[0], l, places[1]] for h, t, l in zip(heights, tables, ls, strict=True)]))
    return torch.stack(rows)


class PlainEdgeLinear(nn.Module):
    """``EdgeLinear`` as a tensor product with Y(d) up to 2 lmax, global frame."""

    def __init__(self, hidden: Hidden, linear: EdgeLinear) -> None:
        super().__init__()
        matrices = reduced(hidden, linear)
        n_in, n_out = matrices[hidden.irreps[0], hidden.irreps[0]][0].shape
        self.dims = [2 * i.l + 1 for i in hidden.irreps]
        instructions, weights = [], []
        for a, i in enumerate(hidden.irreps):
            for b, o in enumerate(hidden.irreps):
                if (i, o) not in matrices:
                    continue
                of_m = torch.stack(matrices[i, o])
                of_l = torch.einsum("lm,muv->luv", torch.linalg.inv(coupling(i, o)).to(of_m), of_m)
                ls = [l for l in range(abs(i.l - o.l), i.l + o.l + 1) if (-1) ** l * i.parity == o.parity]
                instructions += [(a, l, b, "uvw", True) for l in ls]
                weights += [w.flatten() for w in of_l]
        ins, outs = ([(n, (i.l, i.parity)) for i in hidden.irreps] for n in (n_in, n_out))
        self.product = o3.TensorProduct(
            o3.Irreps(ins),
            o3.Irreps.spherical_harmonics(2 * hidden.lmax),
            o3.Irreps(outs),
            instructions,
            irrep_normalization="none",
            path_normalization="none",
        )
        with torch.no_grad():
            self.product.weight.copy_(torch.cat(weights))
        self.bias = nn.Parameter(linear.bias.detach().clone())

    def forward(self, x: Tensor, harmonics: Tensor) -> Tensor:
        """(n, dim, n_in) -> (n, dim, n_out), global frame."""
        found = self.product(flattened(x, self.dims), harmonics)
        y = unflattened(found, self.dims, len(self.bias))
        return torch.cat([y[:, :1] + self.bias, y[:, 1:]], dim=1)


def flattened(x: Tensor, dims: list[int]) -> Tensor:
    """(n, dim, channels) -> (n, dim channels), e3nn's order: irrep, channel, m."""
    return torch.cat([part.transpose(1, 2).flatten(1) for part in x.split_with_sizes(dims, dim=1)], dim=1)


def unflattened(x: Tensor, dims: list[int], channels: int) -> Tensor:
    """Invert ``flattened``."""
    parts = x.split_with_sizes([channels * d for d in dims], dim=1)
    return torch.cat([p.reshape(len(x), channels, d).transpose(1, 2) for p, d in zip(parts, dims, strict=True)], dim=1)


class PlainBlock(nn.Module):
    """One of our blocks in the global frame, operation by operation."""

    def __init__(self, hidden: Hidden, block: Block) -> None:
        super().__init__()
        self.block, self.hidden = block, hidden
        self.place_of_z = int((hidden.edge_order[0] == hidden.slices[Irrep(1, -1)].start + 1).nonzero()[0][0])
        self.dims = [2 * i.l + 1 for i in hidden.irreps]
        linears = {name: getattr(block, name) for name in ("mix", "value", "to_edge")}
        self.edge = nn.ModuleDict({name: PlainEdgeLinear(hidden, linear) for name, linear in linears.items()})

    def forward(self, x: Tensor, e: Tensor, edges: Edges) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """As ours, but with edge features in the global frame."""
        b, n_heads = self.block, self.block.n_heads
        y = self._harmonics(edges)
        nodes = self._norm(b.node_norm, x)
        query = self._linear(b.query, nodes)[edges.i]
        v = self.edge["mix"](torch.cat([nodes[edges.i], nodes[edges.j], self._norm(b.edge_norm, e)], dim=2), y)
        c = v.shape[2]
        gates = b.gates(torch.cat([edges.invariants, v[:, 0]], dim=1))
        factors, shifts, bias = gates.split([len(self.dims) * c, c, n_heads], dim=1)
        v = self._scaled(v, factors)
        v = torch.cat([v[:, :1] + shifts[:, None], v[:, 1:]], dim=1)
        per_head = (query * v).reshape(len(v), v.shape[1], n_heads, -1)
        logits = per_head.sum(dim=(1, 3)) / (v.shape[1] * c / n_heads) ** 0.5 + bias
        v = self.edge["value"](v, y)
        weight = torch.exp(10 * torch.tanh(logits / 10))
        inside = weight * edges.envelope[:, None]
        total = 1 + torch.zeros(len(x), n_heads, dtype=x.dtype).index_add(0, edges.i, inside)
        alpha, beta = ((w / total[edges.i]).repeat_interleave(c // n_heads, dim=1) for w in (inside, 20.0 * weight))
        x = x + self._linear(b.to_node, torch.zeros_like(x).index_add(0, edges.i, alpha[:, None] * v))
        e = e + self.edge["to_edge"](beta[:, None] * v, y)
        inner = self._linear(b.node_inner, self._norm(b.node_norm, x))
        x = x + self._linear(b.node_outer, self._scaled(inner, b.node_gates(inner[:, 0])))
        if not b.trace_grad:
            return x, e, None, None
        x_grown, z_node = self._trace_grad(b.node_gradient, self._norm(b.node_norm, x))
        e_grown, z_edge = self._trace_grad(b.edge_gradient, self._norm(b.edge_norm, e))
        return x + x_grown, e + e_grown, z_node, z_edge

    def _harmonics(self, edges: Edges) -> Tensor:
        vector, z = self.hidden.slices[Irrep(1, -1)], self.place_of_z
        direction = edges.turn[:, z, vector]  # (n_edges, 3): z of the edge's frame in the global one
        degrees = list(range(2 * self.hidden.lmax + 1))
        return o3.spherical_harmonics(degrees, direction, True, normalization="integral")

    def _linear(self, linear: IrrepLinear, x: Tensor) -> Tensor:
        parts = [part @ w for part, w in zip(x.split(self.dims, dim=1), linear.weight, strict=True)]
        return torch.cat([parts[0] + linear.bias, *parts[1:]], dim=1)

    def _scaled(self, x: Tensor, factors: Tensor) -> Tensor:
        each = factors.reshape(len(x), len(self.dims), 1, -1).unbind(1)
        return torch.cat([part * f for part, f in zip(x.split(self.dims, dim=1), each, strict=True)], dim=1)

    def _norm(self, norm: Norm, x: Tensor) -> Tensor:
        size = torch.stack([(part**2).mean(dim=(1, 2)) for part in x.split(self.dims, dim=1)]).mean(dim=0)
        return self._scaled(x / (size + 1e-6).sqrt()[:, None, None], norm.scale.flatten().expand(len(x), -1))

    def _trace_grad(self, layer: TraceGrad, f: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            f = f if f.requires_grad else f.detach().requires_grad_()
            mixed = [part @ u for part, u in zip(f.split(self.dims, dim=1), layer.mix, strict=True)]
            q = torch.stack([(part**2).sum(dim=1) for part in mixed], dim=2).flatten(1)  # (n, channels n_irreps)
            z = nn.functional.silu(q @ layer.first + layer.bias) @ layer.second
            (slope,) = torch.autograd.grad(z.sum(), f, create_graph=True)
        return f + slope, z


class PlainTrunk(nn.Module):
    """All blocks of a network as plain ones; takes and gives edge features in the edges' frame, as a block does."""

    def __init__(self, network: NextHAM) -> None:
        super().__init__()
        self.plain = nn.ModuleList(PlainBlock(network.hidden, block) for block in network.blocks)

    def forward(self, x: Tensor, e: Tensor, edges: Edges) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Return the last features and the sums of the invariants."""
        e = leave(e, edges.turn)
        z_node = z_edge = None
        for block in self.plain:
            x, e, dz_node, dz_edge = block(x, e, edges)
            if dz_node is not None and dz_edge is not None:
                z_node = dz_node if z_node is None else z_node + dz_node
                z_edge = dz_edge if z_edge is None else z_edge + dz_edge
        return x, enter(e, edges.turn), z_node, z_edge


def make_plain(network: NextHAM) -> NextHAM:
    """Replace a network's blocks by plain ones with the same parameters."""
    network.blocks = nn.ModuleList([PlainTrunk(network)])
    return network

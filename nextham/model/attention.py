"""One block: attention from edges to nodes, edge update, and the gradient non-linearity on both."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from nextham.model.irreps import Hidden
from nextham.model.layers import EdgeLinear, IrrepLinear, Norm, TraceGrad, on_scalars, perceptron, spread, sum_into
from nextham.model.settings import ModelSettings


@dataclasses.dataclass(frozen=True)
class Edges:
    """What every block knows about the directed edges."""

    i: Tensor  # (n_edges,) receiver
    j: Tensor  # (n_edges,) sender
    turn: Tensor  # (n_edges, dim, dim) orthogonal: global frame to edge frame
    envelope: Tensor  # (n_edges,) of the graph cutoff and of the overlap
    invariants: Tensor  # (n_edges, n) distance and elements


class Frame(nn.Module):
    """The way from the global frame to each edge's: rotations of all irreps and the order of the edge frame at once.

    As one dense matrix per edge: a block for each irrep has 4 to 8 times fewer products, but as many small matrices
    of other shapes, which take ten times longer on a CPU.
    """

    order: Tensor
    sign: Tensor

    def __init__(self, hidden: Hidden) -> None:
        super().__init__()
        order, sign = (torch.from_numpy(a) for a in hidden.edge_order)
        self.hidden = hidden
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("sign", sign[:, None], persistent=False)

    def forward(self, wigner: tuple[Tensor, ...]) -> Tensor:
        """D_l (n_edges, 2l + 1, 2l + 1), edge frame to global frame -> ``Edges.turn``."""
        dim = self.hidden.dim
        turn = wigner[0].new_zeros(len(wigner[0]), dim, dim)
        for irrep, rows in self.hidden.slices.items():
            turn[:, rows, rows] = wigner[irrep.l].transpose(1, 2)
        return turn.index_select(1, self.order) * self.sign.to(turn.dtype)


def enter(x: Tensor, turn: Tensor) -> Tensor:
    """Global frame to edge frame."""
    return torch.bmm(turn, x)


def leave(x: Tensor, turn: Tensor) -> Tensor:
    """Edge frame to global frame."""
    return torch.bmm(turn.transpose(1, 2), x)


class Attention(nn.Module):
    """α = envelope exp(logit) / (1 + Σ_j envelope exp(logit)) of each edge, per head.

    The 1 in the denominator lets an atom listen to nobody and keeps α continuous when a neighbour enters. α' is α
    without the envelope in the numerator, times a typical number of neighbours. A module, so that hooks see α.
    """

    def forward(self, logits: Tensor, edges: Edges, n_atoms: int) -> tuple[Tensor, Tensor]:
        """Logits (n_edges, n_heads) -> α and α' of the same shape."""
        weight = torch.exp(10 * torch.tanh(logits / 10))  # bounded, so that no maximum has to be subtracted
        inside = weight * edges.envelope[:, None]
        total = (1 + sum_into(n_atoms, edges.i, inside)).index_select(0, edges.i)
        return inside / total, _NEIGHBOURS * weight / total


class Block(nn.Module):
    """Attention block with explicit edge features.

    v = Φ(x_i, x_j, e) in the edge's frame; logit = q_i · v + b(d, Z_i, Z_j, scalars of v);
    x_i += Σ_j α v; e += α' v, where α' lacks the envelope, so that edges beyond the graph cutoff are still refined.
    """

    head: Tensor  # (channels,) of each channel
    edge_irreps: Tensor  # (dim,) of each component, edge frame
    node_irreps: Tensor  # (dim,) global frame

    def __init__(self, hidden: Hidden, settings: ModelSettings, n_invariants: int, *, stage: int = 2) -> None:
        super().__init__()
        c, self.n_heads = settings.channels, settings.n_heads
        n_irreps = self.n_irreps = len(hidden.irreps)
        edge_irreps, node_irreps = (torch.from_numpy(a) for a in (hidden.edge_irrep_of, hidden.irrep_of))
        self.node_norm, self.edge_norm = Norm(node_irreps, c), Norm(edge_irreps, c)
        self.query = IrrepLinear(hidden, c, c)
        self.mix = EdgeLinear(hidden, 3 * c, c, stage=stage)
        self.gates = perceptron(n_invariants + c, settings.width, n_irreps * c + c + self.n_heads)
        self.value = EdgeLinear(hidden, c, c, stage=stage)
        self.attention = Attention()
        self.to_node, self.to_edge = IrrepLinear(hidden, c, c), EdgeLinear(hidden, c, c, stage=stage)
        self.node_inner, self.node_outer = IrrepLinear(hidden, c, c), IrrepLinear(hidden, c, c)
        self.node_gates = perceptron(c, settings.width, n_irreps * c)
        self.register_buffer("head", torch.arange(self.n_heads).repeat_interleave(c // self.n_heads), persistent=False)
        self.register_buffer("edge_irreps", edge_irreps, persistent=False)
        self.register_buffer("node_irreps", node_irreps, persistent=False)
        self.trace_grad = settings.trace_grad
        if settings.trace_grad:
            self.node_gradient = TraceGrad(node_irreps, c, settings.width)
            self.edge_gradient = TraceGrad(edge_irreps, c, settings.width)

    def forward(self, x: Tensor, e: Tensor, edges: Edges) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Return new node features, edge features, and the invariants z of both (None without TraceGrad)."""
        total, e, z_edge = self.on_edges(self.offered(x), e, edges)
        x, z_node = self.on_nodes(x, total)
        return x, e, z_node, z_edge

    def offered(self, x: Tensor) -> Tensor:
        """Return what edges see of each atom, (n_atoms, dim, 2c): the normed features, then the queries."""
        y = self.node_norm(x)
        return torch.cat([y, self.query(y)], dim=2)

    def on_edges(self, offered: Tensor, e: Tensor, edges: Edges) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the sum of messages to each atom, new edge features and their z.

        It is exact for a part of the edges that holds all those of its receivers.
        """
        c = e.shape[2]
        ends = [offered.index_select(0, edges.i), offered[:, :, :c].index_select(0, edges.j)]
        receiver, query, sender = enter(torch.cat(ends, dim=2), edges.turn).split_with_sizes([c, c, c], dim=2)
        v = self.mix(torch.cat([receiver, sender, self.edge_norm(e)], dim=2))
        gates = self.gates(torch.cat([edges.invariants, v[:, 0]], dim=1))
        factors, shifts, bias = gates.split_with_sizes([self.n_irreps * c, c, self.n_heads], dim=1)
        v = v * spread(factors.reshape(len(v), self.n_irreps, c), self.edge_irreps) + on_scalars(shifts, v.shape[1])
        heads = (query * v).sum(dim=1).reshape(len(v), self.n_heads, c // self.n_heads).sum(dim=2)
        logits = heads / (v.shape[1] * c / self.n_heads) ** 0.5 + bias
        v = self.value(v)
        alpha, beta = (spread(a, self.head)[:, None] for a in self.attention(logits, edges, len(offered)))
        total = sum_into(len(offered), edges.i, leave(alpha * v, edges.turn))
        e = e + self.to_edge(beta * v)
        if not self.trace_grad:
            return total, e, None
        grown, z = self.edge_gradient(self.edge_norm(e))
        return total, e + grown, z

    def on_nodes(self, x: Tensor, total: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return new node features from the sum of messages, and their z."""
        c = x.shape[2]
        x = x + self.to_node(total)
        inner = self.node_inner(self.node_norm(x))
        opened = self.node_gates(inner[:, 0]).reshape(len(x), self.n_irreps, c)
        x = x + self.node_outer(inner * spread(opened, self.node_irreps))
        if not self.trace_grad:
            return x, None
        grown, z = self.node_gradient(self.node_norm(x))
        return x + grown, z


_NEIGHBOURS = 20.0  # typical number of neighbours: edge updates are as large as one message of a uniform attention

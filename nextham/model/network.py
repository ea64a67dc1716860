"""NextHAM: the network from a batch to the correction."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from nextham.model.attention import Block, Edges, Frame, enter, leave
from nextham.model.batch import Batch
from nextham.model.blocks import Blocks
from nextham.model.components import N_EVEN_ROWS
from nextham.model.heads import Embedding, Readout
from nextham.model.irreps import Hidden
from nextham.model.layers import (
    EdgeLinear,
    Norm,
    RadialBasis,
    envelope,
    interval_shares,
    on_scalars,
    per_interval,
    perceptron,
    presence,
    sum_into,
)
from nextham.model.settings import ModelSettings
from nextham.model.statistics import AMPLITUDE_FLOOR, Statistics
from nextham.model.vocabulary import Vocabulary

_LEAST: Final = 1e-6  # overlap below which the correction fades: H0, which it is made of, does not vanish with S


class Output(NamedTuple):
    """What the network predicts for a batch."""

    correction: Tensor  # (n_spin, n_values) eV, real rows of H - H0 (Re h_0 first), zero where there is no edge
    traces: list[Tensor] | None  # per on-site, then hopping group: tr(ΔH ΔH†) (n_rows, n_shell_pairs) eV²


class NextHAM(nn.Module):
    """E(3)-equivariant attention over explicit edge features (arXiv:2509.19877, with its flaws mended).

    Nodes start from their on-site blocks and element, edges from their hopping blocks and distance.
    Edge features live in the frame of their edge, where equivariant maps are dense matrices.
    """

    def __init__(self, settings: ModelSettings, vocabulary: Vocabulary, statistics: Statistics) -> None:
        super().__init__()
        self.settings, self.vocabulary = settings, vocabulary
        hidden, c, width = Hidden(settings.lmax), settings.channels, settings.width
        self.hidden, self.frame = hidden, Frame(hidden)
        heads = (hidden, vocabulary, settings, statistics)
        if settings.descriptors:
            self.onsite_embedding, self.hopping_embedding = (Embedding(*heads, onsite=flag) for flag in (True, False))
        self.onsite_readout, self.hopping_readout = (Readout(*heads, onsite=flag) for flag in (True, False))
        self.element = nn.Embedding(len(vocabulary.elements), settings.embedding)
        self.element_scalars = nn.Linear(settings.embedding, c)
        self.radial = RadialBasis(settings.n_radial, settings.correction_cutoff_ang)
        n_invariants = settings.n_radial + 2 * settings.embedding
        self.straight = perceptron(n_invariants, width, (settings.lmax + 1) * c)
        first = 2 if "h0" in settings.descriptors else 0  # stage of the features that the first block reads
        if settings.descriptors:
            self.edge_mix = EdgeLinear(hidden, c, c, stage=first)
        self.blocks = nn.ModuleList(
            Block(hidden, settings, n_invariants, stage=first + k) for k in range(settings.n_blocks)
        )
        self.node_norm = Norm(torch.from_numpy(hidden.irrep_of), c)
        self.edge_norm = Norm(torch.from_numpy(hidden.edge_irrep_of), c)
        if settings.descriptors:
            self.node_invariants = perceptron(c + settings.embedding, width, width)
            self.edge_invariants = perceptron(3 * c + n_invariants, width, width)

    def forward(self, batch: Batch, *, traces: bool = True) -> Output:
        """Predict the correction of every block of the batch, and the traces that training compares.

        Time reversal of magnetic crystals is exact because both time directions are predicted: parts
        that keep it are the mean of the two, parts that break it half their difference.
        """
        found = self._at_once(batch, traces=traces)
        if self.settings.target != "pauli-magnetic":
            return found
        back = self._at_once(batch.time_reversed(), traces=traces)
        means = None
        if found.traces is not None and back.traces is not None:
            means = [(a + b) / 2 for a, b in zip(found.traces, back.traces, strict=True)]
        return Output(of_both_times(found.correction, back.correction), means)

    def _at_once(self, batch: Batch, *, traces: bool) -> Output:
        edges = self.context(batch)
        x, e = self.start_nodes(batch), self.start_edges(batch, edges)
        z_node, z_edge = (t.new_zeros(len(t), self.settings.width) for t in (x, e))
        for block in self.blocks:
            x, e, dz_node, dz_edge = block(x, e, edges)
            if dz_node is not None and dz_edge is not None:
                z_node, z_edge = z_node + dz_node, z_edge + dz_edge
        wanted = traces and self.settings.trace_grad
        return Output(self.read(batch, edges, x, e), self._traces(batch, z_node, z_edge) if wanted else None)

    def context(self, batch: Batch) -> Edges:
        """Return what every block knows about the edges of a batch."""
        element = self.element(batch.element)
        ends = [element.index_select(0, batch.edge_i), element.index_select(0, batch.edge_j)]
        overlap = torch.cat([batch.hopping.amplitude] * 2)
        fade = envelope(batch.length, self.settings.graph_cutoff_ang) * presence(overlap, AMPLITUDE_FLOOR)
        invariants = torch.cat([self.radial(batch.length), *ends], dim=1)
        return Edges(batch.edge_i, batch.edge_j, self.frame(batch.wigner), fade, invariants)

    def start_nodes(self, batch: Batch) -> Tensor:
        """Return node features (n_atoms, dim, c), global frame."""
        scalars = on_scalars(self.element_scalars(self.element(batch.element)), self.hidden.dim)
        if not self.settings.descriptors:
            return scalars
        forward, backward = self.onsite_embedding(batch.onsite)
        own = (forward + backward) / 2
        return scalars + sum_into(len(batch.element), batch.onsite_atoms, own)

    def start_edges(self, batch: Batch, edges: Edges) -> Tensor:
        """Return edge features (n_edges, dim, c), edge frame."""
        n = self.settings.lmax + 1  # Y_l(d) has m = 0 alone in the edge's frame
        straight = self.straight(edges.invariants).reshape(len(edges.invariants), n, self.settings.channels)
        e = nn.functional.pad(straight, (0, 0, 0, self.hidden.dim - n))
        if not self.settings.descriptors:
            return e
        hopping = torch.cat(self.hopping_embedding(batch.hopping))
        mixed: Tensor = self.edge_mix(enter(hopping, edges.turn))
        return e + mixed

    def read(self, batch: Batch, edges: Edges, x: Tensor, e: Tensor) -> Tensor:
        """Return the correction (n_rows, n_values) eV from the last features of nodes and edges."""
        x, e = self.node_norm(x), self.edge_norm(e)
        own, pair = x[:, 0], e[:, 0]  # become factors of the pair's own blocks, where these are read
        if self.settings.descriptors:
            ends = [x[:, 0].index_select(0, atoms) for atoms in (batch.edge_i, batch.edge_j)]
            own = self.node_invariants(torch.cat([own, self.element(batch.element)], dim=1))
            pair = self.edge_invariants(torch.cat([pair, *ends, edges.invariants], dim=1))
        f_own, i_own = (t.index_select(0, batch.onsite_atoms) for t in (x, own))
        f, i = self._of_pairs(batch, leave(e, edges.turn)), self._of_pairs(batch, pair)
        overlap = batch.hopping.amplitude
        fade = envelope(batch.length[: len(overlap)], self.settings.correction_cutoff_ang) * presence(overlap, _LEAST)
        onsite = _blocks(batch.onsite, self.onsite_readout(batch.onsite, (f_own, f_own), (i_own, i_own)), None)
        hopping = _blocks(batch.hopping, self.hopping_readout(batch.hopping, f, i), fade)
        values, index = zip(*onsite, *hopping, strict=True)
        found = torch.cat(values, dim=1).to(batch.overlap.dtype)
        return found.new_zeros(len(found), len(batch.overlap)).scatter(
            1, torch.cat(index).expand(len(found), -1), found
        )

    def _traces(self, batch: Batch, z_node: Tensor, z_edge: Tensor) -> list[Tensor]:
        """Return the predicted traces from the invariants z of nodes and edges, summed over the blocks."""
        z_own = z_node.index_select(0, batch.onsite_atoms)
        found = self.onsite_readout.traces(batch.onsite, (z_own, z_own))
        return found + self.hopping_readout.traces(batch.hopping, self._of_pairs(batch, z_edge))

    def _of_pairs(self, batch: Batch, of_edges: Tensor) -> tuple[Tensor, Tensor]:
        """Return what edges have in both directions of each pair, once per interval of distance."""
        if self.settings.ensemble:
            of_edges = per_interval(of_edges, interval_shares(batch.length, self.settings.ensemble))
        half = len(batch.hopping.amplitude)
        return of_edges[:half], of_edges[half:]


def of_both_times(found: Tensor, back: Tensor) -> Tensor:
    """Return the correction (8, n_values) from those that the network gives a crystal and its time-reversed image."""
    even = (found + back)[:N_EVEN_ROWS]
    odd = (found - back)[N_EVEN_ROWS:]
    return torch.cat([even, odd]) / 2


def _blocks(blocks: Blocks, irreps: list[Tensor], fade: Tensor | None) -> list[tuple[Tensor, Tensor]]:
    """Return the values (n_spin, n) of each group's blocks, faded towards the cutoff, and where they stand (n,)."""
    found = []
    for group, y in zip(blocks.groups, irreps, strict=True):
        faded = y if fade is None else y * fade[group.rows][:, None]
        found.append((group.decode(faded).flatten(1), group.index.flatten()))
    return found

"""The network piece by piece: what it gives at once to rounding, in bounded memory.

Nodes are few numbers and stay on the device. Edge features stay in the CPU's memory and visit the device a
chunk at a time: rows of blocks to embed and to read, and whole neighbourhoods in the attention blocks, so that
every sum over neighbours is complete and one pass is enough. Time and memory are linear in the atoms.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from nextham.model.attention import Block, Edges, Frame
from nextham.model.batch import Batch
from nextham.model.blocks import PATH_FIELDS, Blocks, Group
from nextham.model.components import COMPONENTS
from nextham.model.irreps import Hidden
from nextham.model.network import NextHAM, of_both_times
from nextham.model.settings import ModelSettings

_COPIES: Final = 24  # of an edge's features that exist at once in a block or in the readout, measured
_READ_COPIES: Final = 4  # more for each interval of distances with a readout of its own
_PLENTY: Final = 2048  # edges in a chunk: more are not faster on a CPU
_MOST: Final = 65536  # and on an accelerator
_GIB: Final = 2**30

Near = tuple[Tensor, Tensor, Tensor]  # edges, their atoms, ends (2, n) among these


@dataclasses.dataclass(frozen=True)
class Cost:
    """Bytes that an evaluation takes beside the system's operators and the weights."""

    batch: float  # blocks as irreps, rotations
    held: float  # features of all edges and nodes, of a chunked evaluation
    per_edge: float  # of every edge that is in work

    @classmethod
    def of(cls, settings: ModelSettings, *, n_atoms: int, n_edges: int, n_values: int, itemsize: int) -> Cost:
        """Estimate from sizes; n_values: numbers in the blocks of one operator."""
        hidden = Hidden(settings.lmax)
        feature = hidden.dim * settings.channels
        turns = sum((2 * l + 1) ** 2 for l in range(settings.lmax + 1))
        invariants = settings.n_radial + 2 * settings.embedding
        rows = COMPONENTS[settings.target][-1].rows.stop
        batch = n_values * (len(settings.descriptors) * rows * itemsize + 4 * 8) + n_edges * turns * (itemsize + 8)
        held = itemsize * (n_edges * (feature + invariants + 4) + 8 * n_atoms * feature)
        gates = len(hidden.irreps) * settings.channels + 4 * settings.width
        copies = _COPIES + _READ_COPIES * len(settings.ensemble)
        return cls(batch, held, itemsize * (copies * feature + 2 * hidden.dim**2 + 3 * gates))

    def plain(self, n_edges: int) -> float:
        """Return the bytes of an evaluation at once."""
        return self.batch + n_edges * self.per_edge

    def chunked(self, n_edges: int) -> float:
        """Return the bytes of an evaluation in chunks of so many edges."""
        return self.batch + self.held + n_edges * self.per_edge

    def chunk(self, max_memory_gb: float, *, on_cpu: bool) -> int:
        """Return how many edges may be in work at once, 0 if there is no room for any."""
        room = max_memory_gb * _GIB - self.batch - self.held
        return max(0, min(int(room / self.per_edge), _PLENTY if on_cpu else _MOST))


@dataclasses.dataclass(frozen=True)
class Part:
    """Some blocks as a batch of their own, and where its atoms, edges and values stand in the whole."""

    batch: Batch
    atoms: Tensor
    edges: Tensor
    values: Tensor


@torch.no_grad()
def correction_in_chunks(network: NextHAM, batch: Batch, *, chunk_edges: int) -> Tensor:
    """Return the correction (n_rows, n_values) of a batch, eV, on the CPU, with at most so many edges in work.

    An atom's whole neighbourhood is one chunk at least.
    """
    found = _at_once(network, batch, chunk_edges)
    if network.settings.target != "pauli-magnetic":
        return found
    return of_both_times(found, _at_once(network, batch.time_reversed(), chunk_edges))


def _at_once(network: NextHAM, batch: Batch, chunk_edges: int) -> Tensor:
    """Return the correction as ``NextHAM`` gives it for one direction of time."""
    device = next(network.parameters()).device
    x, e, stored = _start(network, batch, chunk_edges)
    chunks = list(_neighbourhoods(batch, chunk_edges))
    for block in network.blocks:
        assert isinstance(block, Block)
        x, _ = block.on_nodes(x, _messages(block, block.offered(x), e, stored=stored, chunks=chunks))
    out = batch.overlap.new_zeros(COMPONENTS[network.settings.target][-1].rows.stop, len(batch.overlap))
    for part in _parts(batch, chunk_edges):
        ends = torch.stack([part.batch.edge_i, part.batch.edge_j])
        own, nodes = stored.taken(part.edges, ends), x[part.atoms.to(device)]
        out[:, part.values] = network.read(part.batch.to(device), own, nodes, e[part.edges].to(device)).cpu()
    return out


@dataclasses.dataclass(frozen=True)
class _Stored:
    """What is known about all edges, in the CPU's memory; see ``Edges``."""

    frame: Frame  # on the network's device
    wigner: tuple[Tensor, ...]
    envelope: Tensor
    invariants: Tensor

    def taken(self, rows: Tensor, ends: Tensor) -> Edges:
        """Return some edges on the network's device; ends (2, n) count among their own atoms."""
        device = self.frame.order.device
        i, j = ends.to(device)
        turn = self.frame(tuple(d[rows].to(device) for d in self.wigner))
        return Edges(i, j, turn, self.envelope[rows].to(device), self.invariants[rows].to(device))


def _start(network: NextHAM, batch: Batch, chunk_edges: int) -> tuple[Tensor, Tensor, _Stored]:
    """Return the first features of nodes (on the device) and edges (on the CPU), and what is known about edges."""
    weight = next(network.parameters())
    shape = (network.hidden.dim, network.settings.channels)
    x = weight.new_zeros(len(batch.element), *shape)
    e = torch.zeros(batch.n_edges, *shape, dtype=weight.dtype)
    n_invariants = network.settings.n_radial + 2 * network.settings.embedding
    fade, invariants = e.new_zeros(len(e)), e.new_zeros(len(e), n_invariants)
    for part in _parts(batch, chunk_edges):
        moved = part.batch.to(weight.device)
        if not len(part.edges):
            x[part.atoms.to(weight.device)] = network.start_nodes(moved)
            continue
        own = network.context(moved)
        e[part.edges] = network.start_edges(moved, own).cpu()
        fade[part.edges], invariants[part.edges] = own.envelope.cpu(), own.invariants.cpu()
    return x, e, _Stored(network.frame, batch.wigner, fade, invariants)


def _messages(block: Block, offered: Tensor, e: Tensor, *, stored: _Stored, chunks: list[Near]) -> Tensor:
    """Return the sum of messages to each atom; edge features are renewed in place."""
    total = offered.new_zeros(len(offered), *e.shape[1:])
    for rows, atoms, ends in chunks:
        here = atoms.to(total.device)
        messages, renewed, _ = block.on_edges(offered[here], e[rows].to(total.device), stored.taken(rows, ends))
        total[here] += messages  # zero for those that only send
        e[rows] = renewed.cpu()
    return total


def _neighbourhoods(batch: Batch, chunk_edges: int) -> Iterator[Near]:
    """Yield the edges of a few receivers each, all of every one, with their atoms and ends (2, n) among these."""
    order = torch.argsort(batch.edge_i, stable=True)
    ends = np.cumsum(np.bincount(batch.edge_i.numpy(), minlength=len(batch.element)))
    begin = 0
    while begin < batch.n_edges:
        fitting = ends[np.searchsorted(ends, begin + chunk_edges, side="right") - 1]
        end = int(fitting if fitting > begin else ends[np.searchsorted(ends, begin, side="right")])
        rows = order[begin:end]
        atoms, local = torch.unique(torch.stack([batch.edge_i[rows], batch.edge_j[rows]]), return_inverse=True)
        yield rows, atoms, local
        begin = end


def _parts(batch: Batch, chunk_edges: int) -> Iterator[Part]:
    """Yield all blocks, on-site ones first, of one pair of elements and at most half a chunk each."""
    step = max(1, chunk_edges // 2)
    for which in ("onsite", "hopping"):
        blocks: Blocks = getattr(batch, which)
        for group in blocks.groups:
            for begin in range(group.rows.start, group.rows.stop, step):
                yield _part(batch, which, group, torch.arange(begin, min(begin + step, group.rows.stop)))


def _part(batch: Batch, which: str, group: Group, rows: Tensor) -> Part:
    values = group.index[rows - group.rows.start].reshape(-1)
    half = len(batch.hopping.amplitude)
    onsite = which == "onsite"
    edges = rows[:0] if onsite else torch.cat([rows, half + rows])
    ends = torch.stack([batch.edge_i[edges], batch.edge_j[edges]])
    atoms, local = (batch.onsite_atoms[rows], ends) if onsite else torch.unique(ends, return_inverse=True)
    part = dataclasses.replace(
        batch,
        element=batch.element[atoms],
        edge_i=local[0],
        edge_j=local[1],
        length=batch.length[edges],
        wigner=tuple(d[edges] for d in batch.wigner),
        onsite_atoms=torch.arange(len(rows) if onsite else 0),
        onsite=_piece(batch.onsite, group, rows) if onsite else _nothing(batch.onsite),
        hopping=_nothing(batch.hopping) if onsite else _piece(batch.hopping, group, rows),
        n_values=(len(values),),
        multiplicity=batch.multiplicity[values],
        overlap=batch.overlap[values],
    )
    return Part(part, atoms, edges, values)


def _piece(blocks: Blocks, group: Group, rows: Tensor) -> Blocks:
    """Return some rows of one group as blocks of their own."""
    inner = rows - group.rows.start
    n = len(rows)
    own = dataclasses.replace(
        group,
        rows=slice(0, n),
        paths=slice(0, group.paths.stop - group.paths.start),
        index=torch.arange(n * group.index.shape[1]).reshape(n, -1),
        irreps={name: values[inner] for name, values in group.irreps.items()},
    )
    return dataclasses.replace(blocks, groups=(own,), amplitude=blocks.amplitude[rows], **_paths(blocks, group.paths))


def _nothing(blocks: Blocks) -> Blocks:
    return dataclasses.replace(blocks, groups=(), amplitude=blocks.amplitude[:0], **_paths(blocks, slice(0)))


def _paths(blocks: Blocks, paths: slice) -> dict[str, Any]:
    """Return the fields of blocks that have an entry per path, cut to some paths."""
    table = dataclasses.replace(blocks.table, place=blocks.table.place[paths])
    return {name: getattr(blocks, name)[paths] for name in PATH_FIELDS} | {"table": table}

"""An LCAOSystem as the tensors that the network reads: built on the CPU, moved to the device once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from nextham.core import BlockMatrix, LCAOSystem
from nextham.model.blocks import Blocks, Group
from nextham.model.irreps import wigner_matrices
from nextham.model.labels import aligned_rows, aligned_target, check_finite
from nextham.model.on_device import OnDevice
from nextham.model.settings import ModelSettings
from nextham.model.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class Batch(OnDevice):
    """Atoms, directed edges (both directions of every hopping block, in its order) and blocks."""

    element: Tensor  # (n_atoms,) rows of the element embedding
    edge_i: Tensor  # (n_edges,) receiver
    edge_j: Tensor  # (n_edges,) sender
    length: Tensor  # (n_edges,) Å
    wigner: tuple[Tensor, ...]  # D_l (n_edges, 2l + 1, 2l + 1): edge frame to global frame
    onsite_atoms: Tensor  # (n_atoms,) atom of each on-site block
    onsite: Blocks
    hopping: Blocks
    n_values: tuple[int, ...]  # of each structure, one after the other
    multiplicity: Tensor  # (n_values,)
    overlap: Tensor  # (n_values,) float64
    target: Tensor | None  # (n_spin, n_values) eV, float64: real rows of H - H0 - μ* S, Re h_0 first
    h0_error: Tensor | None  # the same of H0 - H: what a prediction has to beat

    @classmethod
    def build(
        cls, system: LCAOSystem, vocabulary: Vocabulary, *, settings: ModelSettings, dtype: torch.dtype, labels: bool
    ) -> Batch:
        """Build from a system of any number of structures.

        H-only pairs (no overlap) and pairs beyond the correction cutoff carry no edge.

        Raises:
            InputError: for an element or shell that the vocabulary lacks, an operator that is missing,
                a number that is not finite, or (with labels) a correction beyond the target.
        """
        vocabulary.check(system)
        check_finite(system, ("overlap", *(("h0", "hamiltonian") if labels else settings.operators[1:])))
        overlap = system.operator("overlap")
        near = overlap.support & ~system.pairs.onsite & (system.distances < settings.correction_cutoff_ang)
        operators: dict[str, BlockMatrix] = {
            name: system.operator(name) for name in dict.fromkeys(("overlap", *settings.descriptors))
        }
        hopping, rows = Blocks.build(system, vocabulary, near, operators, dtype)
        onsite, own = Blocks.build(system, vocabulary, system.pairs.onsite, operators, dtype)
        ij, vectors = system.pairs.ij[rows], system.vectors[rows]
        both = np.concatenate([vectors, -vectors]).reshape(-1, 3)
        pair = overlap.pair_of_value
        batch = cls(
            element=torch.tensor([vocabulary.elements[int(z)] for z in system.numbers]),
            edge_i=torch.from_numpy(np.concatenate([ij[:, 0], ij[:, 1]])),
            edge_j=torch.from_numpy(np.concatenate([ij[:, 1], ij[:, 0]])),
            length=torch.from_numpy(np.linalg.norm(both, axis=1)).to(dtype),
            wigner=tuple(torch.from_numpy(d).to(dtype) for d in wigner_matrices(both, settings.lmax)),
            onsite_atoms=torch.from_numpy(system.pairs.ij[own, 0]),
            onsite=onsite,
            hopping=hopping,
            n_values=tuple(np.bincount(system.structure_of_pair[pair], minlength=len(system)).tolist()),
            multiplicity=torch.from_numpy(system.pairs.multiplicity[pair]).to(torch.float64),
            overlap=torch.tensor(overlap.values[0]),
            target=None,
            h0_error=None,
        )
        return batch._labelled(system, settings) if labels else batch

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """Return several batches as one: what ``build`` makes of their structures together."""
        if len(batches) == 1:
            return batches[0]
        atoms = _starts([b.element for b in batches])
        values = _starts([b.overlap for b in batches])
        onsite, own = Blocks.joined([b.onsite for b in batches], values)
        hopping, rows = Blocks.joined([b.hopping for b in batches], values)
        own_atoms = [b.onsite_atoms + n for b, n in zip(batches, atoms, strict=True)]
        return cls(
            element=torch.cat([b.element for b in batches]),
            edge_i=_of_edges([b.edge_i + n for b, n in zip(batches, atoms, strict=True)], rows),
            edge_j=_of_edges([b.edge_j + n for b, n in zip(batches, atoms, strict=True)], rows),
            length=_of_edges([b.length for b in batches], rows),
            wigner=tuple(_of_edges(of_l, rows) for of_l in zip(*(b.wigner for b in batches), strict=True)),
            onsite_atoms=torch.cat(own_atoms)[own],
            onsite=onsite,
            hopping=hopping,
            n_values=tuple(n for b in batches for n in b.n_values),
            multiplicity=torch.cat([b.multiplicity for b in batches]),
            overlap=torch.cat([b.overlap for b in batches]),
            target=_of_labels([b.target for b in batches]),
            h0_error=_of_labels([b.h0_error for b in batches]),
        )

    def time_reversed(self) -> Batch:
        """Return the batch that the network reads of the time-reversed crystals."""
        return self._regrouped(Group.time_reversed)

    @property
    def n_edges(self) -> int:
        """Number of directed edges."""
        return len(self.edge_i)

    def _labelled(self, system: LCAOSystem, settings: ModelSettings) -> Batch:
        target = torch.from_numpy(aligned_target(system, settings))
        error = -target
        if not settings.delta:
            error = torch.from_numpy(-aligned_rows(system, system.correction, settings.target))
        traced = self._regrouped(lambda group: group.labelled(target))
        return dataclasses.replace(traced, target=target, h0_error=error)

    def _regrouped(self, change: Callable[[Group], Group]) -> Batch:
        """Return the same with every group of blocks changed."""
        onsite, hopping = (
            dataclasses.replace(blocks, groups=tuple(change(g) for g in blocks.groups))
            for blocks in (self.onsite, self.hopping)
        )
        return dataclasses.replace(self, onsite=onsite, hopping=hopping)


def _starts(parts: Sequence[Tensor]) -> list[int]:
    """Return where each part begins when they stand end to end."""
    return list(accumulate([len(part) for part in parts[:-1]], initial=0))


def _of_edges(parts: Sequence[Tensor], rows: Tensor) -> Tensor:
    """Join what edges have, both directions of each list of blocks, in a new order of the blocks."""
    halves = zip(*((part[: len(part) // 2], part[len(part) // 2 :]) for part in parts), strict=True)
    return torch.cat([torch.cat(half)[rows] for half in halves])


def _of_labels(parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there, dim=1) if there else None

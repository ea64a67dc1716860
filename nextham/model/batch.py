"""An LCAOSystem as the tensors that the network reads: built on the CPU, moved to the device once."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextham.core import BlockMatrix, LCAOSystem
from nextham.model.components import SpinIrreps, spin_irreps, spin_turns, to_rows
from nextham.model.irreps import BlockIrreps, Irrep, block_irreps, wigner_matrices
from nextham.model.labels import aligned_rows, aligned_target, check_finite
from nextham.model.on_device import OnDevice
from nextham.model.settings import ModelSettings
from nextham.model.vocabulary import Kind, Vocabulary


@dataclasses.dataclass(frozen=True)
class Group(OnDevice):
    """Blocks of one pair of elements."""

    rows: slice  # among all blocks of the list
    paths: slice  # among all paths of the list
    layout: SpinIrreps
    transform: Tensor  # (n_block, n_block) irreps of one spin component = transform @ block
    turns: tuple[tuple[Tensor, ...], ...]  # how spin couples to L, none for a spin scalar
    path_of_component: Tensor  # (n_comp,)
    shell_pair_of_path: Tensor  # (n_paths,)
    index: Tensor  # (n_rows, n_block) where the blocks stand among the values
    irreps: dict[str, Tensor]  # operator: (n_rows, n_comp) eV or 1

    @property
    def segments(self) -> tuple[tuple[Irrep, slice, slice], ...]:
        """Irreps, each with its components and its paths (within the group)."""
        return self.layout.segments

    def encode(self, values: Tensor) -> Tensor:
        """Real rows (n_spin, n_values) of an operator -> irreps of these blocks (n_rows, n_comp)."""
        return self.layout.couple(values[:, self.index] @ self.transform.to(values.dtype).T, self.turns)

    def decode(self, irreps: Tensor) -> Tensor:
        """Irreps (n_rows, n_comp) -> blocks (n_spin, n_rows, n_block)."""
        return self.layout.uncouple(irreps, self.turns) @ self.transform

    def time_reversed(self) -> Group:
        """Return the blocks of the time-reversed operators."""
        n = self.layout.n_even
        return dataclasses.replace(
            self, irreps={k: torch.cat([v[:, :n], -v[:, n:]], 1) for k, v in self.irreps.items()}
        )


@dataclasses.dataclass(frozen=True)
class PathTable(OnDevice):
    """Each two shells and kind that occur in a list of blocks, once, with a row for each kind.

    Paths of one kind share a weight matrix, and a row is one product with it. Rows are padded with shells that
    nobody asks for.
    """

    shells: Tensor  # (2, n_kinds, n_most) of i and of j: rows of the shell embedding
    place: Tensor  # (n_paths, 2) where a path and its transpose stand in the table, row by row

    @classmethod
    def of(cls, paths: NDArray[np.int64], n_kinds: int, n_shells: int) -> PathTable:
        """Build from shell_i, shell_j, kind, swapped kind of each path (4, n_paths)."""
        shell_i, shell_j, kind, swapped_kind = paths
        keys = np.stack([(kind, shell_i, shell_j), (swapped_kind, shell_j, shell_i)], axis=2)  # (3, n_paths, 2)
        known, place = np.unique(np.ravel_multi_index(keys, (n_kinds, n_shells, n_shells)), return_inverse=True)
        kind, *shells = np.unravel_index(known, (n_kinds, n_shells, n_shells))
        count = np.bincount(kind, minlength=n_kinds)
        column = np.arange(len(known)) - (np.cumsum(count) - count)[kind]
        table = np.zeros((2, n_kinds, max(1, count.max(initial=0))), dtype=np.int64)
        table[:, kind, column] = shells
        places = (kind * table.shape[2] + column)[place].reshape(-1, 2)
        return cls(torch.from_numpy(table), torch.from_numpy(places))


@dataclasses.dataclass(frozen=True)
class Blocks(OnDevice):
    """Blocks grouped by elements: all on-site ones, or one direction of all hopping ones."""

    groups: tuple[Group, ...]
    shell_i: Tensor  # (n_paths,) rows of the shell embedding
    shell_j: Tensor
    kind: Tensor  # (n_paths,)
    swapped_kind: Tensor  # (n_paths,) of the transposed path
    sign: Tensor  # (n_paths,) of the irrep under transposition
    amplitude: Tensor  # (n_rows,) root mean square of the overlap block; 1 on-site
    degree: Tensor  # (n_paths,) of the irrep
    scalar: Tensor  # (n_paths,) whether it is an L = 0 of Re h_0
    table: PathTable


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
    structure_of_value: Tensor  # (n_values,)
    multiplicity: Tensor  # (n_values,)
    overlap: Tensor  # (n_values,) float64
    target: Tensor | None  # (n_spin, n_values) eV, float64: real rows of H - H0 - μ* S, Re h_0 first
    h0_error: Tensor | None  # the same of H0 - H: what a prediction has to beat
    n_structures: int

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
        hopping, rows = _blocks(system, vocabulary, near, operators, dtype)
        onsite, own = _blocks(system, vocabulary, system.pairs.onsite, operators, dtype)
        ij, vectors = system.pairs.ij[rows], system.vectors[rows]
        both = np.concatenate([vectors, -vectors]).reshape(-1, 3)
        pair = overlap.pair_of_value
        target = torch.from_numpy(aligned_target(system, settings)) if labels else None
        return cls(
            element=torch.tensor([vocabulary.elements[int(z)] for z in system.numbers]),
            edge_i=torch.from_numpy(np.concatenate([ij[:, 0], ij[:, 1]])),
            edge_j=torch.from_numpy(np.concatenate([ij[:, 1], ij[:, 0]])),
            length=torch.from_numpy(np.linalg.norm(both, axis=1)).to(dtype),
            wigner=tuple(torch.from_numpy(d).to(dtype) for d in wigner_matrices(both, settings.lmax)),
            onsite_atoms=torch.from_numpy(system.pairs.ij[own, 0]),
            onsite=onsite,
            hopping=hopping,
            structure_of_value=torch.from_numpy(system.structure_of_pair[pair]),
            multiplicity=torch.from_numpy(system.pairs.multiplicity[pair]).to(torch.float64),
            overlap=torch.tensor(overlap.values[0]),
            target=target,
            h0_error=_h0_error(system, settings, target),
            n_structures=len(system),
        )

    def time_reversed(self) -> Batch:
        """Return the batch that the network reads of the time-reversed crystals."""
        onsite, hopping = (
            dataclasses.replace(blocks, groups=tuple(g.time_reversed() for g in blocks.groups))
            for blocks in (self.onsite, self.hopping)
        )
        return dataclasses.replace(self, onsite=onsite, hopping=hopping)

    @property
    def n_edges(self) -> int:
        """Number of directed edges."""
        return len(self.edge_i)


def _h0_error(system: LCAOSystem, settings: ModelSettings, target: Tensor | None) -> Tensor | None:
    if target is None or settings.delta:
        return None if target is None else -target
    return torch.from_numpy(-aligned_rows(system, system.correction, settings.target))


def _blocks(
    system: LCAOSystem,
    vocabulary: Vocabulary,
    keep: NDArray[np.bool_],
    operators: dict[str, BlockMatrix],
    dtype: torch.dtype,
) -> tuple[Blocks, NDArray[np.int64]]:
    """Return the kept blocks grouped by elements, and the pairs in that order."""
    groups, rows, paths, amplitude = [], [], [], []
    n_rows = n_paths = 0
    real = {name: to_rows(matrix.values, vocabulary.target) for name, matrix in operators.items()}
    for group in operators["overlap"].groups:
        kept = keep[group.pairs]
        if not kept.any():
            continue
        shells = tuple(system.basis.shells(z) for z in group.elements)
        layout = spin_irreps(block_irreps(shells[0], shells[1]), vocabulary.target)
        index = group.index[kept].reshape(int(kept.sum()), -1)
        groups.append(_group(real, layout, index, dtype=dtype, starts=(n_rows, n_paths)))
        rows.append(group.pairs[kept])
        paths.append(_path_rows(vocabulary, group.elements, shells, layout))
        amplitude.append(np.sqrt((operators["overlap"].values[0, index] ** 2).mean(axis=1)))
        n_rows, n_paths = n_rows + len(index), n_paths + len(layout.paths)
    order = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
    table = np.concatenate([np.zeros((7, 0), dtype=np.int64), *paths], axis=1)
    size = np.concatenate([np.zeros(0), *amplitude])
    size = np.where(system.pairs.onsite[order], 1.0, size)
    shell_i, shell_j, kind, swapped_kind, sign, degree, scalar = (torch.from_numpy(column) for column in table)
    blocks = Blocks(
        tuple(groups),
        shell_i=shell_i,
        shell_j=shell_j,
        kind=kind,
        swapped_kind=swapped_kind,
        sign=sign.to(dtype),
        amplitude=torch.from_numpy(size).to(dtype),
        degree=degree,
        scalar=scalar == 1,
        table=PathTable.of(table[:4], len(vocabulary.kinds), vocabulary.n_shells),
    )
    return blocks, order


def _group(
    real: dict[str, NDArray[np.float64]],
    layout: SpinIrreps,
    index: NDArray[np.int64],
    *,
    dtype: torch.dtype,
    starts: tuple[int, int],
) -> Group:
    orbital = layout.orbital
    pairs = {shells: k for k, shells in enumerate(sorted({(p.shell_i, p.shell_j) for p in layout.paths}))}
    turns = spin_turns(max(irrep.l for irrep, _, _ in orbital.segments)) if len(layout.components) > 1 else ()
    return Group(
        rows=slice(starts[0], starts[0] + len(index)),
        paths=slice(starts[1], starts[1] + len(layout.paths)),
        layout=layout,
        transform=_transform(orbital, dtype),
        turns=turns,
        path_of_component=torch.from_numpy(layout.path_of_component),
        shell_pair_of_path=torch.tensor([pairs[p.shell_i, p.shell_j] for p in layout.paths]),
        index=torch.from_numpy(index),
        irreps={
            name: layout.couple(torch.from_numpy(rows[:, index] @ orbital.transform.T), turns).to(dtype)
            for name, rows in real.items()
        },
    )


@cache
def _transform(split: BlockIrreps, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(split.transform).to(dtype)


def _path_rows(
    vocabulary: Vocabulary, elements: tuple[int, int], shells: tuple[tuple[int, ...], ...], layout: SpinIrreps
) -> NDArray[np.int64]:
    """Return shell_i, shell_j, kind, swapped kind, sign, degree, scalar of each path, (7, n_paths)."""
    start, kinds = [vocabulary.shells[z] for z in elements], vocabulary.kinds
    rows = []
    for irrep, s_i, s_j, sign, component, l in layout.paths:
        l_i, l_j = shells[0][s_i], shells[1][s_j]
        kind = (kinds[Kind(component, *ls, l, irrep.l)] for ls in ((l_i, l_j), (l_j, l_i)))
        rows.append((start[0] + s_i, start[1] + s_j, *kind, sign, irrep.l, component == 0 and irrep.l == 0))
    return np.array(rows).T

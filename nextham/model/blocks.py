"""Blocks of a batch as irreps, grouped by the two elements, and what is known of each path."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextham.core import BlockMatrix, LCAOSystem
from nextham.model.components import SpinIrreps, spin_irreps, spin_turns, to_rows
from nextham.model.irreps import BlockIrreps, Irrep, block_irreps
from nextham.model.on_device import OnDevice
from nextham.model.vocabulary import Kind, Vocabulary


@dataclasses.dataclass(frozen=True)
class Group(OnDevice):
    """Blocks of one pair of elements."""

    elements: tuple[int, int]  # atomic numbers
    rows: slice  # among all blocks of the list
    paths: slice  # among all paths of the list
    layout: SpinIrreps
    transform: Tensor  # (n_block, n_block) irreps of one spin component = transform @ block
    turns: tuple[Tensor, ...]  # how spin couples to L, none for a spin scalar
    path_of_component: Tensor  # (n_comp,)
    shell_pair_of_path: Tensor  # (n_paths,)
    n_shell_pairs: int
    index: Tensor  # (n_rows, n_block) where the blocks stand among the values
    irreps: dict[str, Tensor]  # operator: (n_rows, n_comp) eV or 1
    traces: Tensor | None  # (n_rows, n_shell_pairs) eV², tr(T T†) of the target T, float64

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

    def of_shell_pairs(self, per_path: Tensor) -> Tensor:
        """Sum (n_rows, n_paths) over the paths of each shell pair, (n_rows, n_shell_pairs)."""
        belongs = torch.nn.functional.one_hot(self.shell_pair_of_path, self.n_shell_pairs)
        return per_path @ belongs.to(per_path.dtype)

    def labelled(self, target: Tensor) -> Group:
        """Return the group with the traces of a target (n_spin, n_values), eV."""
        squares = self.encode(target) ** 2
        per_path = squares.new_zeros(len(squares), len(self.shell_pair_of_path))
        per_path.index_add_(1, self.path_of_component, squares)
        return dataclasses.replace(self, traces=self.of_shell_pairs(per_path))

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
    def of(cls, shells: NDArray[np.int64], kinds: NDArray[np.int64], n_kinds: int) -> PathTable:
        """Build from the shells (2, n_paths) of i and j, and the kinds (2, n_paths) of paths and transposes."""
        keys = np.stack([kinds, shells, shells[::-1]])  # (3, 2, n_paths): kind, i, j of both
        sizes = (n_kinds, *2 * (int(shells.max(initial=0)) + 1,))
        known, place = np.unique(np.ravel_multi_index(tuple(keys), sizes), return_inverse=True)
        kind, *ends = np.unravel_index(known, sizes)
        count = np.bincount(kind, minlength=n_kinds)
        column = np.arange(len(known)) - (np.cumsum(count) - count)[kind]
        table = np.zeros((2, n_kinds, max(1, int(count.max()))), dtype=np.int64)
        table[:, kind, column] = ends
        places = (kind * table.shape[2] + column)[place].reshape(2, -1).T
        return cls(torch.from_numpy(table), torch.tensor(places))


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

    @classmethod
    def build(
        cls,
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
            shells = (system.basis.shells(group.elements[0]), system.basis.shells(group.elements[1]))
            layout = spin_irreps(block_irreps(*shells), vocabulary.target)
            index = group.index[kept].reshape(int(kept.sum()), -1)
            starts = (n_rows, n_paths)
            groups.append(_group(real, group.elements, layout, index, dtype=dtype, starts=starts))
            rows.append(group.pairs[kept])
            paths.append(_path_rows(vocabulary, group.elements, shells, layout))
            amplitude.append(np.sqrt((operators["overlap"].values[0, index] ** 2).mean(axis=1)))
            n_rows, n_paths = n_rows + len(index), n_paths + len(layout.paths)
        order = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
        table = np.concatenate([np.zeros((7, 0), dtype=np.int64), *paths], axis=1)
        size = np.where(system.pairs.onsite[order], 1.0, np.concatenate([np.zeros(0), *amplitude]))
        shell_i, shell_j, kind, swapped_kind, sign, degree, scalar = (torch.from_numpy(column) for column in table)
        blocks = cls(
            tuple(groups),
            shell_i=shell_i,
            shell_j=shell_j,
            kind=kind,
            swapped_kind=swapped_kind,
            sign=sign.to(dtype),
            amplitude=torch.from_numpy(size).to(dtype),
            degree=degree,
            scalar=scalar == 1,
            table=PathTable.of(table[:2], table[2:4], len(vocabulary.kinds)),
        )
        return blocks, order

    @classmethod
    def joined(cls, parts: Sequence[Blocks], value_starts: Sequence[int]) -> tuple[Blocks, Tensor]:
        """Return the blocks of several batches as one list, and where its rows stood in all lists end to end."""
        row_starts = np.cumsum([0, *(len(part.amplitude) for part in parts)])
        found: dict[tuple[int, int], list[tuple[int, Group]]] = {}
        for k, part in enumerate(parts):
            for group in part.groups:
                found.setdefault(group.elements, []).append((k, group))
        groups: list[Group] = []
        rows: list[Tensor] = []  # of each group
        paths: list[list[Tensor]] = []  # of each group, field by field
        for _, same in sorted(found.items()):
            k, first = same[0]
            places = [torch.arange(g.rows.start, g.rows.stop) + int(row_starts[p]) for p, g in same]
            n_rows, n_paths = sum(len(r) for r in rows), sum(len(p[0]) for p in paths)
            rows.append(torch.cat(places))
            paths.append([getattr(parts[k], name)[first.paths] for name in PATH_FIELDS])
            groups.append(
                dataclasses.replace(
                    first,
                    rows=slice(n_rows, n_rows + len(rows[-1])),
                    paths=slice(n_paths, n_paths + len(paths[-1][0])),
                    index=torch.cat([g.index + value_starts[p] for p, g in same]),
                    irreps={name: torch.cat([g.irreps[name] for _, g in same]) for name in first.irreps},
                    traces=None if first.traces is None else torch.cat([g.traces for _, g in same]),  # type: ignore[misc]
                )
            )
        order = torch.cat([torch.zeros(0, dtype=torch.int64), *rows])
        nothing = [[getattr(parts[0], name)[:0] for name in PATH_FIELDS]]
        columns = {n: torch.cat(c) for n, c in zip(PATH_FIELDS, zip(*nothing, *paths, strict=True), strict=True)}
        shells, kinds = (
            torch.stack([columns[n] for n in names]).numpy()
            for names in (("shell_i", "shell_j"), ("kind", "swapped_kind"))
        )
        table = PathTable.of(shells, kinds, parts[0].table.shells.shape[1])
        amplitude = torch.cat([part.amplitude for part in parts])[order]
        return cls(tuple(groups), amplitude=amplitude, table=table, **columns), order


PATH_FIELDS = tuple(f.name for f in dataclasses.fields(Blocks) if f.name not in ("groups", "amplitude", "table"))


def _group(
    real: dict[str, NDArray[np.float64]],
    elements: tuple[int, int],
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
        elements,
        rows=slice(starts[0], starts[0] + len(index)),
        paths=slice(starts[1], starts[1] + len(layout.paths)),
        layout=layout,
        transform=_transform(orbital, dtype),
        turns=turns,
        path_of_component=torch.from_numpy(layout.path_of_component),
        shell_pair_of_path=torch.tensor([pairs[p.shell_i, p.shell_j] for p in layout.paths]),
        n_shell_pairs=len(pairs),
        index=torch.from_numpy(index),
        irreps={
            name: layout.couple(torch.from_numpy(rows[:, index] @ orbital.transform.T), turns).to(dtype)
            for name, rows in real.items()
        },
        traces=None,
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

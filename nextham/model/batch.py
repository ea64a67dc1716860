"""An LCAOSystem as the tensors that the network reads: built on the CPU, moved to the device once."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextham.core import BlockMatrix, LCAOSystem, OrbitalBasis, symbol
from nextham.exceptions import InputError
from nextham.model.irreps import BlockIrreps, Irrep, block_irreps, wigner_matrices
from nextham.model.on_device import OnDevice
from nextham.model.settings import ModelSettings
from nextham.physics.align import shift_of

_MAGNETIC_EV = 1e-3  # a larger spin part of a correction is physics, not the engine's noise


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What the network can name: elements, their shells, and the kinds (l_i, l_j, L) of path."""

    basis: OrbitalBasis

    @property
    def elements(self) -> dict[int, int]:
        """Row of each atomic number in the element embedding."""
        return {z: k for k, z in enumerate(self.basis)}

    @property
    def shells(self) -> dict[int, int]:
        """Row of the first shell of each atomic number in a shell embedding."""
        counts = np.cumsum([0, *(len(self.basis.shells(z)) for z in self.basis)])
        return {z: int(counts[k]) for k, z in enumerate(self.basis)}

    @property
    def n_shells(self) -> int:
        """Number of shells of all elements together."""
        return sum(len(self.basis.shells(z)) for z in self.basis)

    @property
    def kinds(self) -> dict[tuple[int, int, int], int]:
        """Row of each (l_i, l_j, L)."""
        ls = sorted({l for z in self.basis for l in self.basis.shells(z)})
        names = [(i, j, l) for i in ls for j in ls for l in range(abs(i - j), i + j + 1)]
        return {name: k for k, name in enumerate(names)}

    def check(self, system: LCAOSystem) -> None:
        """Raise InputError unless every element has the shells that the network knows."""
        for z in system.basis:
            if z not in self.basis:
                known = ", ".join(symbol(e) for e in self.basis)
                raise InputError(
                    f"{_owner(system, z)} contains {symbol(z)}, which the model was not trained on ({known})"
                )
            if system.basis.shells(z) != self.basis.shells(z):
                raise InputError(
                    f"{_owner(system, z)} has {system.basis.label(z)} orbitals on {symbol(z)}, "
                    f"but the model was trained with {self.basis.label(z)}"
                )


@dataclasses.dataclass(frozen=True)
class Group(OnDevice):
    """Blocks of one pair of elements."""

    rows: slice  # among all blocks of the list
    paths: slice  # among all paths of the list
    segments: tuple[tuple[Irrep, slice, slice], ...]  # irrep, its components, its paths (within the group)
    transform: Tensor  # (n_comp, n_comp) irreps = transform @ block
    path_of_component: Tensor  # (n_comp,)
    shell_pair_of_path: Tensor  # (n_paths,)
    index: Tensor  # (n_rows, n_comp) where the blocks stand among the values
    irreps: dict[str, Tensor]  # operator: (n_rows, n_comp) eV or 1


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
    degree: Tensor  # (n_paths,) L


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
    target: Tensor | None  # (n_values,) eV, float64: h_0 of H - H0 - μ* S
    n_structures: int

    @classmethod
    def build(
        cls, system: LCAOSystem, vocabulary: Vocabulary, *, settings: ModelSettings, dtype: torch.dtype, labels: bool
    ) -> Batch:
        """Build from a system of any number of structures.

        H-only pairs (no overlap) and pairs beyond the correction cutoff carry no edge.

        Raises:
            InputError: for an element or shell that the vocabulary lacks, an operator that is missing,
                a number that is not finite, or (with labels) a correction that is not a spin scalar.
        """
        vocabulary.check(system)
        _check_finite(system, labels=labels)
        overlap = system.operator("overlap")
        near = overlap.support & ~system.pairs.onsite & (system.distances < settings.correction_cutoff_ang)
        hopping, rows = _blocks(system, vocabulary, near, dtype)
        onsite, own = _blocks(system, vocabulary, system.pairs.onsite, dtype)
        ij, vectors = system.pairs.ij[rows], system.vectors[rows]
        both = np.concatenate([vectors, -vectors]).reshape(-1, 3)
        pair = overlap.pair_of_value
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
            target=torch.from_numpy(aligned_target(system)) if labels else None,
            n_structures=len(system),
        )

    @property
    def n_edges(self) -> int:
        """Number of directed edges."""
        return len(self.edge_i)


def aligned_target(system: LCAOSystem) -> NDArray[np.float64]:
    """Return h_0 of H - H0 - μ* S (n_values,) eV, with each structure's own μ*.

    Raises:
        InputError: if a correction has a spin part: the network learns the spin scalar alone.
    """
    correction = system.correction
    if len(correction.values) == 4 and system.pairs.n_pairs:
        spin = np.abs(correction.values[1:]).max(axis=0)
        if spin.max(initial=0.0) > _MAGNETIC_EV:
            k = int(system.structure_of_pair[correction.pair_of_value[np.argmax(spin)]])
            raise InputError(
                f"the correction of {system.ids[k]} depends on spin (up to {1e3 * spin.max():.3g} meV), which a "
                f"spin-scalar model cannot learn; leave magnetic structures out of the training split"
            )
    target = np.array(correction.values[0].real)
    overlap = system.operators["overlap"][0]
    weight = system.pairs.multiplicity[correction.pair_of_value]
    owner = system.structure_of_pair[correction.pair_of_value]
    for k in range(len(system)):
        own = owner == k
        target[own] -= shift_of(target[own], overlap[own], weight[own]) * overlap[own]
    return target


def _blocks(
    system: LCAOSystem, vocabulary: Vocabulary, keep: NDArray[np.bool_], dtype: torch.dtype
) -> tuple[Blocks, NDArray[np.int64]]:
    """Return the kept blocks grouped by elements, and the pairs in that order."""
    groups, rows, paths, amplitude = [], [], [], []
    n_rows = n_paths = 0
    operators = {name: system.operator(name) for name in ("overlap", "h0")}
    for group in operators["overlap"].groups:
        kept = keep[group.pairs]
        if not kept.any():
            continue
        shells = tuple(system.basis.shells(z) for z in group.elements)
        split = block_irreps(shells[0], shells[1])
        index = group.index[kept].reshape(int(kept.sum()), -1)
        groups.append(_group(operators, split, index, dtype=dtype, starts=(n_rows, n_paths)))
        rows.append(group.pairs[kept])
        paths.append(_path_rows(vocabulary, group.elements, shells, split))
        amplitude.append(np.sqrt((operators["overlap"].values[0, index] ** 2).mean(axis=1)))
        n_rows, n_paths = n_rows + len(index), n_paths + len(split.paths)
    order = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
    table = np.concatenate([np.zeros((6, 0), dtype=np.int64), *paths], axis=1)
    size = np.concatenate([np.zeros(0), *amplitude])
    size = np.where(system.pairs.onsite[order], 1.0, size)
    shell_i, shell_j, kind, swapped_kind, sign, degree = (torch.from_numpy(column) for column in table)
    blocks = Blocks(
        tuple(groups),
        shell_i=shell_i,
        shell_j=shell_j,
        kind=kind,
        swapped_kind=swapped_kind,
        sign=sign.to(dtype),
        amplitude=torch.from_numpy(size).to(dtype),
        degree=degree,
    )
    return blocks, order


def _group(
    operators: dict[str, BlockMatrix],
    split: BlockIrreps,
    index: NDArray[np.int64],
    *,
    dtype: torch.dtype,
    starts: tuple[int, int],
) -> Group:
    pairs = {shells: k for k, shells in enumerate(sorted({(p.shell_i, p.shell_j) for p in split.paths}))}
    return Group(
        rows=slice(starts[0], starts[0] + len(index)),
        paths=slice(starts[1], starts[1] + len(split.paths)),
        segments=split.segments,
        transform=_transform(split, dtype),
        path_of_component=torch.from_numpy(split.path_of_component),
        shell_pair_of_path=torch.tensor([pairs[p.shell_i, p.shell_j] for p in split.paths]),
        index=torch.from_numpy(index),
        irreps={
            name: torch.from_numpy(matrix.values[0].real[index] @ split.transform.T).to(dtype)
            for name, matrix in operators.items()
        },
    )


@cache
def _transform(split: BlockIrreps, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(split.transform).to(dtype)


def _path_rows(
    vocabulary: Vocabulary, elements: tuple[int, int], shells: tuple[tuple[int, ...], ...], split: BlockIrreps
) -> NDArray[np.int64]:
    """Return shell_i, shell_j, kind, swapped kind, sign, L of each path, (6, n_paths)."""
    start, kinds = [vocabulary.shells[z] for z in elements], vocabulary.kinds
    rows = []
    for irrep, s_i, s_j, sign in split.paths:
        l_i, l_j = shells[0][s_i], shells[1][s_j]
        kind = (kinds[l_i, l_j, irrep.l], kinds[l_j, l_i, irrep.l])
        rows.append((start[0] + s_i, start[1] + s_j, *kind, sign, irrep.l))
    return np.array(rows).T


def _check_finite(system: LCAOSystem, *, labels: bool) -> None:
    for name in ("overlap", "h0", *(("hamiltonian",) if labels else ())):
        matrix = system.operator(name)
        bad = ~np.isfinite(matrix.values).all(axis=0)
        if bad.any():
            pair = int(matrix.pair_of_value[np.argmax(bad)])
            i, j = system.pairs.ij[pair] - system.atom_ptr[system.structure_of_pair[pair]]
            cell = tuple(int(c) for c in system.pairs.R[pair])
            raise InputError(
                f"the {name} of {system.ids[system.structure_of_pair[pair]]} is not a number at atoms {i}, {j}, "
                f"cell {cell}; remove or recompute this structure"
            )


def _owner(system: LCAOSystem, z: int) -> str:
    atom = int(np.flatnonzero(system.numbers == z)[0])
    return system.ids[int(np.searchsorted(system.atom_ptr, atom, side="right")) - 1]

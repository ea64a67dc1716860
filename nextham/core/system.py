"""LCAOSystem: one crystal, a shard or a batch, with its operators."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core._arrays import frozen, offsets
from nextham.core.blocks import BlockMatrix, SpinLayout, most_general, widened
from nextham.core.orbitals import OrbitalBasis
from nextham.core.pairs import PairList
from nextham.core.structure import Structure
from nextham.exceptions import InputError

_ID: Final = re.compile(r"[\w+=()-][\w.+=()-]*")
OPERATORS: Final = {
    "overlap": "S, dimensionless",
    "h0": "Hamiltonian of the superposed neutral-atom densities, eV",
    "hamiltonian": "self-consistent (or predicted) Hamiltonian, eV",
}


def check_id(id: str, *, mend: str = "rename the folder or file, or give an --id") -> str:
    """Return an id that can name a folder; ``mend`` says in the error where the id comes from.

    Raises:
        InputError: if it cannot.
    """
    if not _ID.fullmatch(id):
        raise InputError(
            f"{id!r} cannot name a structure: an id becomes the name of a folder, so it has letters, digits "
            f"and . _ + = ( ) - only, and does not start with a dot; {mend}"
        )
    return id


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where one structure and its operators come from. Plain values only, so that it is also JSON."""

    id: str
    source: str = ""  # where the crystal comes from, e.g. "mp-149" or a file
    licence: str = ""
    engine: str = ""  # "abacus", "lcao", or the model that predicted
    engine_version: str = ""
    h0_definition: str = ""  # id of the H0 definition, e.g. "atomic-density-step0"
    magnetism: str = ""  # of H, without one of H0: "nonmagnetic", or how it became magnetic: "autoset", "moments"
    h0_magnetism: str = ""  # of H0, where it is not that of H
    fermi_energy_ev: float | None = None
    total_energy_ev: float | None = None
    n_electrons: float | None = None
    ecutwfc_ry: float | None = None
    kmesh: tuple[int, int, int] | None = None
    smearing: str = ""
    smearing_ev: float | None = None
    converged: bool | None = None
    scf_steps: int | None = None
    scf_drho: float | None = None
    wall_time_s: float | None = None  # of all runs together
    h0_wall_s: float | None = None  # until H0 was there
    scf_wall_s: float | None = None  # of the self-consistent run, from its start
    h0_cpu_s: float | None = None  # the same over all threads
    scf_cpu_s: float | None = None
    pair_cutoff_ang: float | None = None  # the source left out farther pairs, though its operators may reach farther
    precision_ev: float | None = None  # of H and H0, where the source rounded them (float32)
    notes: str = ""  # what was found out, converted or mended on the way here
    input_sha256: str = ""
    pseudopotentials: Mapping[str, str] = dataclasses.field(default_factory=dict)  # element: name or sha256
    orbitals: Mapping[str, str] = dataclasses.field(default_factory=dict)  # element: name or sha256
    orbital_cutoff_ang: Mapping[str, float] = dataclasses.field(default_factory=dict)  # element: radius

    def __post_init__(self) -> None:
        check_id(self.id)
        if self.kmesh is not None:
            object.__setattr__(self, "kmesh", tuple(int(n) for n in self.kmesh))


@dataclasses.dataclass(frozen=True, eq=False)
class LCAOSystem:
    """Crystals and their operators in an atomic-orbital basis; closed under concatenation.

    ``LCAOSystem.concat([a, b])[1] == b``, up to the widest spin layout of the two. Positions are folded
    into the home cell by the engine's parser, and every R refers to those positions.
    """

    numbers: NDArray[np.int64]  # (n_atoms,) atomic numbers
    positions: NDArray[np.float64]  # (n_atoms, 3) Å, Cartesian
    cells: NDArray[np.float64]  # (n_structures, 3, 3) Å, rows are lattice vectors
    atom_ptr: NDArray[np.int64]  # (n_structures + 1,) atoms of structure k: ptr[k]:ptr[k+1]
    basis: OrbitalBasis
    pairs: PairList
    operators: Mapping[str, NDArray[Any]]  # name: (n_spin_components, n_values), see SpinLayout
    meta: tuple[Provenance, ...]  # one per structure

    def __post_init__(self) -> None:
        for name, kind in (("numbers", "i8"), ("positions", "f8"), ("cells", "f8"), ("atom_ptr", "i8")):
            object.__setattr__(self, name, frozen(getattr(self, name), kind))
        object.__setattr__(self, "meta", tuple(self.meta))
        self._check_shapes()
        if unknown := set(self.operators) - set(OPERATORS):
            raise InputError(f"unknown operator {sorted(unknown)[0]!r}; there are {', '.join(OPERATORS)}")
        matrices = {
            name: BlockMatrix(self.basis, self.numbers, self.pairs, values) for name, values in self.operators.items()
        }
        frozen_values = {name: matrix.values for name, matrix in matrices.items()}
        object.__setattr__(self, "operators", MappingProxyType(frozen_values))

    def _check_shapes(self) -> None:
        n = len(self.cells)
        good = (
            self.positions.shape == (len(self.numbers), 3)
            and self.cells.shape == (n, 3, 3)
            and self.atom_ptr.shape == (n + 1,)
            and self.atom_ptr[-1] == len(self.numbers)
            and len(self.pairs) == len(self.meta) == n
        )
        if not good:
            raise InputError("the arrays of a system disagree on how many structures or atoms there are")
        owner = np.repeat(np.arange(n), np.diff(self.atom_ptr))
        wanted = np.repeat(np.arange(n), np.diff(self.pairs.pair_ptr))
        ij = self.pairs.ij
        if ij.size and (ij.min() < 0 or ij.max() >= len(owner) or (owner[ij] != wanted[:, None]).any()):
            raise InputError("a pair of a system names an atom of another structure")

    @classmethod
    def single(
        cls,
        structure: Structure,
        basis: OrbitalBasis,
        pairs: PairList,
        operators: Mapping[str, NDArray[Any]],
        meta: Provenance,
    ) -> LCAOSystem:
        """Build the system of one structure."""
        basis = basis.restricted(structure.numbers.tolist())
        ptr = np.array([0, len(structure)])
        return cls(structure.numbers, structure.positions, structure.cell[None], ptr, basis, pairs, operators, (meta,))

    @classmethod
    def concat(cls, systems: Sequence[LCAOSystem]) -> LCAOSystem:
        """Put systems end to end; they must carry the same operators and agree on each element's shells."""
        if not systems:
            raise ValueError("nothing to concatenate")
        basis = systems[0].basis
        names = set(systems[0].operators)
        for s in systems[1:]:
            basis = basis | s.basis
            if set(s.operators) != names:
                raise InputError(f"{s.meta[0].id} carries {sorted(s.operators)}, the systems before it {sorted(names)}")
        operators = {}
        for name in names:
            layout = most_general(*(SpinLayout.of(s.operators[name]) for s in systems))
            operators[name] = np.concatenate([widened(s.operators[name], layout) for s in systems], axis=1)
        n_atoms = [len(s.numbers) for s in systems]
        return cls(
            np.concatenate([s.numbers for s in systems]),
            np.concatenate([s.positions for s in systems]),
            np.concatenate([s.cells for s in systems]),
            offsets(np.concatenate([np.diff(s.atom_ptr) for s in systems])),
            basis,
            PairList.concat([s.pairs for s in systems], n_atoms),
            operators,
            tuple(m for s in systems for m in s.meta),
        )

    @property
    def ids(self) -> tuple[str, ...]:
        """Structure ids."""
        return tuple(m.id for m in self.meta)

    @cached_property
    def n_orb(self) -> NDArray[np.int64]:
        """Number of orbitals (without spin) of each atom, (n_atoms,)."""
        return frozen(self.basis.n_orb_of(self.numbers), np.int64)

    @cached_property
    def structure_of_pair(self) -> NDArray[np.int64]:
        """Which structure each pair belongs to, (n_pairs,)."""
        return frozen(np.repeat(np.arange(len(self)), np.diff(self.pairs.pair_ptr)), np.int64)

    @cached_property
    def vectors(self) -> NDArray[np.float64]:
        """D = x_j + R·cell - x_i of each pair, (n_pairs, 3) Å."""
        i, j = self.pairs.ij.T
        shift = np.einsum("pa,pab->pb", self.pairs.R.astype(np.float64), self.cells[self.structure_of_pair])
        return frozen(self.positions[j] + shift - self.positions[i], np.float64)

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        """|d| of each pair, (n_pairs,) Å."""
        return frozen(np.linalg.norm(self.vectors, axis=1), np.float64)

    def structure(self, k: int = 0) -> Structure:
        """Return the crystal of structure k."""
        atoms = slice(self.atom_ptr[k], self.atom_ptr[k + 1])
        return Structure(self.numbers[atoms], self.positions[atoms], self.cells[k])

    def operator(self, name: str) -> BlockMatrix:
        """Return an operator as blocks.

        Raises:
            InputError: if the system does not carry it.
        """
        if name not in self.operators:
            raise InputError(
                f"{self.ids[0]} carries no {name}; it carries {', '.join(self.operators) or 'no operator'}"
            )
        return BlockMatrix(self.basis, self.numbers, self.pairs, self.operators[name])

    @property
    def correction(self) -> BlockMatrix:
        """H - H0."""
        return self.operator("hamiltonian") - self.operator("h0")

    def with_operator(self, name: str, values: NDArray[Any]) -> LCAOSystem:
        """Return the system with one operator set or replaced; values (n_spin_components, n_values)."""
        return dataclasses.replace(self, operators={**self.operators, name: values})

    def without(self, *names: str) -> LCAOSystem:
        """Return the system without some operators."""
        return dataclasses.replace(self, operators={n: v for n, v in self.operators.items() if n not in names})

    def with_meta(self, **changes: Any) -> LCAOSystem:
        """Return the system with fields of every structure's provenance changed."""
        return dataclasses.replace(self, meta=tuple(dataclasses.replace(m, **changes) for m in self.meta))

    def on(self, pairs: PairList) -> LCAOSystem:
        """Return a single structure's system on another pair list; missing blocks are zero."""
        operators = {name: self.operator(name).on(pairs).values for name in self.operators}
        return dataclasses.replace(self, pairs=pairs, operators=operators)

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.cells)

    def __getitem__(self, k: int) -> LCAOSystem:
        """Return the system of structure k alone."""
        k = range(len(self))[k]
        first, last = self.atom_ptr[k], self.atom_ptr[k + 1]
        own = self.pairs[k]
        pairs = PairList(own.ij - first, own.R, own.pair_ptr)
        numbers = self.numbers[first:last]
        lengths = self.n_orb[self.pairs.ij].prod(axis=1)
        begin = int(lengths[: self.pairs.pair_ptr[k]].sum())
        stop = begin + int(lengths[self.pairs.pair_ptr[k] : self.pairs.pair_ptr[k + 1]].sum())
        operators = {name: values[:, begin:stop] for name, values in self.operators.items()}
        return LCAOSystem.single(
            Structure(numbers, self.positions[first:last], self.cells[k]), self.basis, pairs, operators, self.meta[k]
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LCAOSystem):
            return NotImplemented
        arrays = ("numbers", "positions", "cells", "atom_ptr")
        return (
            all(np.array_equal(getattr(self, a), getattr(other, a)) for a in arrays)
            and self.basis == other.basis
            and self.pairs == other.pairs
            and self.meta == other.meta
            and set(self.operators) == set(other.operators)
            and all(np.array_equal(self.operators[n], other.operators[n]) for n in self.operators)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return type(self), tuple({**fields, "operators": dict(self.operators)}.values())

    def __repr__(self) -> str:
        what = self.structure().formula if len(self) == 1 else f"{len(self)} structures"
        return f"LCAOSystem({what}, {self.pairs.n_pairs} pairs, {', '.join(sorted(self.operators))}, {self.basis})"

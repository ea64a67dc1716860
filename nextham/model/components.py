"""Which real parts of an operator the network reads and learns, and their irreps under orbitals and spin.

H = h_0 σ_0 + h·σ. Hermiticity makes the real part of each h symmetric and the imaginary part
antisymmetric; time reversal turns h_0 into h_0* and h into -h*. The parts that keep time reversal
stand first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextham.core import SpinLayout
from nextham.model.irreps import BlockIrreps, Irrep, clebsch_gordan
from nextham.physics.spin import narrowed


class Component(NamedTuple):
    """One real part: block(j, i, -R) = sign · block(i, j, R)ᵀ."""

    rows: slice  # among the real rows
    rank: int  # spin 0: h_0; spin 1: the axial vector h
    sign: int  # 1 for real parts, -1 for imaginary ones


N_EVEN_ROWS: Final = 4  # the rows after these change sign under time reversal
LAYOUTS: Final = {
    "spin-scalar": SpinLayout.SCALAR,
    "pauli": SpinLayout.TIME_REVERSAL,
    "pauli-magnetic": SpinLayout.FULL,
}
_ALL = (  # Re h_0, Im h, Im h_0, Re h
    Component(slice(0, 1), 0, 1),
    Component(slice(1, 4), 1, -1),
    Component(slice(4, 5), 0, -1),
    Component(slice(5, 8), 1, 1),
)
COMPONENTS: Final = {"spin-scalar": _ALL[:1], "pauli": _ALL[:2], "pauli-magnetic": _ALL}


def to_rows(values: NDArray[Any], target: str) -> NDArray[np.float64]:
    """Return the real rows (1, 4 or 8, n_values) that a target has of operator values in any layout."""
    kept = narrowed(values, LAYOUTS[target])[0]
    if np.iscomplexobj(kept):
        return np.concatenate([kept[:1].real, kept[1:].imag, kept[:1].imag, kept[1:].real])
    return np.asarray(kept)


def from_rows(rows: NDArray[np.float64]) -> NDArray[Any]:
    """Return operator values, in the layout of the target, of its real rows."""
    return rows[[0, 5, 6, 7]] + 1j * rows[[4, 1, 2, 3]] if len(rows) > N_EVEN_ROWS else rows


def spin_block_modulus(rows: Tensor) -> Tensor:
    """Return half the sum over ↑↑ ↑↓ ↓↑ ↓↓ of the modulus of an element, (n_values,); |h_0| of a spin scalar.

    The mean over the four blocks, which the benchmark reports, is half of this.
    """
    if len(rows) == 1:
        return rows[0].abs()
    re_0, im_x, im_y, im_z, im_0, re_x, re_y, re_z = torch.cat([rows, rows.new_zeros(8 - len(rows), rows.shape[1])])
    parts = [
        (re_0 + re_z, im_0 + im_z),
        (re_x + im_y, im_x - re_y),
        (re_x - im_y, im_x + re_y),
        (re_0 - re_z, im_0 - im_z),
    ]
    blocks = torch.stack([torch.stack(pair) for pair in parts])
    # vector_norm has the gradient 0 at 0, where hypot has none
    moduli: Tensor = torch.linalg.vector_norm(blocks, dim=1)
    return moduli.sum(dim=0) / 2


class SpinPath(NamedTuple):
    """One irrep of one component in the block of two shells: spin ⊗ (l_i ⊗ l_j -> l) -> irrep."""

    irrep: Irrep
    shell_i: int
    shell_j: int
    sign: int  # of the irrep when the pair is read backwards
    component: int
    l: int


@dataclasses.dataclass(frozen=True, eq=False)
class SpinIrreps:
    """The irreps of all components of a block, component by component.

    A rank-0 component keeps the irreps L of the orbitals; a rank-1 component has |L - 1| .. L + 1 of
    the same parity, because spin is an axial vector.
    """

    orbital: BlockIrreps
    components: tuple[Component, ...]

    @cached_property
    def segments(self) -> tuple[tuple[Irrep, slice, slice], ...]:
        """Irreps with their numbers and their paths, in order; one irrep may come several times."""
        found, row, first = [], 0, 0
        for _, irrep, paths in self._walk():
            n = paths.stop - paths.start
            rows = n * (2 * irrep.l + 1)
            found.append((irrep, slice(row, row + rows), slice(first, first + n)))
            row, first = row + rows, first + n
        return tuple(found)

    @cached_property
    def paths(self) -> tuple[SpinPath, ...]:
        """All paths, segment by segment."""
        return tuple(
            SpinPath(irrep, p.shell_i, p.shell_j, p.sign * self.components[k].sign, k, p.irrep.l)
            for k, irrep, paths in self._walk()
            for p in self.orbital.paths[paths]
        )

    @cached_property
    def path_of_component(self) -> NDArray[np.int64]:
        """Which path each number belongs to."""
        return np.repeat(np.arange(len(self.paths)), [2 * p.irrep.l + 1 for p in self.paths])

    @cached_property
    def n_even(self) -> int:
        """How many numbers keep their sign under time reversal; they stand first."""
        return sum(2 * p.irrep.l + 1 for p in self.paths if self.components[p.component].rows.start < N_EVEN_ROWS)

    def couple(self, x: Tensor, turns: tuple[Tensor, ...]) -> Tensor:
        """Orbital irreps (n_rows, n_blocks, n_orbital) of each row -> (n_blocks, n_all)."""
        parts = []
        for c in self.components:
            if c.rank == 0:
                parts.append(x[c.rows.start])
                continue
            for irrep, rows, _ in self.orbital.segments:
                vector = x[c.rows, :, rows].reshape(3, x.shape[1], -1, 2 * irrep.l + 1)
                coupled = torch.einsum("asm,snpm->npa", turns[irrep.l].to(x.dtype), vector)
                parts += [part.flatten(1) for part in coupled.split_with_sizes(_sizes(irrep.l), dim=2)]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def uncouple(self, y: Tensor, turns: tuple[Tensor, ...]) -> Tensor:
        """Invert ``couple``."""
        if len(self.components) == 1:
            return y[None]
        rows_of: list[Tensor] = []
        pieces = iter(y.split_with_sizes([rows.stop - rows.start for _, rows, _ in self.segments], dim=1))
        for c in self.components:
            found = []
            for irrep, _, _ in self.orbital.segments:
                if c.rank == 0:
                    found.append(next(pieces)[None])
                    continue
                coupled = torch.cat([next(pieces).reshape(len(y), -1, n) for n in _sizes(irrep.l)], dim=2)
                found.append(torch.einsum("asm,npa->snpm", turns[irrep.l].to(y.dtype), coupled).flatten(2))
            rows_of.append(torch.cat(found, dim=2))
        return torch.cat(rows_of)

    def _walk(self) -> Iterator[tuple[int, Irrep, slice]]:
        """Yield component, irrep and the orbital paths that it comes from."""
        for k, c in enumerate(self.components):
            for irrep, _, paths in self.orbital.segments:
                for l in range(abs(irrep.l - c.rank), irrep.l + c.rank + 1):
                    yield k, Irrep(l, irrep.parity), paths


@cache
def spin_irreps(orbital: BlockIrreps, target: str) -> SpinIrreps:
    """Return the irreps of a block for a target."""
    return SpinIrreps(orbital, COMPONENTS[target])


@cache
def spin_turns(lmax: int) -> tuple[Tensor, ...]:
    """Return for each L to lmax the map (6L + 3, 3, 2L + 1) of (x, y, z) ⊗ L to all J = |L - 1| .. L + 1, float64."""
    xyz = [2, 0, 1]  # p = (y, z, x)
    return tuple(
        torch.from_numpy(np.concatenate([clebsch_gordan(1, l, j)[:, xyz] for j in range(abs(l - 1), l + 2)]))
        for l in range(lmax + 1)
    )


def _sizes(l: int) -> list[int]:
    """Return the dimension of each J in spin 1 ⊗ L."""
    return [2 * j + 1 for j in range(abs(l - 1), l + 2)]

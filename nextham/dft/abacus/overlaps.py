"""S(R) by ABACUS's own two-centre integrals, through its Python binding: an independent check of a record.

The binding (pyabacus, built from ABACUS's tree, python/pyabacus) tabulates overlaps of the orbitals in .orb files and
gives them one by one. Its functions are ABACUS's: those of m ≠ 0 carry (-1)^m against the house's (order.py).
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import LCAOSystem, symbol
from nextham.dft.abacus import binding
from nextham.dft.species.orb import read_orb
from nextham.exceptions import InputError
from nextham.units import BOHR_ANG

_DR_BOHR: Final = 0.01  # of the tables, as in ABACUS itself


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far a record's S is from that of the binding."""

    id: str
    n_pairs: int
    largest: float  # max |S - S'|
    pair: str  # where

    def __str__(self) -> str:
        return f"{self.id}: max |S - S(pyabacus)| {self.largest:.1e} in {self.n_pairs} pairs, at {self.pair}"


class Overlaps:
    """Two-centre overlaps of the orbitals of some elements."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Tabulate them.

        Args:
            files: .orb file of each element.

        Raises:
            InputError: if the binding is not there, or is another package of its name.
        """
        self.check()
        nao = importlib.import_module("pyabacus.ModuleNAO")
        base = importlib.import_module("pyabacus.ModuleBase")
        self._types = {name: k for k, name in enumerate(files)}
        self._shells = {name: read_orb(path).shells for name, path in files.items()}
        orbitals = nao.RadialCollection()
        orbitals.build(len(files), [str(path) for path in files.values()], "o")
        orbitals.set_transformer(base.SphericalBesselTransformer())
        cutoff = 2.0 * float(orbitals.rcut_max)
        n = int(cutoff / _DR_BOHR) + 1
        orbitals.set_uniform_grid(True, n, cutoff, "i", True)
        self._integrals = nao.TwoCenterIntegrator()
        self._integrals.tabulate(orbitals, orbitals, "S", n, cutoff)
        self._orbitals = orbitals  # the tables refer to it

    @staticmethod
    def check() -> None:
        """Check that there is ABACUS's binding.

        Raises:
            InputError: with what is there instead.
        """
        if (reason := binding.why_no_integrals()) is not None:
            raise InputError(f"S cannot be compared with ABACUS's integrals: {reason}")

    def block(self, first: str, second: str, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the block of two elements in house order for d = x_2 - x_1, (3,) Bohr."""
        rows, columns = self._functions(first), self._functions(second)
        out = np.empty((len(rows), len(columns)))
        for a, (t1, l1, z1, m1) in enumerate(rows):
            for b, (t2, l2, z2, m2) in enumerate(columns):
                value = self._integrals.calculate(t1, l1, z1, m1, t2, l2, z2, m2, vector, False)[0]
                out[a, b] = (-1) ** (m1 + m2) * np.ravel(value)[0]
        return out

    def _functions(self, element: str) -> list[tuple[int, int, int, int]]:
        """Return type, l, zeta and m of each orbital in house order."""
        shells = self._shells[element]
        zetas = [shells[:k].count(l) for k, l in enumerate(shells)]
        number = self._types[element]
        return [(number, l, zeta, m) for l, zeta in zip(shells, zetas, strict=True) for m in range(-l, l + 1)]

    def difference(self, system: LCAOSystem) -> Difference:
        """Compare the overlap of one structure, block by block.

        Raises:
            InputError: if its orbitals are not those of the files.
        """
        self._check_basis(system)
        overlap, vectors = system.operator("overlap"), system.vectors / BOHR_ANG
        names, pairs = [symbol(int(z)) for z in system.numbers], system.pairs
        errors = np.empty(pairs.n_pairs)
        for p, (i, j) in enumerate(pairs.ij.tolist()):
            expected = self.block(names[i], names[j], np.ascontiguousarray(vectors[p]))
            errors[p] = np.abs(overlap.block(p) - expected).max()
        worst = int(np.argmax(errors))
        i, j = pairs.ij[worst].tolist()
        place = f"({names[i]}{i}, {names[j]}{j}, R = {' '.join(map(str, pairs.R[worst].tolist()))})"
        return Difference(system.meta[0].id, pairs.n_pairs, float(errors[worst]), place)

    def _check_basis(self, system: LCAOSystem) -> None:
        for z in sorted(set(system.numbers.tolist())):
            shells = self._shells.get(symbol(z), ())
            if shells != system.basis.shells(z):
                raise InputError(
                    f"{system.meta[0].id}: the .orb file of {symbol(z)} has shells l = {' '.join(map(str, shells))}, "
                    f"the record l = {' '.join(map(str, system.basis.shells(z)))}; name the species of the record"
                )

"""A stand-in for ABACUS's pyabacus: its interface of two-centre integrals on top of the embedded engine's.

``write_binding(FOLDER)`` writes a package pyabacus with ModuleBase and ModuleNAO as the real one has them: classes,
names and order of arguments, functions of ABACUS's sign. ``shift`` falsifies the integrals.
"""

from __future__ import annotations

from pathlib import Path

_NAO = """
import numpy as np
from nextham.dft.lcao.radial import RadialGrid, orbital_set
from nextham.dft.lcao.twocentre import Operator, two_centre
from nextham.dft.species.orb import read_orb

class RadialCollection:
    def build(self, nfile, file_list, ftype="\\0"):
        assert (nfile, ftype) == (len(file_list), "o")
        self.orbitals = [read_orb(path) for path in file_list]
    def set_transformer(self, sbt, update=0):
        self.sbt = sbt
    @property
    def rcut_max(self):
        return max(o.cutoff for o in self.orbitals)
    def set_uniform_grid(self, for_r_space, ngrid, cutoff, mode="i", enable_fft=False):
        assert for_r_space and enable_fft and mode == "i" and cutoff == 2 * self.rcut_max and ngrid > 1000

class TwoCenterIntegrator:
    def tabulate(self, bra, ket, op, nr, cutoff):
        assert bra is ket and op == "S"
        self.orbitals = bra.orbitals
        self.grid = RadialGrid.of_cutoff(bra.rcut_max)
        self.sets = [orbital_set(self.grid, Species(o)) for o in self.orbitals]
        self.last = None
    def calculate(self, itype1, l1, izeta1, m1, itype2, l2, izeta2, m2, pvR, cal_grad=False):
        assert not cal_grad and abs(m1) <= l1 and abs(m2) <= l2
        key = (itype1, itype2, *map(float, pvR))
        if self.last is None or self.last[0] != key:
            first, second = self.sets[itype1], self.sets[itype2]
            integrals = two_centre(self.grid, first, second, Operator.OVERLAP)(np.array([pvR], dtype=float))[0]
            self.last = key, integrals.numpy()
        a, b = self.place(itype1, l1, izeta1, m1), self.place(itype2, l2, izeta2, m2)
        return np.array([(-1) ** (m1 + m2) * self.last[1][a, b] + {shift}]), np.empty(0)
    def place(self, itype, l, izeta, m):
        shells = self.orbitals[itype].shells
        k = [n for n, each in enumerate(shells) if each == l][izeta]
        return sum(2 * each + 1 for each in shells[:k]) + l + m

class Species:
    def __init__(self, orbitals):
        self.orbitals, self.key = orbitals, orbitals.sha256
"""


def write_binding(folder: Path, *, shift: float = 0.0) -> Path:
    """Write the package and return the folder that it is imported from."""
    package = folder / "pyabacus"
    for name in ("", "ModuleBase", "ModuleNAO"):
        (package / name).mkdir(parents=True, exist_ok=True)
        (package / name / "__init__.py").write_text("")
    (package / "ModuleBase" / "__init__.py").write_text("class SphericalBesselTransformer:\n    pass\n")
    (package / "ModuleNAO" / "__init__.py").write_text(_NAO.replace("{shift}", repr(shift)))
    return folder

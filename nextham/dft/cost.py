"""What a structure costs before it is computed: time of one core and memory, from its orbitals, k points and volume."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from nextham.core import Structure
from nextham.dft.geometry import mesh_of
from nextham.dft.settings import RecipeSettings
from nextham.dft.species.files import SpeciesFiles
from nextham.dft.species.orb import read_orb

_COMPLEX_MB: Final = 16e-6
_UNIT_VOLUME_ANG3: Final = 100.0
_UNIT_EIGEN: Final = 1e6  # k points times orbitals cubed: 125 k points of 20 orbitals

FilesOf = Callable[[Iterable[str]], Mapping[str, SpeciesFiles]]


@dataclasses.dataclass(frozen=True)
class Size:
    """What time and memory follow from."""

    n_orb: int  # without spin
    n_k: int  # points of the mesh
    volume_ang3: float


@dataclasses.dataclass(frozen=True)
class CostModel:
    """Time and memory of one structure from crystal to record.

        seconds = start + volume · V / 100 Å³ + eigen · n_k n_orb³ / 10⁶
        MB      = program + volume_mb · V / 100 Å³ + copies · n_k (2 n_orb)² · 16 B

    The first term of the time is what every structure pays, the second is work on the grid, the third eigenproblems.
    The numbers of an engine are fitted to its wall times by bench/cost_model.py. They choose chunks and what jobs ask
    for; a campaign that runs measures its own speed.
    """

    start_s: float
    volume_s: float
    eigen_s: float
    program_mb: float
    volume_mb: float
    copies: float  # matrices kept of each k point

    def seconds(self, size: Size) -> float:
        """Return the time on one core, s."""
        eigen = size.n_k * float(size.n_orb) ** 3 / _UNIT_EIGEN
        return self.start_s + self.volume_s * size.volume_ang3 / _UNIT_VOLUME_ANG3 + self.eigen_s * eigen

    def memory_mb(self, size: Size) -> float:
        """Return the memory, MB."""
        matrices = self.copies * size.n_k * (2.0 * size.n_orb) ** 2 * _COMPLEX_MB
        return self.program_mb + self.volume_mb * size.volume_ang3 / _UNIT_VOLUME_ANG3 + matrices


LCAO_COST: Final = CostModel(1.8, 2.4, 0.245, program_mb=1500, volume_mb=170, copies=8)
ABACUS_COST: Final = CostModel(100, 20, 15, program_mb=500, volume_mb=300, copies=8)


def size_of(structure: Structure, recipe: RecipeSettings, files_of: FilesOf) -> Size:
    """Return the size of a structure.

    Args:
        structure: the crystal.
        recipe: gives its k mesh.
        files_of: species files by element.

    Raises:
        NexthamError: if an element has no orbitals.
    """
    symbols = structure.symbols
    files = files_of(dict.fromkeys(symbols))
    orbitals = {name: _n_orb(f.orb, f.orb.stat().st_mtime_ns) for name, f in files.items()}
    return Size(sum(orbitals[name] for name in symbols), math.prod(mesh_of(structure, recipe)), structure.volume)


@lru_cache(maxsize=512)
def _n_orb(path: Path, _stamp: int) -> int:
    return read_orb(path).n_orb

"""Which structures are one and the same: pymatgen's StructureMatcher behind a cheap comparison of numbers.

De-duplication and the audit of splits both ask here.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nextham.console import track
from nextham.core import Structure
from nextham.structures.settings import MatchSettings

Key = TypeVar("Key")

N_VECTORS: Final = 13  # shortest lattice vectors, of +v and -v one
N_NEIGHBOURS: Final = 12
_LARGEST_MULTIPLE: Final = 8  # of a cell that still counts as a supercell
_PRIMITIVE_ANG: Final = 0.02  # less than what rattling does: a rattled supercell stays one
_SLACK: Final = 1e-9


@dataclasses.dataclass(frozen=True)
class Reduced:
    """A structure as it is compared: its primitive, Niggli-reduced cell and numbers that near structures share."""

    crystal: Any  # pymatgen's Structure
    n_atoms: int
    volume_ang3: float  # per atom
    features: NDArray[np.float64]  # (1 + N_VECTORS + N_NEIGHBOURS,) logarithms, see _features


@dataclasses.dataclass(frozen=True)
class Near:
    """How near two structures are."""

    kind: str  # "duplicate", or "copy": the same crystal, strained, rattled or in a supercell
    rms_ang: float | None  # of the sites, once both cells have one volume and the mean shape of the two
    volume_ratio: float  # of volumes per atom, second to first


DUPLICATE: Final = "duplicate"
COPY: Final = "copy"


class Matcher:
    """Compares reduced structures of one reduced formula."""

    def __init__(self, settings: MatchSettings = MatchSettings()) -> None:  # noqa: B008  (frozen)
        """Prepare pymatgen's matchers: a strict one, and one for perturbed copies of a crystal."""
        from pymatgen.analysis.structure_matcher import StructureMatcher

        self.settings = settings
        self._strict: Any = StructureMatcher(
            ltol=settings.length, stol=settings.site, angle_tol=settings.angle_deg, scale=False
        )
        loose: dict[str, Any] = {"ltol": 0.2, "stol": 0.3, "angle_tol": 10}  # pymatgen's, with room for strained cells
        self._loose: Any = StructureMatcher(**loose)
        self._supercell: Any = StructureMatcher(**loose, attempt_supercell=True)

    @cached_property
    def scale(self) -> NDArray[np.float64]:
        """Largest difference of each feature of two duplicates.

        Lengths of lattice vectors differ by the strain that the tolerances allow, distances of neighbours by that and
        by the displacements of both atoms; tests compare with every pair matched.
        """
        settings = self.settings
        strain = settings.length + 2.5 * np.radians(settings.angle_deg)
        sites = 6 * settings.site
        widths = [settings.volume] + [strain] * N_VECTORS + [strain + sites] * N_NEIGHBOURS
        return np.array(widths) + _SLACK

    def is_duplicate(self, a: Reduced, b: Reduced) -> bool:
        """Return whether two structures agree within the tolerances."""
        if a.n_atoms != b.n_atoms or abs(np.log(b.volume_ang3 / a.volume_ang3)) > self.settings.volume + _SLACK:
            return False
        return _fits(self._strict, a, b)

    def is_copy(self, a: Reduced, b: Reduced) -> bool:
        """Return whether two structures are one crystal, if strained, rattled or in a supercell."""
        if a.n_atoms == b.n_atoms:
            return _fits(self._loose, a, b)
        small, large = sorted((a, b), key=lambda each: each.n_atoms)
        multiple, rest = divmod(large.n_atoms, small.n_atoms)
        return rest == 0 and multiple <= _LARGEST_MULTIPLE and _fits(self._supercell, small, large)

    def near(self, a: Reduced, b: Reduced) -> Near | None:
        """Return how near two structures are, None if they are different crystals."""
        kind = DUPLICATE if self.is_duplicate(a, b) else COPY
        if kind == COPY and not self.is_copy(a, b):
            return None
        return self.measured(kind, a, b)

    def measured(self, kind: str, a: Reduced, b: Reduced) -> Near:
        """Return how near two structures are that are known to be of a kind."""
        return Near(kind, self._rms_ang(a, b), b.volume_ang3 / a.volume_ang3)

    def _rms_ang(self, a: Reduced, b: Reduced) -> float | None:
        matcher = self._loose if a.n_atoms == b.n_atoms else self._supercell
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = matcher.get_rms_dist(*sorted((a.crystal, b.crystal), key=len))
        edge = (a.volume_ang3 * b.volume_ang3) ** (1 / 6)
        return None if found is None else float(found[0]) * edge


def _fits(matcher: Any, a: Reduced, b: Reduced) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(matcher.fit(a.crystal, b.crystal, skip_structure_reduction=True))


def reduced(structure: Structure) -> Reduced:
    """Return a structure as it is compared."""
    from pymatgen.core.structure import Structure as Crystal

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        crystal = Crystal(structure.cell, structure.numbers.tolist(), structure.fractional)
        crystal = crystal.get_reduced_structure().get_primitive_structure(tolerance=_PRIMITIVE_ANG)
    volume = float(crystal.volume) / len(crystal)
    return Reduced(crystal, len(crystal), volume, _features(crystal, volume))


def composition_key(structure: Structure) -> tuple[tuple[int, int], ...]:
    """Return the reduced composition: structures that differ in it are never near."""
    numbers, counts = np.unique(structure.numbers, return_counts=True)
    factor = np.gcd.reduce(counts)
    return tuple((int(z), int(n // factor)) for z, n in zip(numbers, counts, strict=True))


class Pool(Generic[Key]):
    """Structures by id, each reduced when it is first compared."""

    def __init__(self, structures: Mapping[Key, Structure], matcher: Matcher) -> None:
        """Sort the structures by composition; nothing else is done to them yet."""
        self.structures = structures
        self.matcher = matcher
        self.of_composition: dict[tuple[tuple[int, int], ...], list[Key]] = defaultdict(list)
        for id, structure in structures.items():
            self.of_composition[composition_key(structure)].append(id)
        self._reduced: dict[Key, Reduced] = {}

    def reduced(self, id: Key) -> Reduced:
        """Return one structure as it is compared."""
        if id not in self._reduced:
            self._reduced[id] = reduced(self.structures[id])
        return self._reduced[id]

    def candidates(self, ids: Sequence[Key]) -> Iterator[tuple[int, int]]:
        """Yield the pairs i < j of structures of one composition whose features allow that they are duplicates."""
        sizes = defaultdict(list)
        for k, id in enumerate(ids):
            sizes[self.reduced(id).n_atoms].append(k)
        for members in sizes.values():
            points = np.stack([self.reduced(ids[k]).features for k in members]) / self.matcher.scale
            pairs = cKDTree(points).query_pairs(1.0, p=np.inf, output_type="ndarray")
            yield from ((members[i], members[j]) for i, j in np.sort(pairs, axis=1).tolist())


def duplicates(structures: Mapping[str, Structure], settings: MatchSettings) -> dict[str, str]:
    """Return the structures that duplicate an earlier one, each with the first that it duplicates and that stays."""
    pool = Pool(structures, Matcher(settings))
    found: dict[str, str] = {}
    several = [ids for ids in pool.of_composition.values() if len(ids) > 1]
    for ids in track(several, "duplicates"):
        earlier: dict[int, list[int]] = defaultdict(list)
        for i, j in pool.candidates(ids):
            earlier[j].append(i)
        for j in sorted(earlier):
            for i in sorted(earlier[j]):
                if ids[i] not in found and pool.matcher.is_duplicate(pool.reduced(ids[i]), pool.reduced(ids[j])):
                    found[ids[j]] = ids[i]
                    break
    return found


def _features(crystal: Any, volume_ang3: float) -> NDArray[np.float64]:
    """Return logarithms of the volume per atom, of the shortest lattice vectors and of the distances of neighbours.

    The distance of the k-th neighbour is the mean over the atoms. All change little where lattice and sites change
    little, and none depends on the choice of the cell.
    """
    corners = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    half = corners[(len(corners) // 2 + 1) :]
    vectors = np.sort(np.linalg.norm(half @ crystal.lattice.matrix, axis=1))[:N_VECTORS]
    found: NDArray[np.float64] = np.log([volume_ang3, *vectors, *_neighbour_distances(crystal, volume_ang3)])
    return found


def _neighbour_distances(crystal: Any, volume_ang3: float) -> NDArray[np.float64]:
    n, reach = len(crystal), 2.0 * volume_ang3 ** (1 / 3)
    while True:
        i, _, _, distance = crystal.get_neighbor_list(reach)
        if np.bincount(i, minlength=n).min() >= N_NEIGHBOURS:
            break
        reach *= 1.3
    order = np.lexsort((distance, i))
    starts = np.searchsorted(i[order], np.arange(n))
    nearest: NDArray[np.float64] = distance[order][starts[:, None] + np.arange(N_NEIGHBOURS)]
    mean: NDArray[np.float64] = nearest.mean(axis=0)
    return mean

"""Numerical orbitals in ABACUS's .orb format: φ(r) = χ(r) Y_lm, χ on a uniform mesh; lengths in Bohr."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import atomic_number
from nextham.core._arrays import frozen
from nextham.dft.species.upf import simpson_weights
from nextham.exceptions import InputError

_LETTERS: Final = "SPDFGHI"
_FEWEST_POINTS: Final = 11


@dataclasses.dataclass(frozen=True, eq=False)
class OrbitalSet:
    """The numerical orbitals of one element, each normalised: ∫ r² χ² dr = 1."""

    number: int
    ecut_ry: float  # plane-wave cutoff that they were made for
    shells: tuple[int, ...]  # l of each radial function, ascending
    dr: float
    chi: NDArray[np.float64]  # (n_shells, n_mesh) at r = i dr
    sha256: str

    @property
    def r(self) -> NDArray[np.float64]:
        """Radial mesh (n_mesh,)."""
        mesh: NDArray[np.float64] = np.arange(self.chi.shape[1], dtype=np.float64) * self.dr
        return mesh

    @property
    def cutoff(self) -> float:
        """Radius beyond which the orbitals vanish."""
        return float((self.chi.shape[1] - 1) * self.dr)

    @property
    def n_orb(self) -> int:
        """Number of orbitals without spin."""
        return sum(2 * l + 1 for l in self.shells)

    def __repr__(self) -> str:
        return f"OrbitalSet(Z={self.number}, {len(self.shells)} shells, {self.cutoff:g} Bohr)"


def read_orb(path: str | Path) -> OrbitalSet:
    """Read an .orb file.

    Raises:
        InputError: if it is missing, cut short or does not hold the orbitals that its head announces.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no orbital file {path}")
    data = path.read_bytes()
    head = _Head(data.decode("utf-8", errors="replace"), path)
    counts = {l: head.whole(f"Number of {c}orbital-->", 0) for l, c in enumerate(_LETTERS)}
    n_mesh, dr = head.whole("Mesh"), head.real("dr")
    read = _functions(head.text, sum(counts.values()), n_mesh, path)
    _check_mesh(head, n_mesh, dr)
    wanted = [(l, n) for l, count in counts.items() for n in range(count)]
    if missing := [key for key in wanted if key not in read]:
        l, n = missing[0]
        raise InputError(f"{path} lacks the orbital with L = {l}, N = {n} that it announces; fetch the file again")
    chi = np.stack([read[key] for key in wanted])
    shells = tuple(l for l, _ in wanted)
    return OrbitalSet(
        number=_element(head.word("Element"), path),
        ecut_ry=head.real("Energy Cutoff(Ry)", 0.0),
        shells=shells,
        dr=dr,
        chi=frozen(_normalised(chi, dr, path), np.float64),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _element(name: str, path: Path) -> int:
    try:
        return atomic_number(name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


class _Head:
    """The lines "key  value" of the file, with errors that name both."""

    def __init__(self, text: str, path: Path) -> None:
        self.text, self.path = re.sub("orbital-*>", "orbital--> ", text), path

    def word(self, key: str, default: str | None = None) -> str:
        """Return what follows a key on its line."""
        found = re.search(rf"^[ \t]*{re.escape(key)}[ \t]+(\S+)", self.text, re.MULTILINE)
        if found is None and default is None:
            raise InputError(
                f"{self.path} is not an .orb file: it has no line with {key} and its value; fetch the file again"
            )
        return found[1] if found else str(default)

    def real(self, key: str, default: float | None = None) -> float:
        """Return a finite number that is not negative."""
        word = self.word(key, None if default is None else str(default))
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise self.error(key, word, "not a number of at least 0")
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        """Return a whole number that is not negative."""
        word = self.word(key, None if default is None else str(default))
        if not re.fullmatch(r"\d{1,9}", word):
            raise self.error(key, word, "not a whole number below 10^9")
        return int(word)

    def error(self, key: str, word: str, problem: str) -> InputError:
        """Return the sentence for a value that cannot be."""
        return InputError(f"{self.path} has {key} {word:.40}, which is {problem}; fetch the file again")


def _check_mesh(head: _Head, n_mesh: int, dr: float) -> None:
    """Check the mesh against the radius that the head gives: a wrong step would stretch every orbital."""
    if n_mesh < _FEWEST_POINTS:
        raise head.error("Mesh", str(n_mesh), f"less than the {_FEWEST_POINTS} points that a mesh needs")
    if dr <= 0:
        raise head.error("dr", f"{dr:g}", "no step of a mesh")
    radius, end = head.real("Radius Cutoff(a.u.)", (n_mesh - 1) * dr), (n_mesh - 1) * dr
    if abs(radius - end) > 1.5 * dr:  # some writers add a point to an even mesh
        raise head.error("Radius Cutoff(a.u.)", f"{radius:g}", f"not where Mesh and dr end, {end:g}")


def _functions(text: str, n_shells: int, n_mesh: int, path: Path) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Return χ by (l, zeta) from the sections that a line "Type L N" opens, ``n_shells`` of them."""
    starts = [m.end() for m in re.finditer(r"^\s*Type\s+L\s+N\s*$", text, re.MULTILINE)]
    if not n_shells or len(starts) != n_shells:  # before anything is built as long as the head says
        raise InputError(
            f"{path} is cut short or damaged: it announces {n_shells} orbitals and holds {len(starts)}; "
            "fetch the file again"
        )
    found = {}
    for begin, end in pairwise([*starts, len(text)]):
        words = text[begin:end].split("Type", maxsplit=1)[0].split()
        if len(words) != 3 + n_mesh:
            raise InputError(
                f"{path} is cut short or damaged: an orbital has {max(0, len(words) - 3)} of {n_mesh} values; "
                "fetch the file again"
            )
        try:
            found[int(words[1]), int(words[2])] = np.array(words[3:], dtype=np.float64)
        except ValueError as error:
            raise InputError(f"{path} holds a word that is not a number ({error}); fetch the file again") from None
    return found


def _normalised(chi: NDArray[np.float64], dr: float, path: Path) -> NDArray[np.float64]:
    n = chi.shape[1]
    odd = n - (n + 1) % 2
    weights = simpson_weights(np.full(odd, dr))
    norm = (weights * (chi * np.arange(n) * dr)[:, :odd] ** 2).sum(axis=1)
    if not np.isfinite(norm).all() or (norm < 1e-8).any():
        raise InputError(f"{path} holds an orbital that is zero or not finite; fetch the file again")
    scaled: NDArray[np.float64] = chi / np.sqrt(norm)[:, None]
    return scaled

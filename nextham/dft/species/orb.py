"""Numerical orbitals in ABACUS's .orb format: φ(r) = χ(r) Y_lm, χ on a uniform mesh; lengths in Bohr."""

from __future__ import annotations

import dataclasses
import hashlib
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
    text = data.decode("utf-8", errors="replace")
    counts = {l: int(_head(rf"Number of {c}orbital-*>\s*(\d+)", text, path, "0")) for l, c in enumerate(_LETTERS)}
    shells = tuple(l for l, n in counts.items() for _ in range(n))
    n_mesh, dr = int(_head(r"Mesh\s+(\d+)", text, path)), float(_head(r"\bdr\s+([-+.\dEe]+)", text, path))
    if not shells or n_mesh < 4 or dr <= 0:
        raise InputError(f"{path} announces no orbitals, or a mesh of {n_mesh} points with step {dr}")
    read = _functions(text, n_mesh, path)
    wanted = [(l, n) for l, count in counts.items() for n in range(count)]
    if missing := [key for key in wanted if key not in read]:
        l, n = missing[0]
        raise InputError(f"{path} announces {len(wanted)} orbitals but the one with L = {l}, N = {n} is missing")
    chi = np.stack([read[key] for key in wanted])
    return OrbitalSet(
        number=_element(_head(r"Element\s+([A-Za-z]+)", text, path), path),
        ecut_ry=float(_head(r"Energy Cutoff\(Ry\)\s+([-+.\dEe]+)", text, path, "0")),
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


def _head(pattern: str, text: str, path: Path, default: str | None = None) -> str:
    found = re.search(pattern, text)
    if found is None and default is None:
        raise InputError(f"{path} is not an .orb file: nothing in it reads like {pattern!r}")
    return found[1] if found else str(default)


def _functions(text: str, n_mesh: int, path: Path) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Return χ by (l, zeta) from the sections that a line "Type L N" opens."""
    starts = [m.end() for m in re.finditer(r"^\s*Type\s+L\s+N\s*$", text, re.MULTILINE)] + [len(text)]
    found = {}
    for begin, end in pairwise(starts):
        words = text[begin:end].split("Type", maxsplit=1)[0].split()
        if len(words) < 3 + n_mesh:
            raise InputError(
                f"{path} is cut short: an orbital has {max(0, len(words) - 3)} of {n_mesh} values; fetch the file again"
            )
        try:
            found[int(words[1]), int(words[2])] = np.array(words[3 : 3 + n_mesh], dtype=np.float64)
        except ValueError as error:
            raise InputError(f"{path} holds a word that is not a number ({error})") from None
    return found


def _normalised(chi: NDArray[np.float64], dr: float, path: Path) -> NDArray[np.float64]:
    n = chi.shape[1]
    odd = n - (n + 1) % 2
    weights = simpson_weights(np.full(odd, dr))
    norm = (weights * (chi * np.arange(n) * dr)[:, :odd] ** 2).sum(axis=1)
    if not np.isfinite(norm).all() or (norm < 1e-8).any():
        raise InputError(f"{path} holds an orbital that is zero or not finite")
    scaled: NDArray[np.float64] = chi / np.sqrt(norm)[:, None]
    return scaled

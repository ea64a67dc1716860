"""Which shells each element carries in a run, and how far they reach.

From the run's own ``Orbital`` file, its log, or the ``.orb`` files; where several are there they must agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from nextham.core import OrbitalBasis, symbol
from nextham.dft.abacus.folder import RunFolder
from nextham.dft.abacus.stru import element_of
from nextham.dft.engine import Cause, RunError
from nextham.exceptions import InputError
from nextham.units import BOHR_ANG

Shells = dict[int, tuple[int, ...]]


def run_basis(runs: list[RunFolder]) -> OrbitalBasis:
    """Return the orbital basis of the runs of one structure.

    Raises:
        RunError: if none of the sources is there, an element is missing, or two sources disagree.
    """
    basis: OrbitalBasis | None = None
    seen = ""
    for run in runs:
        _check_species(run)
        for found, where in _sources(run):
            try:
                basis = OrbitalBasis(found) | basis if basis is not None else OrbitalBasis(found)
            except InputError as error:
                raise RunError(Cause.INCONSISTENT, f"{where} and {seen} disagree: {error}") from None
            seen = where
    for run in runs:
        for number in sorted(set(run.stru.numbers.tolist())):
            if basis is None or number not in basis:
                raise RunError(
                    Cause.MISSING_FILE,
                    f"{run.path} does not tell the orbitals of {symbol(number)}; put its .orb file where INPUT says "
                    "(orbital_dir), or run with out_mul 1 so that ABACUS writes its Orbital file",
                )
    assert basis is not None
    return basis


def _check_species(run: RunFolder) -> None:
    """Check that the labels of one element (Fe1, Fe2) use the same files: orbitals belong to elements."""
    first: dict[int, str] = {}
    for label, species in run.stru.species.items():
        other = first.setdefault(element_of(label), label)
        for kind, key in (("orbital files", "orb"), ("pseudopotentials", "upf")):
            mine, its = getattr(species, key), getattr(run.stru.species[other], key)
            if mine != its:
                raise RunError(
                    Cause.INCONSISTENT,
                    f"{run.path / 'STRU'} gives {symbol(element_of(label))} two {kind}, {its} ({other}) and {mine} "
                    f"({label}); use one for every atom of an element",
                )


def cutoffs_ang(run: RunFolder) -> dict[str, float]:
    """Return the radius of the orbitals of each element in Å, from the .orb file or, without it, from its name."""
    found = {}
    for label, species in run.stru.species.items():
        path = run.species_file(species.orb, "orbital_dir")
        radius = re.search(r"Radius Cutoff\(a\.u\.\)\s+(\S+)", _head(path)) if path else None
        radius = radius or re.search(r"_(\d+(?:\.\d+)?)au_", species.orb)
        if radius:
            found[symbol(element_of(label))] = float(radius[1]) * BOHR_ANG
    return found


def _sources(run: RunFolder) -> list[tuple[Shells, str]]:
    found = []
    path = run.out / "Orbital"
    if path.is_file():
        found.append((parse_orbital_file(path.read_text()), str(path)))
    files = {label: run.species_file(s.orb, "orbital_dir") for label, s in run.stru.species.items()}
    shells = {element_of(label): parse_orb_header(_head(file)) for label, file in files.items() if file}
    if shells:
        found.append((shells, "the .orb files"))
    found += [({element_of(label): _shells(n)}, f"the log in {run.out}") for label, n in run.log.zetas.items()]
    return found


def parse_orbital_file(text: str) -> Shells:
    """Return the shells in ABACUS's ``Orbital`` file: one line per orbital, ``#io spec l m z sym``."""
    shells: dict[int, list[int]] = {}
    first: dict[int, str] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) != 6 or not words[0].isdigit():
            continue
        number = element_of(words[1])
        if first.setdefault(number, words[0]) == words[0] and int(words[3]) == 0:
            shells.setdefault(number, []).append(int(words[2]))
    return {number: tuple(sorted(ls)) for number, ls in shells.items()}


def parse_orb_header(text: str) -> tuple[int, ...]:
    """Return the l of each shell from the header of an .orb file: ``Number of Sorbital-->  2`` and so on."""
    counts = {"SPDFGHI".index(l): int(n) for l, n in re.findall(r"Number of ([SPDFGHI])orbital-->\s+(\d+)", text)}
    return _shells(counts)


def _shells(counts: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(l for l in sorted(counts) for _ in range(counts[l]))


def _head(path: Path) -> str:
    with path.open(errors="replace") as file:
        return file.read(4096)

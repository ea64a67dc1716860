"""Making a lock: every file of a folder is read, and each element gets the one pair that can be used."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from nextham.core import OrbitalBasis, atomic_number, symbol
from nextham.dft.species.lock import Lock, LockedElement
from nextham.dft.species.orb import read_orb
from nextham.dft.species.species import check_pseudopotential
from nextham.dft.species.upf import read_upf
from nextham.exceptions import InputError

_WORDS: Final = {".upf": "UPF", ".orb": ".orb"}


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """One file of the folder, read; or the reason why it cannot be used."""

    path: str  # within the folder, with /
    element: str  # empty if neither name nor content tells
    sha256: str = ""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # what a lock says about it
    problem: str = ""

    @property
    def kind(self) -> str:
        """Which of the two files of an element it is: its suffix."""
        return _kind(self.path)


def lock_folder(folder: Path, choices: Iterable[str] = ()) -> tuple[Lock, dict[str, str]]:
    """Return the lock of a folder, and why files or elements are not in it.

    Args:
        folder: holds UPF and .orb files, itself or in its direct sub-folders.
        choices: ELEMENT=FILE where a folder holds several files of an element.

    Raises:
        InputError: if the folder holds nothing that can be used, a choice names nothing, or an element with both kinds
            of files has several of one kind and none is chosen.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    candidates = [_read(folder, path) for path in _listed(folder)]
    if not candidates:
        raise InputError(f"{folder} and its direct sub-folders hold no .upf or .orb file")
    chosen = _chosen(candidates, choices, folder)
    usable: dict[str, dict[str, list[Candidate]]] = {}
    for one in candidates:
        if not one.problem and chosen.get((one.element, one.kind), one.path) == one.path:
            usable.setdefault(one.element, {}).setdefault(one.kind, []).append(one)
    pairs = {name: kinds for name, kinds in usable.items() if len(kinds) == len(_WORDS)}
    _refuse_several(pairs, folder)
    elements = {name: _entry(kinds[".upf"][0], kinds[".orb"][0]) for name, kinds in pairs.items()}
    skipped = {one.path: one.problem for one in candidates if one.problem}
    incomplete = _incomplete(candidates, set(elements))
    if not elements:
        reason = next(iter({**skipped, **incomplete}.values()))
        raise InputError(f"{folder} holds no element with a usable UPF and .orb file; the first reason: {reason}")
    return Lock(elements=dict(sorted(elements.items())), incomplete=incomplete), skipped


def lock_element(folder: Path, element: str) -> LockedElement:
    """Return the entry of ELEMENT.upf and ELEMENT.orb in a folder.

    Raises:
        InputError: if one of them cannot be used.
    """
    upf, orb = (_read(folder, folder / f"{element}{kind}") for kind in _WORDS)
    if problem := upf.problem or orb.problem:
        raise InputError(problem)
    return _entry(upf, orb)


def _listed(folder: Path) -> list[Path]:
    """Return the UPF and .orb files of a folder and of its direct sub-folders."""
    places = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))]
    files = [path for place in places for path in sorted(place.iterdir())]
    return [p for p in files if _kind(p.name) in _WORDS and p.is_file() and not p.name.startswith(".")]


def _kind(name: str) -> str:
    return Path(name).suffix.lower()


def _read(folder: Path, path: Path) -> Candidate:
    """Read a file; whatever is wrong with it is told, and does not keep others from being locked."""
    name, named = path.relative_to(folder).as_posix(), _named(path)
    try:
        found = _upf(name, path) if _kind(name) == ".upf" else _orb(name, path)
    except (ValueError, OSError) as error:  # ours, and what the readers did not foresee
        reason = " ".join(str(error).replace(f"{folder}/", "").split())
        return Candidate(name, named, problem=reason if name in reason else f"{name}: {reason}")
    if named and named != found.element:
        return Candidate(name, named, problem=f"{name} is of {found.element}, but it is named for {named}")
    return found


def _upf(name: str, path: Path) -> Candidate:
    pseudo = read_upf(path)
    check_pseudopotential(pseudo, path)
    facts = {"valence": pseudo.z_valence, "has_so": pseudo.has_so, "functional": pseudo.functional}
    return Candidate(name, symbol(pseudo.number), pseudo.sha256, facts)


def _orb(name: str, path: Path) -> Candidate:
    orbitals = read_orb(path)
    shells = str(OrbitalBasis({orbitals.number: orbitals.shells})).partition(":")[2]
    facts = {"orbitals": shells, "radius_bohr": round(orbitals.cutoff, 6), "cutoff_ry": orbitals.ecut_ry}
    return Candidate(name, symbol(orbitals.number), orbitals.sha256, facts)


def _named(path: Path) -> str:
    """Return the element that a file is named after: Si of Si_ONCV_PBE-1.0.upf, nothing of pbe.upf."""
    word = re.match("[A-Za-z]*", path.name.removesuffix(path.suffix))
    try:
        return symbol(atomic_number(word[0] if word else ""))
    except InputError:
        return ""


def _chosen(candidates: list[Candidate], choices: Iterable[str], folder: Path) -> dict[tuple[str, str], str]:
    """Return the chosen file by element and kind."""
    found: dict[tuple[str, str], str] = {}
    for choice in choices:
        element, _, file = choice.partition("=")
        if not file:
            raise InputError(
                f"--choose {choice} is not of the form ELEMENT=FILE, e.g. Ga=Ga_gga_8au_100Ry_2s2p2d1f.orb"
            )
        here = [one for one in candidates if file in (one.path, Path(one.path).name)]
        if len(here) != 1:
            listed = f"holds several: {', '.join(one.path for one in here)}" if here else "holds no such file"
            raise InputError(f"--choose {choice}: {folder} {listed}")
        if here[0].problem or here[0].element != element:
            reason = here[0].problem or f"{here[0].path} is of {here[0].element}"
            raise InputError(f"--choose {choice}: {reason}")
        found[element, here[0].kind] = here[0].path
    return found


def _refuse_several(pairs: Mapping[str, Mapping[str, list[Candidate]]], folder: Path) -> None:
    several = [
        (name, kind, [one.path for one in found])
        for name, kinds in pairs.items()
        for kind, found in kinds.items()
        if len(found) > 1
    ]
    if several:
        listed = "; ".join(f"{name}: {', '.join(paths)}" for name, _, paths in several)
        choices = " ".join(f"--choose {name}={paths[0]}" for name, _, paths in several)
        raise InputError(f"{folder} holds several files of one kind ({listed}); choose of each, e.g. {choices}")


def _entry(upf: Candidate, orb: Candidate) -> LockedElement:
    files = {kind: {"path": one.path, "sha256": one.sha256} for kind, one in (("upf", upf), ("orb", orb))}
    return LockedElement.model_validate({**files, **upf.facts, **orb.facts})


def _incomplete(candidates: list[Candidate], locked: set[str]) -> dict[str, str]:
    """Return what each element that has a file, but cannot be used, lacks."""
    found = {}
    for name in sorted({one.element for one in candidates} - locked - {""}):
        lacks = []
        for kind, word in _WORDS.items():
            here = [one for one in candidates if (one.element, one.kind) == (name, kind)]
            if not here:
                lacks.append(f"no {word} file")
            elif all(one.problem for one in here):
                lacks.append(f"no usable {word} file: {here[0].problem}")
        found[name] = " and ".join(lacks)
    return found

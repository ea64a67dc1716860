"""Frames of extended XYZ, each for itself: what is wrong with one does not touch the others."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from nextham.exceptions import InputError
from nextham.files import whole
from nextham.structures.sourced import Sourced

_PAIR: Final = re.compile(r'([\w-]+)=("(?:[^"\\]|\\.)*"|\S+)')
_OF_THE_CRYSTAL: Final = frozenset({"lattice", "properties", "pbc"})
_ISOTOPE: Final = re.compile(r"(\s*)[DT](?=\s)")  # deuterium and tritium are hydrogen


def write_extxyz(path: Path, structures: Iterable[Sourced]) -> None:
    """Write structures with ids, sources and hashes as extended XYZ; the file appears whole or not at all."""
    with whole(path) as part, part.open("w") as file:
        for each in structures:
            file.write(frame_of(each))


def frame_of(each: Sourced) -> str:
    """Return one structure as a frame: cell and positions in Å with eight decimals, which is all there is of them."""
    structure = each.structure
    lattice = " ".join(f"{x:.8f}" for x in structure.cell.ravel())
    notes = {"id": each.id, "source": each.source, "licence": each.licence, "sha256": each.sha256, **each.facts}
    said = " ".join(f"{name}={_quoted(value)}" for name, value in notes.items() if value)
    lines = [str(len(structure)), f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 pbc="T T T" {said}']
    for name, (x, y, z) in zip(structure.symbols, structure.positions.tolist(), strict=True):
        lines.append(f"{name:2} {x:15.8f} {y:15.8f} {z:15.8f}")
    return "\n".join(lines) + "\n"


def split_frames(path: Path) -> list[list[str]]:
    """Return the lines of each frame of a file, without blank ones among its atoms.

    A frame begins with a line that is a number of atoms, or that comes before one with ``Lattice=``: so a wrong number
    or a missing atom stays with its frame.

    Raises:
        InputError: if the file is not text.
    """
    try:
        lines = path.read_text().strip().split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file, as extended XYZ is") from None
    starts: list[int] = []
    for k, line in enumerate(lines):
        follows = bool(starts) and starts[-1] == k - 1  # then it is the second line of a frame
        if not follows and (line.strip().isdecimal() or "lattice=" in "".join(lines[k + 1 : k + 2]).lower()):
            starts.append(k)
    if starts[:1] != [0]:
        starts.insert(0, 0)  # what stands before the first frame is a bad one
    ends = [*starts[1:], len(lines)]
    found = [lines[begin:end] for begin, end in zip(starts, ends, strict=True)]
    return [[*frame[:2], *(line for line in frame[2:] if line.strip())] for frame in found]


def notes_of_frame(frame: list[str]) -> dict[str, str]:
    """Return what stands in the second line of a frame beside the crystal, as text: id, source and whatever else.

    >>> notes_of_frame(["1", 'Lattice="3 0 0 0 3 0 0 0 3" id=007 source="a file"'])
    {'id': '007', 'source': 'a file'}
    """
    found = _PAIR.findall(frame[1]) if len(frame) > 1 else []
    return {name: _unquoted(value) for name, value in found if name.lower() not in _OF_THE_CRYSTAL}


def atoms_of_frame(frame: list[str], where: str) -> Any:
    """Return the ``ase.Atoms`` of a frame; ``where`` names it in errors.

    Raises:
        InputError: if it is not complete.
    """
    import ase.io

    incomplete = f"{where} is not complete extended XYZ: "
    if not frame[0].strip().isdecimal():
        raise InputError(f"{incomplete}it begins with {frame[0][:40]!r} in place of the number of its atoms")
    n, n_here = int(frame[0]), sum(not line.lstrip().startswith("VEC") for line in frame[2:])
    if n != n_here:
        raise InputError(f"{incomplete}its first line says {n} atoms, but it holds {n_here}")
    atoms = [_ISOTOPE.sub(r"\1H", line, count=1) for line in frame[2:]] if _begins_with_species(frame[1]) else frame[2:]
    try:
        return ase.io.read(io.StringIO("\n".join([*frame[:2], *atoms]) + "\n"), format="extxyz")
    except KeyError as error:
        raise InputError(f"{where}: {error.args[0]!r} is not an element symbol") from None
    except Exception as error:  # ase's reader lets whatever goes wrong through
        raise InputError(f"{incomplete}{' '.join(str(error).split())[:200] or type(error).__name__}") from None


def _begins_with_species(comment: str) -> bool:
    said = re.search(r"properties=(\S+)", comment, re.IGNORECASE)
    return said is None or said[1].strip('"').lower().startswith("species:")


def _quoted(text: str) -> str:
    text = " ".join(text.split())
    if re.fullmatch(r"[\w.+=():/,-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if len(text) > 1 and text[0] == text[-1] == '"' else text

"""Frames of extended XYZ, each for itself: what is wrong with one does not touch the others."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nextham.exceptions import InputError


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


def id_of_frame(frame: list[str]) -> str | None:
    """Return the id that stands in the second line of a frame, if one does and can be read."""
    from ase.io import extxyz

    parse: Callable[[str], dict[str, Any]] = extxyz.key_val_str_to_dict
    try:
        found = parse(frame[1].strip())
    except Exception:  # whatever: reading the frame will tell
        return None
    return None if "id" not in found else str(found["id"])


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
    try:
        return ase.io.read(io.StringIO("\n".join(frame) + "\n"), format="extxyz")
    except KeyError as error:
        raise InputError(f"{where}: {error.args[0]!r} is not an element symbol") from None
    except Exception as error:  # ase's reader lets whatever goes wrong through
        raise InputError(f"{incomplete}{' '.join(str(error).split())[:200] or type(error).__name__}") from None

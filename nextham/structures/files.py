"""Crystals from files: CIF, POSCAR and extended XYZ, through pymatgen and ase."""

from __future__ import annotations

import dataclasses
import io
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from nextham.core import Structure, atomic_number
from nextham.core.system import check_id
from nextham.exceptions import InputError, NexthamError
from nextham.structures.extxyz import atoms_of_frame, notes_of_frame, split_frames
from nextham.structures.identity import structure_sha256
from nextham.structures.sourced import Sourced

Reader = Callable[[Path], Structure]
Named = tuple[str, Structure]  # id and crystal

_KINDS: Final = {
    ".cif": "cif",
    ".vasp": "vasp",
    ".poscar": "vasp",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".stru": "stru",
}
_NAMES: Final = {"poscar": "vasp", "contcar": "vasp", "stru": "stru"}  # the whole name, without a suffix
_OWN_NOTES: Final = ("id", "sha256", "source", "licence")
_ISOTOPES: Final = ("D", "T")
_SPECIES_LINE: Final = 5  # of a POSCAR, counted from 0
_RENAME: Final = "rename the file, or the folder where the file is a POSCAR or STRU"
_NONE: Final[Mapping[str, Reader]] = {}


def kind_of(path: Path) -> str:
    """Return the format of a structure file by its name: cif, vasp, extxyz or stru.

    Raises:
        InputError: if the name tells no format.
    """
    kind = _NAMES.get(path.name.lower()) or _KINDS.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"{path} is of no format known by its name; call it .cif, .vasp, .extxyz, .stru, POSCAR, CONTCAR or STRU"
        )
    return kind


def id_of(path: Path) -> str:
    """Return the id of a file's crystal: its name, or its folder's where every file is called POSCAR or STRU.

    >>> id_of(Path("set/GaAs.cif")), id_of(Path("set/GaAs/POSCAR"))
    ('GaAs', 'GaAs')
    """
    return path.absolute().parent.name if path.name.lower() in _NAMES else path.stem


def structure_files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the structure files among paths and in the folders among them, each folder's sorted.

    In a folder are its files, and the POSCAR, CONTCAR or STRU of folders in it; deeper down, where runs lie, is
    not looked.

    Raises:
        InputError: if a path does not exist, or a folder holds no structure file.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f"there is no {path}")
        here = [path] if path.is_file() else _in_folder(path)
        if not here:
            raise InputError(f"the folder {path} holds no structure file (.cif, .vasp, .extxyz, .stru, POSCAR, STRU)")
        found += here
    return list(dict.fromkeys(found))


@dataclasses.dataclass(frozen=True)
class Found:
    """What stands at one place of a file: a crystal, or the reason why it cannot be read."""

    id: str
    where: str  # the file, and the frame where it holds several
    crystal: Structure | NexthamError
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)  # what a frame of extended XYZ says of itself

    @property
    def origin(self) -> tuple[str, str]:
        """Where the crystal comes from and its licence, as far as it is told; else the name of the file."""
        file = Path(self.where.partition(", frame ")[0]).name
        return self.notes.get("source", "") or file, self.notes.get("licence", "")

    def sourced(self) -> Sourced:
        """Return the crystal with where it comes from: what its frame says, or the name of the file.

        Raises:
            NexthamError: the reason, if it could not be read.
        """
        if isinstance(self.crystal, NexthamError):
            raise self.crystal
        facts = {name: text for name, text in self.notes.items() if name not in _OWN_NOTES}
        return Sourced(self.id, self.crystal, *self.origin, facts=facts)


def read_structure(path: str | Path, *, more: Mapping[str, Reader] = _NONE) -> Structure:
    """Read the one crystal of a file.

    Args:
        path: the file; its name tells the format.
        more: readers of further formats, by the name that ``kind_of`` gives.

    Raises:
        InputError: if the file is not one complete periodic crystal.
    """
    frames = read_named(path, more=more)
    if len(frames) > 1:
        raise InputError(f"{path} holds {len(frames)} structures where one is wanted; split the file")
    return frames[0][1]


def read_named(path: str | Path, *, more: Mapping[str, Reader] = _NONE) -> list[Named]:
    """Read all crystals of a file with their ids; only extended XYZ holds more than one.

    Raises:
        InputError: if one is not a complete periodic crystal.
    """
    named: list[Named] = []
    for found in read_each(path, more=more):
        if isinstance(found.crystal, NexthamError):
            raise found.crystal
        named.append((found.id, found.crystal))
    return named


def read_each(path: str | Path, *, more: Mapping[str, Reader] = _NONE) -> list[Found]:
    """Read the crystals of a file, each with its id; in place of a frame that cannot be read stands the reason.

    A frame of extended XYZ may carry its id (``id=...`` in its second line); others are numbered from 0.

    Raises:
        InputError: if the file as a whole cannot be read.
    """
    path = Path(path)
    kind = kind_of(path)
    if not path.is_file():
        raise InputError(f"there is no structure file {path}")
    if not path.read_bytes().strip():
        raise InputError(f"{path} is empty; it should hold a crystal")
    if kind == "extxyz":
        return _read_extxyz(path)
    readers: dict[str, Reader] = {"cif": _read_cif, "vasp": _read_poscar, **more}
    if kind not in readers:
        raise InputError(f"{path} is an ABACUS STRU, which its engine reads; convert it to CIF or POSCAR here")
    id = check_id(id_of(path), mend=_RENAME)
    return [Found(id, str(path), readers[kind](path))]


def read_or_reason(path: Path, *, more: Mapping[str, Reader] = _NONE) -> list[Found]:
    """Return what :func:`read_each` does; of a file that cannot be read as a whole, the reason."""
    try:
        return read_each(path, more=more)
    except NexthamError as error:
        return [Found(id_of(path), str(path), error)]


def _in_folder(folder: Path) -> list[Path]:
    own = [p for p in folder.iterdir() if p.name.lower() in _NAMES or p.suffix.lower() in _KINDS]
    inner = [p for p in folder.glob("*/*") if p.name.lower() in _NAMES]
    return sorted(p for p in own + inner if p.is_file())


def _read_cif(path: Path) -> Structure:
    from pymatgen.io.cif import CifParser

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser = CifParser(path)
            _check_symbols(path, parser.as_dict())
            found = parser.parse_structures(primitive=False)
    except InputError:
        raise
    except (ValueError, KeyError, IndexError, AssertionError, TypeError) as error:
        raise InputError(f"{path} is not a complete CIF: {_short(error)}") from None
    if len(found) != 1:
        raise InputError(f"{path} holds {len(found)} structures where a CIF should hold one; split the file")
    crystal: Any = found[0]
    if not crystal.is_ordered:
        site = next(site for site in crystal if not site.is_ordered)
        raise InputError(f"{path} has a site of partial occupancy ({site.species_string}); choose an ordered structure")
    return _checked(str(path), crystal.atomic_numbers, crystal.cart_coords, crystal.lattice.matrix)


def _check_symbols(path: Path, blocks: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse sites that are no element: pymatgen would take a vacancy Vac for vanadium."""
    for block in blocks.values():
        symbols = block.get("_atom_site_type_symbol", ())
        for text in [symbols] if isinstance(symbols, str) else symbols:
            name = re.match("[A-Za-z]*", text)[0].capitalize()  # type: ignore[index]
            if name not in _ISOTOPES and not _is_element(name):
                raise InputError(f"{path} has an atom {text!r}, which is not an element")


def _is_element(name: str) -> bool:
    try:
        return atomic_number(name) > 0
    except InputError:
        return False


def _read_poscar(path: Path) -> Structure:
    import ase.io

    try:
        lines = path.read_text().splitlines()
        if len(lines) > _SPECIES_LINE:  # deuterium and tritium are hydrogen, which ase does not know
            lines[_SPECIES_LINE] = re.sub(r"(?<!\S)[DT](?!\S)", "H", lines[_SPECIES_LINE])
        atoms = ase.io.read(io.StringIO("\n".join(lines) + "\n"), format="vasp")
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]!r} is not an element symbol") from None
    except Exception as error:  # ase's reader lets whatever goes wrong through
        raise InputError(f"{path} is not a complete POSCAR file: {_short(error)}") from None
    return _of_atoms(str(path), atoms)


def _read_extxyz(path: Path) -> list[Found]:
    frames = split_frames(path)
    if len(frames) == 1:
        return [_read_frame(frames[0], id_of(path), str(path), "")]
    n, width = len(frames), len(str(len(frames) - 1))
    return [
        _read_frame(frame, f"{id_of(path)}-{k:0{width}d}", str(path), f", frame {k + 1} of {n}")
        for k, frame in enumerate(frames)
    ]


def _read_frame(frame: list[str], numbered: str, path: str, place: str) -> Found:
    where, notes = path + place, notes_of_frame(frame)
    own = notes.get("id")
    id = own or numbered
    told = f"{where} ({id})" if place else where
    try:
        check_id(id, mend="change id=... in the second line of the frame" if own else _RENAME)
    except InputError as error:  # the id cannot even name a line of the ledger
        return Found(numbered, where, InputError(f"{where}: {error}"))
    try:
        crystal = _of_atoms(told, atoms_of_frame(frame, told))
        _check_hash(crystal, notes.get("sha256", ""), told)
    except InputError as error:
        return Found(id, where, error, notes)
    return Found(id, where, crystal, notes)


def _check_hash(crystal: Structure, said: str, where: str) -> None:
    if re.fullmatch("[0-9a-f]{64}", said) and said != structure_sha256(crystal):
        raise InputError(
            f"{where}: its sha256 is not that of its atoms, so they were changed after it was written; "
            "take sha256=... out of the second line of the frame if that is meant"
        )


def _of_atoms(where: str, atoms: Any) -> Structure:
    if not atoms.cell.array.any():
        raise InputError(f'{where} has no periodic cell; write it as extended XYZ with Lattice="...", CIF or POSCAR')
    if not atoms.pbc.all():
        raise InputError(f'{where} is not periodic in three directions; write pbc="T T T", with vacuum where it ends')
    return _checked(where, atoms.numbers, atoms.positions, atoms.cell.array)


def _checked(where: str, numbers: Any, positions: Any, cell: Any) -> Structure:
    if not len(numbers):
        raise InputError(f"{where} holds no atom")
    if min(numbers) < 1:
        raise InputError(f"{where} has an atom whose element is not known")
    try:
        return Structure(np.asarray(numbers), np.asarray(positions), np.asarray(cell))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

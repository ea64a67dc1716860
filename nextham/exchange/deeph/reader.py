"""DeepH's folders to systems."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, OrbitalBasis, Provenance, SpinLayout, Structure, symbol
from nextham.core.elements import atomic_number
from nextham.dft.engine import Cause, RunError, RunResult
from nextham.exceptions import InputError
from nextham.exchange.blocks import Block, Foreign
from nextham.exchange.deeph.layout import LAYOUTS, Kind, kind_of
from nextham.exchange.positions import at_home
from nextham.physics.spin import TIME_REVERSAL_NOISE_EV, narrowed
from nextham.units import RYDBERG_EV

if TYPE_CHECKING:
    import h5py

_KEY: Final = re.compile(r"\[\s*(-?\d+),\s*(-?\d+),\s*(-?\d+),\s*(\d+),\s*(\d+)\s*\]")
_AGAIN: Final = "make the folder again"


@dataclasses.dataclass(frozen=True)
class _Contents:
    """What the text files of a folder say."""

    structure: Structure
    shells: dict[int, tuple[int, ...]]
    spinful: bool
    fermi_energy_ev: float | None


def read_deeph(folder: str | Path, *, id: str = "", rydberg_ev: float | None = None) -> RunResult:
    """Read the operators of one structure from a folder of DeepH-pack or DeepH-dock.

    Args:
        folder: which of the two it is for is told by its files.
        id: structure id; by default the folder's name.
        rydberg_ev: eV that 1 Ry or half a Hartree had where the folder was made; None takes its energies as they are.

    Raises:
        RunError: if the folder is incomplete, damaged, or its files do not belong together.
    """
    folder = Path(folder)
    id = id or folder.resolve().name
    try:
        return RunResult(_system(folder, id, rydberg_ev))
    except RunError as error:
        raise RunError(error.cause, f"{id}: {error}") from error
    except InputError as error:
        raise RunError(Cause.BAD_INPUT, f"{id}: {folder}: {error}") from error


def _system(folder: Path, id: str, rydberg_ev: float | None) -> LCAOSystem:
    kind = kind_of(folder)
    if kind is None:
        needed = " or ".join(", ".join(one.needed) for one in LAYOUTS.values())
        raise RunError(Cause.MISSING_FILE, f"{folder} is no folder of DeepH: it lacks {needed}")
    layout = LAYOUTS[kind]
    contents = (_read_pack if kind is Kind.PACK else _read_dock)(folder)
    structure = contents.structure
    atoms = Foreign(structure.numbers, contents.shells, layout.order, f"{folder}", _AGAIN)
    found: dict[str, BlockMatrix] = {}
    unit = RYDBERG_EV / rydberg_ev if rydberg_ev else 1.0
    for name, file in layout.files.items():
        if not (folder / file).is_file():
            continue
        spinor = contents.spinful and name != "overlap"
        sizes = _sizes(atoms, spinor)
        with _opened(folder / file) as h5:
            blocks = (_keyed if kind is Kind.PACK else _chunked)(h5, folder / file, sizes)
        matrix = atoms.read(blocks, name, spinor=spinor)
        found[name] = matrix if name == "overlap" else matrix.with_values(matrix.values * unit)
    if "overlap" not in found:
        raise RunError(Cause.MISSING_FILE, f"there is no {folder / layout.files['overlap']}")
    pairs = found["overlap"].pairs
    for matrix in found.values():
        pairs = pairs.union(matrix.pairs)
    values = {name: matrix.on(pairs).values for name, matrix in found.items()}
    system = LCAOSystem.single(structure, atoms.basis, pairs, values, Provenance(id=id))
    return _described(_placed(system, folder), contents, kind, unit)


def _placed(system: LCAOSystem, folder: Path) -> LCAOSystem:
    found = at_home(system)
    if found is None:
        raise RunError(
            Cause.INCONSISTENT,
            f"{folder}: its overlaps are no two-centre integrals along the vectors between its atoms; positions, "
            f"orbital order or R are not those of its blocks: {_AGAIN}",
        )
    note = "R counted from other images of the atoms than the stated positions" if found[1] else ""
    return found[0].with_meta(notes=note)


def _described(system: LCAOSystem, contents: _Contents, kind: Kind, unit: float) -> LCAOSystem:
    magnetism = {}
    for name in ("hamiltonian", "h0"):
        if name in system.operators:
            odd = narrowed(system.operators[name], SpinLayout.TIME_REVERSAL)[1]
            magnetism[name] = "nonmagnetic" if odd <= TIME_REVERSAL_NOISE_EV else "unknown"
    of_record = next(iter(magnetism.values()), "")
    notes = [system.meta[0].notes] * bool(system.meta[0].notes)
    notes += [f"energies were made with 1 Ry = {RYDBERG_EV / unit:.8g} eV"] * (unit != 1.0)
    return system.with_meta(
        engine=kind.value,
        magnetism=of_record,
        h0_magnetism=magnetism.get("h0", of_record) if magnetism.get("h0", of_record) != of_record else "",
        fermi_energy_ev=contents.fermi_energy_ev,
        notes="; ".join(notes),
    )


def _read_pack(folder: Path) -> _Contents:
    cell = _table(folder / "lat.dat", float).reshape(3, -1).T
    positions = _table(folder / "site_positions.dat", float).reshape(3, -1).T
    numbers = _table(folder / "element.dat", int).reshape(-1)
    lines = (folder / "orbital_types.dat").read_text(errors="replace").split("\n")
    info = _info(folder)
    if len(positions) != len(numbers) or len(lines) < len(numbers):
        raise RunError(
            Cause.INCONSISTENT,
            f"{folder} has {len(positions)} positions, {len(numbers)} elements and {len(lines)} lines of shells; "
            f"{_AGAIN}",
        )
    shells: dict[int, tuple[int, ...]] = {}
    for z, line in zip(numbers.tolist(), lines, strict=False):
        if not re.fullmatch(r"[\d\s]+", line):
            raise RunError(Cause.BAD_INPUT, f"{folder / 'orbital_types.dat'}: {line[:40]!r} are no shells; {_AGAIN}")
        own = tuple(map(int, line.split()))
        if shells.setdefault(z, own) != own:
            raise RunError(
                Cause.INCONSISTENT,
                f"{folder}: {symbol(z)} has two sets of shells, {shells[z]} and {own}, where one is possible",
            )
    return _Contents(
        Structure(numbers, positions, cell), shells, bool(info.get("isspinful")), _fermi(info, "fermi_level")
    )


def _read_dock(folder: Path) -> _Contents:
    from nextham.structures.files import read_structure

    info = _info(folder)
    given = info.get("elements_orbital_map")
    if not isinstance(given, dict) or not all(isinstance(ls, list) for ls in given.values()):
        raise RunError(Cause.BAD_INPUT, f"{folder / 'info.json'} has no elements_orbital_map; {_AGAIN}")
    shells = {atomic_number(name): tuple(int(l) for l in ls) for name, ls in given.items()}
    structure = read_structure(folder / "POSCAR")
    return _Contents(structure, shells, bool(info.get("spinful")), _fermi(info, "fermi_energy_eV"))


def _table(path: Path, kind: type) -> NDArray[Any]:
    try:
        return np.loadtxt(path, dtype=np.float64 if kind is float else np.int64, ndmin=1)
    except (ValueError, OSError) as error:
        raise RunError(
            Cause.BAD_INPUT, f"{path} is no table of numbers ({' '.join(str(error).split())}); {_AGAIN}"
        ) from None


def _info(folder: Path) -> dict[str, Any]:
    try:
        info = json.loads((folder / "info.json").read_text())
    except (ValueError, OSError) as error:
        raise RunError(Cause.BAD_INPUT, f"{folder / 'info.json'} is not JSON ({error}); {_AGAIN}") from None
    if not isinstance(info, dict):
        raise RunError(Cause.BAD_INPUT, f"{folder / 'info.json'} is no JSON object; {_AGAIN}")
    return info


def _fermi(info: dict[str, Any], key: str) -> float | None:
    value = info.get(key)
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _sizes(atoms: Foreign, spinor: bool) -> NDArray[np.int64]:
    """Rows that each atom has in a block."""
    basis: OrbitalBasis = atoms.basis
    return basis.n_orb_of(atoms.numbers) * (2 if spinor else 1)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise RunError(
            Cause.TRUNCATED, f"{path} cannot be read as HDF5 ({' '.join(str(error).split())[:120]}); {_AGAIN}"
        ) from None


def _keyed(file: h5py.File, path: Path, sizes: NDArray[np.int64]) -> list[Block]:
    """Blocks of DeepH-pack."""
    found = []
    for key, dataset in file.items():
        match = _KEY.fullmatch(key)
        if match is None or not hasattr(dataset, "shape"):
            raise RunError(Cause.BAD_INPUT, f'{path}: {key[:40]!r} is no block "[Rx, Ry, Rz, i, j]"; {_AGAIN}')
        x, y, z, i, j = map(int, match.groups())
        _check_block(path, key, (i - 1, j - 1), dataset.shape, sizes)
        found.append(Block(i - 1, j - 1, (x, y, z), _finite(path, key, dataset[()])))
    return _some(path, found)


def _chunked(file: h5py.File, path: Path, sizes: NDArray[np.int64]) -> list[Block]:
    """Blocks of DeepH-dock."""
    missing = [name for name in ("atom_pairs", "chunk_shapes", "chunk_boundaries", "entries") if name not in file]
    if missing:
        raise RunError(Cause.BAD_INPUT, f"{path} has no {missing[0]}; {_AGAIN}")
    pairs, shapes, ends = (np.asarray(file[name][()]) for name in ("atom_pairs", "chunk_shapes", "chunk_boundaries"))
    n = len(pairs)
    steps = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))]) if shapes.shape == (n, 2) else None
    if (
        pairs.shape != (n, 5)
        or steps is None
        or not np.array_equal(ends, steps)
        or file["entries"].shape != (steps[-1],)
    ):
        raise RunError(Cause.INCONSISTENT, f"{path}: its pairs, shapes and entries disagree in number; {_AGAIN}")
    if len(np.unique(pairs, axis=0)) < n:
        raise RunError(Cause.INCONSISTENT, f"{path} lists a pair twice; {_AGAIN}")
    found = []
    entries = file["entries"]
    for k, (x, y, z, i, j) in enumerate(pairs.tolist()):
        shape = (int(shapes[k, 0]), int(shapes[k, 1]))
        _check_block(path, str(pairs[k].tolist()), (i, j), shape, sizes)
        values = entries[int(ends[k]) : int(ends[k + 1])].reshape(shape)
        found.append(Block(i, j, (x, y, z), _finite(path, str(pairs[k].tolist()), values)))
    return _some(path, found)


def _some(path: Path, blocks: list[Block]) -> list[Block]:
    if not blocks:
        raise RunError(Cause.EMPTY, f"{path} holds no block; {_AGAIN}")
    return blocks


def _check_block(path: Path, key: str, ij: tuple[int, int], shape: tuple[int, ...], sizes: NDArray[np.int64]) -> None:
    if not all(0 <= atom < len(sizes) for atom in ij):
        raise RunError(Cause.INCONSISTENT, f"{path}: block {key} names an atom that is not there; {_AGAIN}")
    if shape != (due := (int(sizes[ij[0]]), int(sizes[ij[1]]))):
        raise RunError(
            Cause.INCONSISTENT, f"{path}: block {key} is {shape}, but the shells and spin make {due}; {_AGAIN}"
        )


def _finite(path: Path, key: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind not in "fc" or not np.isfinite(values).all():
        raise RunError(Cause.NOT_FINITE, f"{path}: block {key} holds something that is not a finite number; {_AGAIN}")
    return values

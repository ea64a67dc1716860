"""What a ``.pth`` of the published converters holds, opened without running anything in it.

Two layouts are read, both lists of fields without names:

    converted     22 fields, one file per structure: what its run_convert.py and combine_data.py write, and the public
                  dataset is made of; energies in eV by some factor
    intermediate  ([8 fields], [labels]): input_inference.pth of its reader, with wfc.pth beside it; energies in Ry

All blocks are padded to 27 orbitals and two spins, [[↑↑, ↑↓], [↓↑, ↓↓]], one for each directed edge (i, j, R).
"""

from __future__ import annotations

import dataclasses
import pickle
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core.elements import atomic_number
from nextham.dft.engine import Cause, RunError
from nextham.exceptions import InputError

if TYPE_CHECKING:
    from torch import Tensor

SHELLS: Final = (0, 0, 0, 0, 1, 1, 2, 2, 3)  # every block is padded to these
N_PADDED: Final = 27
_SPINOR: Final = 2 * N_PADDED
_CONVERTED: Final = 22
_NO_CODE: Final = "its contents are a program, not numbers, and are not opened; get the file from its authors again"
_AGAIN: Final = "get it from its source again"


@dataclasses.dataclass(frozen=True)
class Waves:
    """Coefficients of the levels at some k points, padded like the blocks."""

    k: NDArray[np.float64]  # (n_k, 3) fractional
    n_bands: int
    n_low: int  # bands up to 10 eV above the Fermi level
    coefficients: Tensor  # (n_k * n_bands, n_atoms * 54) complex


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """The fields that matter, checked for shape; tensors are mapped from disk and read when they are used."""

    path: Path
    cell: NDArray[np.float64]  # (3, 3) Å
    positions: NDArray[np.float64]  # (n_atoms, 3) Å
    numbers: NDArray[np.int64]  # (n_atoms,)
    ij: NDArray[np.int64]  # (n_edges, 2)
    vectors: NDArray[np.float64]  # (n_edges, 3) Å, from i to j as the file says
    h0: Tensor  # (n_edges, 54, 54) complex64
    correction: Tensor  # H - H0, the same
    overlap: Tensor  # the same, without unit
    mask: Tensor  # the same, 1 where an orbital is no padding
    in_rydberg: bool
    waves: Waves | None
    fermi_energy_ev: float | None


def open_published(path: Path) -> PublishedFile:
    """Open a file of either layout.

    Raises:
        RunError: if it is not there, cut short, holds code, or is no such file.
    """
    content = load_plain(path)
    if isinstance(content, list) and len(content) == _CONVERTED and isinstance(content[0], str):
        return _converted(path, content)
    if isinstance(content, list | tuple) and len(content) == 2 and isinstance(content[0], list | tuple):
        return _intermediate(path, content)
    if isinstance(content, list) and len(content) == 8 and isinstance(content[0], str):
        raise _refused(
            path, "is an input of the published inference: it has H0, but no lattice, S or H; import the ABACUS run"
        )
    raise _refused(path, "is no file of the published converters: it is not a list of 22 fields")


def load_plain(path: Path) -> Any:
    """Return what torch.save wrote, if it is numbers, text, lists and tensors alone.

    Raises:
        RunError: if the file is not there, cut short, compressed, or holds anything else.
    """
    import torch

    if not path.is_file():
        raise RunError(Cause.MISSING_FILE, f"there is no {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError):
        raise RunError(Cause.TRUNCATED, f"{path} is cut short or was not written by torch.save; {_AGAIN}") from None
    if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > _size(path):
        raise _refused(path, f"holds compressed parts, which torch.save does not write; {_AGAIN}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|global|class) ([\w.]+)", str(error))
        raise _refused(path, f"names {found[1]}; {_NO_CODE}" if found else f": {_NO_CODE}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        if "memory" in str(error).lower():
            raise MemoryError from None
        reason = " ".join(str(error).split())[:120]
        raise RunError(Cause.TRUNCATED, f"{path} cannot be read ({reason}); {_AGAIN}") from None


def _size(path: Path) -> int:
    return path.stat().st_size


def _refused(path: Path, text: str) -> RunError:
    return RunError(Cause.BAD_INPUT, f"{path}{'' if text.startswith(':') else ' '}{text}")


def _converted(path: Path, fields: Sequence[Any]) -> PublishedFile:
    n_edges, n_atoms = _length(path, fields[12], "edge_vec"), _length(path, fields[2], "positions")
    pairs = _pairs(path, fields[13], fields[14], n_edges, n_atoms)
    fermi = path.with_name(f"efermi_{path.name}")
    return PublishedFile(
        path=path,
        cell=_array(path, fields[1], "lattice", (3, 3)),
        positions=_array(path, fields[2], "positions", (n_atoms, 3)),
        numbers=_numbers(path, fields[15], pairs, n_atoms),
        ij=pairs,
        vectors=_array(path, fields[12], "edge_vec", (n_edges, 3)),
        h0=_blocks(path, fields[18], "H0", n_edges),
        overlap=_blocks(path, fields[19], "S", n_edges),
        mask=_blocks(path, fields[20], "mask", n_edges),
        correction=_blocks(path, fields[21], "delta_H", n_edges),
        in_rydberg=False,
        waves=_waves(path, fields[3:8], n_atoms),
        fermi_energy_ev=_fermi(fermi) if fermi.is_file() else None,
    )


def _intermediate(path: Path, content: Sequence[Any]) -> PublishedFile:
    data, labels = content
    if len(data) != 8 or not isinstance(labels, list | tuple) or len(labels) != 1 or data[1] is None:
        raise _refused(path, "is an input of the published inference: it has H0, but no S or H; import the ABACUS run")
    beside = [path.with_name(name) for name in ("wfc.pth", path.name.replace("input_inference", "wfc"))]
    waves = next((p for p in [*beside, path.with_name("wfc_0.pth")] if p.is_file() and p != path), None)
    if waves is None:
        raise RunError(Cause.MISSING_FILE, f"{path} has no lattice: it stands in wfc.pth, which is not beside it")
    more = load_plain(waves)
    if not isinstance(more, list | tuple) or len(more) != 7:
        raise _refused(waves, "is no file of wave functions of the published converter: it is not a list of 7 fields")
    n_edges, n_atoms = _length(path, data[3], "edge_vec"), _length(waves, more[1], "positions")
    pairs = _pairs(path, data[4], data[5], n_edges, n_atoms)
    return PublishedFile(
        path=path,
        cell=_array(waves, more[0], "lattice", (3, 3)),
        positions=_array(waves, more[1], "positions", (n_atoms, 3)),
        numbers=_numbers(path, data[6], pairs, n_atoms),
        ij=pairs,
        vectors=_array(path, data[3], "edge_vec", (n_edges, 3)),
        h0=_blocks(path, data[0], "H0", n_edges),
        overlap=_blocks(path, data[1], "S", n_edges),
        mask=_blocks(path, data[2], "mask", n_edges),
        correction=_blocks(path, labels[0], "delta_H", n_edges),
        in_rydberg=True,
        waves=_waves(waves, more[2:7], n_atoms),
        fermi_energy_ev=None,
    )


def _length(path: Path, field: Any, name: str) -> int:
    if not hasattr(field, "shape") or not field.ndim or not len(field):
        raise _refused(path, f"has no field {name} of any length; {_AGAIN}")
    return len(field)


def _array(path: Path, field: Any, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    if tuple(getattr(field, "shape", ())) != shape or not field.is_floating_point():
        raise _refused(path, f"has a field {name} of {_kind(field)}, not numbers {shape}; {_AGAIN}")
    values = np.asarray(field.double().numpy())
    if not np.isfinite(values).all():
        raise RunError(Cause.NOT_FINITE, f"{path}: the field {name} holds numbers that are not finite; {_AGAIN}")
    return values


def _blocks(path: Path, field: Any, name: str, n_edges: int) -> Tensor:
    import torch

    wanted = torch.float32 if name == "mask" else torch.complex64
    if getattr(field, "dtype", None) != wanted or tuple(field.shape) != (n_edges, _SPINOR, _SPINOR):
        text = f"has a field {name} of {_kind(field)}, not {wanted} ({n_edges}, {_SPINOR}, {_SPINOR}); {_AGAIN}"
        raise _refused(path, text)
    tensor: Tensor = field
    return tensor


def _pairs(path: Path, source: Any, target: Any, n_edges: int, n_atoms: int) -> NDArray[np.int64]:
    for field, name in ((source, "edge_src"), (target, "edge_dst")):
        if tuple(getattr(field, "shape", ())) != (n_edges,) or field.is_floating_point():
            raise _refused(path, f"has a field {name} of {_kind(field)}, not integers ({n_edges},); {_AGAIN}")
    pairs = np.stack([source.numpy(), target.numpy()], axis=1).astype(np.int64)
    if pairs.min() < 0 or pairs.max() >= n_atoms:
        raise _refused(path, f"has an edge of atom {int(pairs.max())}, but {n_atoms} positions; {_AGAIN}")
    return pairs


def _numbers(path: Path, names: Any, pairs: NDArray[np.int64], n_atoms: int) -> NDArray[np.int64]:
    """Atomic numbers, of the two symbols that stand beside each edge."""
    listed = isinstance(names, list | tuple) and len(names) == len(pairs)
    if not listed or any(not isinstance(two, list | tuple) or len(two) != 2 for two in names):
        raise _refused(path, f"does not have two element symbols for each edge; {_AGAIN}")
    found: dict[int, str] = {}
    for ends, symbols in zip(pairs.tolist(), names, strict=True):
        for atom, symbol in zip(ends, symbols, strict=True):
            if found.setdefault(atom, str(symbol)) != symbol:
                raise _refused(path, f"calls atom {atom} {found[atom]} and {symbol}; {_AGAIN}")
    if missing := set(range(n_atoms)) - set(found):
        raise _refused(path, f"has no edge of atom {min(missing)}; its element had no orbitals when it was converted")
    try:
        return np.array([atomic_number(found[atom]) for atom in range(n_atoms)])
    except InputError as error:
        raise _refused(path, f"names an unknown element: {error}") from None


def _waves(path: Path, fields: Sequence[Any], n_atoms: int) -> Waves | None:
    n_bands, low, n_k, k, coefficients = fields
    try:
        rows = int(n_k) * int(n_bands)
        shape = tuple(coefficients.shape)
        k_points = np.asarray(k.double().numpy()).reshape(-1, 3)
    except (TypeError, ValueError, AttributeError, RuntimeError):
        raise _refused(path, f"has no wave functions where they are due; {_AGAIN}") from None
    if shape != (rows, _SPINOR * n_atoms) or len(k_points) != int(n_k) or not coefficients.is_complex():
        raise _refused(
            path, f"has wave functions of {_kind(coefficients)}, not ({rows}, {_SPINOR * n_atoms}); {_AGAIN}"
        )
    return Waves(k_points, int(n_bands), int(low) + 1, coefficients) if rows else None


def _fermi(path: Path) -> float | None:
    value = load_plain(path)
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _kind(field: Any) -> str:
    if hasattr(field, "shape"):
        return f"{field.dtype} {tuple(field.shape)}"
    return type(field).__name__

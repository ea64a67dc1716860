"""One record in one file, quickly written and read again; a store is what people keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import OrbitalBasis, PairList, Provenance, Structure
from nextham.data.certificate import Certificate
from nextham.data.record import STORED, Record, Rows
from nextham.exceptions import InputError
from nextham.files import whole

_ABOUT: Final = "about"  # JSON text, UTF-8


def save_record(path: Path, record: Record | None, note: Mapping[str, Any]) -> None:
    """Write a record, or none, with a note of JSON values; the file appears whole or not at all.

    Raises:
        WriteError: if the file cannot be written.
    """
    about: dict[str, Any] = {"note": dict(note), "record": None}
    arrays: dict[str, NDArray[Any]] = {}
    if record is not None:
        masks = {name: rows.mask for name, rows in record.stored.items()}
        about["record"] = {**record.about, "basis": str(record.basis), "masks": masks}
        crystal, pairs = record.structure, record.pairs
        arrays = {"numbers": crystal.numbers, "positions": crystal.positions, "cell": crystal.cell}
        arrays |= {"ij": pairs.ij, "R": pairs.R, **{name: rows.values for name, rows in record.stored.items()}}
    arrays[_ABOUT] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    with whole(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its own keyword allow_pickle is no array


def load_record(path: Path) -> tuple[Record | None, dict[str, Any]]:
    """Return the record and the note of a file.

    Raises:
        InputError: if it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop(_ABOUT).tobytes())
        record = None if about["record"] is None else _record(about["record"], arrays)
        return record, dict(about["note"])
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file leads to
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}); remove it") from None


def _record(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Record:
    certificate = about["certificate"]
    record = Record(
        Structure(arrays["numbers"], arrays["positions"], arrays["cell"]),
        OrbitalBasis.parse(about["basis"]),
        PairList(arrays["ij"], arrays["R"], np.array([0, len(arrays["ij"])])),
        Provenance(**about["provenance"]),
        {name: Rows(int(about["masks"][name]), arrays[name]) for name in STORED if name in about["masks"]},
        dropped_ev=float(about["dropped_ev"]),
        rounding=float(about["rounding"]),
        certificate=Certificate(**certificate) if certificate else None,
    )
    if record.sha256 != about["sha256"]:
        raise ValueError("the numbers are not those that were written")
    return record

"""One shard: a Zarr v3 group that holds the records of up to some hundred structures end to end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import zarr
from numpy.typing import NDArray

from nextham.core import OrbitalBasis, PairList, Provenance, Structure
from nextham.core._arrays import offsets
from nextham.data.certificate import Certificate
from nextham.data.layout import check_version
from nextham.data.record import STORED, Record, Rows, rows_of_mask
from nextham.data.remote import Location, RemotePath, concurrently
from nextham.exceptions import InputError
from nextham.files import check_plain

if TYPE_CHECKING:
    from nextham.data.ranged import Ranged

Described = TypeVar("Described", Provenance, Certificate)
_Together = Mapping[str, tuple[int, NDArray[np.float64]]]  # numbers of neighbouring records, and where they begin
INDEX: Final = {  # read whole when a shard is opened
    "atom_ptr": "(n_structures + 1,) int64, atoms of structure k: ptr[k]:ptr[k+1]",
    "pair_ptr": "(n_structures + 1,) int64, pairs of structure k: ptr[k]:ptr[k+1]",
    "numbers": "(n_atoms,) int16 atomic numbers",
    "positions": "(n_atoms, 3) float64 Å, Cartesian",
    "cells": "(n_structures, 3, 3) float64 Å, rows are lattice vectors",
    "pair_ij": "(n_pairs, 2) int32 atoms within the structure",
    "pair_R": "(n_pairs, 3) int32 cells",
}


@dataclasses.dataclass(frozen=True)
class _Values:
    """Where the numbers of one operator stand."""

    array: zarr.Array[Any]
    masks: NDArray[np.int16]  # (n_structures,)
    ptr: NDArray[np.int64]  # (n_structures + 1,)


class Shard:
    """A shard opened for reading: its index is in memory, its numbers are read when asked for.

    Behind an address, what does not depend on each other is asked for at once.
    """

    def __init__(self, path: Location, basis: OrbitalBasis, ids: Sequence[str], *, files: Ranged | None = None) -> None:
        """Args: path: the folder; basis: of all elements; ids: expected; files: how to reach it at an address."""
        self.path = path
        self._basis = basis
        self._files = _reached(path) if files is None and isinstance(path, RemotePath) else files
        if isinstance(path, Path):
            check_plain(path)
        try:
            self._group = zarr.open_group(self._files or str(path), mode="r", zarr_format=3)
            attributes = self._group.attrs
            check_version(attributes.get("schema_version", 1), attributes.get("code_version", "?"), path)
            self._about: list[dict[str, Any]] = list(attributes["records"])  # type: ignore[arg-type]
            self._index: dict[str, NDArray[Any]] = self._each(self._whole, INDEX)
            self._check(ids)
            found: dict[str, _Values | None] = self._each(self._values_of, STORED)
            self._values = {name: values for name, values in found.items() if values is not None}
        except InputError:
            raise
        except Exception as error:  # whatever Zarr meets in a damaged folder
            raise self._damaged("its index", error) from None

    def forget(self) -> None:
        """Drop what is held of files behind an address, so that it is fetched again."""
        if self._files is not None:
            self._files.forget()

    def about(self, row: int) -> dict[str, Any]:
        """Return the id, checksum, provenance and certificate of a record as they were written."""
        return self._about[row]

    def meta(self, row: int) -> Provenance:
        """Return the provenance of a record."""
        return self._described(row, "provenance", Provenance)

    def certificate(self, row: int) -> Certificate | None:
        """Return the certificate of a record, None where nobody checked it."""
        return self._described(row, "certificate", Certificate) if self._about[row].get("certificate") else None

    def _described(self, row: int, key: str, kind: type[Described]) -> Described:
        try:
            return kind(**self._about[row][key])
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(f"the {key} of {self._about[row]['id']}", error) from None

    def stored_of(self, row: int) -> tuple[str, ...]:
        """Return which operators of ``STORED`` a record holds."""
        return tuple(name for name, values in self._values.items() if values.masks[row])

    def record(self, row: int, names: Collection[str] | None = None) -> Record:
        """Return a record with all that it stores, or with the named ones of these."""
        return self._record(row, names, {})

    def records(self, rows: range) -> Iterator[Record]:
        """Yield neighbouring records; their numbers are read together, which takes a third of the time."""
        start = rows.start
        while start < rows.stop:
            stop = start + 1
            while stop < rows.stop and self._n_numbers(start, stop + 1) <= _TOGETHER:
                stop += 1
            together = self._together(start, stop)
            yield from (self._record(row, None, together) for row in range(start, stop))
            start = stop

    def _n_numbers(self, start: int, stop: int) -> int:
        return sum(int(values.ptr[stop] - values.ptr[start]) for values in self._values.values())

    def _together(self, start: int, stop: int) -> _Together:
        """Return the numbers of some records by operator, each with where they begin."""

        def numbers(name: str) -> tuple[int, NDArray[np.float64]]:
            values = self._values[name]
            begin, end = int(values.ptr[start]), int(values.ptr[stop])
            return begin, np.asarray(values.array[begin:end], dtype=np.float64)

        try:
            return self._each(numbers, self._values)
        except InputError:
            raise
        except Exception:  # one is damaged: each is read by itself, so that it is named
            return {}

    def _record(self, row: int, names: Collection[str] | None, together: _Together) -> Record:
        atoms = slice(*self._index["atom_ptr"][row : row + 2])
        own = slice(*self._index["pair_ptr"][row : row + 2])
        numbers = self._index["numbers"][atoms]
        try:
            structure = Structure(numbers, self._index["positions"][atoms], self._index["cells"][row])
            count = np.array([0, own.stop - own.start])
            pairs = PairList(self._index["pair_ij"][own], self._index["pair_R"][own], count)
        except InputError as error:
            raise self._damaged(f"the crystal of {self._about[row]['id']}", error) from None
        wanted = [name for name in self.stored_of(row) if names is None or name in names]
        return Record(
            structure,
            self._basis.restricted(numbers.tolist()),
            pairs,
            self.meta(row),
            self._each(partial(self._rows, row=row, together=together), wanted),
            dropped_ev=float(self._about[row].get("dropped_ev", 0.0)),
            rounding=float(self._about[row].get("rounding", 0.0)),
            certificate=self.certificate(row),
        )

    def _each(self, function: Callable[[str], Any], names: Iterable[str]) -> dict[str, Any]:
        """Return a function's results by the names."""
        names = list(names)
        found = concurrently(function, names) if self._files else [function(name) for name in names]
        return dict(zip(names, found, strict=True))

    def _rows(self, name: str, row: int, together: _Together) -> Rows:
        for _ in range(_TRIES - 1 if self._files else 0):
            try:
                return self._rows_once(name, row, together)
            except _DamagedError:  # perhaps on its way only
                self.forget()
        return self._rows_once(name, row, together)

    def _rows_once(self, name: str, row: int, together: _Together) -> Rows:
        values = self._values[name]
        mask, begin, end = int(values.masks[row]), int(values.ptr[row]), int(values.ptr[row + 1])
        try:
            if name in together:
                first, read = together[name]
                numbers = read[begin - first : end - first]
            else:
                numbers = np.asarray(values.array[begin:end], dtype=np.float64)
        except InputError:
            raise
        except Exception as error:  # whatever Zarr meets in a damaged file
            raise self._damaged(f"the {name} of {self._about[row]['id']}", error) from None
        if np.isnan(numbers).any():  # what Zarr fills in for a missing file
            raise self._damaged(f"the {name} of {self._about[row]['id']}", "numbers are missing or NaN")
        return Rows(mask, numbers.reshape(len(rows_of_mask(mask)), -1))

    def _whole(self, name: str) -> NDArray[Any]:
        found = self._array(name)
        if found.nbytes > _MAX_INDEX_BYTES:
            raise self._damaged(name, f"it claims {found.nbytes} bytes, more than {_MAX_INDEX_BYTES}")
        array = np.asarray(found[...])
        missing = np.isnan(array) if array.dtype.kind == "f" else array == np.iinfo(array.dtype).min
        if missing.any():
            raise self._damaged(name, "numbers are missing")
        return array

    def _array(self, name: str) -> zarr.Array[Any]:
        if name not in self._group:
            raise self._damaged(name, "there is no such array")
        found = self._group[name]
        if not isinstance(found, zarr.Array) or found.dtype.kind not in "iuf":
            raise self._damaged(name, "it is no array of integers or real numbers")
        return found

    def _values_of(self, name: str) -> _Values | None:
        if name not in self._group:
            return None
        masks = self._whole(f"{name}_rows")
        n_rows = np.array([len(rows_of_mask(mask)) for mask in masks.tolist()])
        ptr = offsets(n_rows * self._n_values)
        array = self._array(name)
        if len(masks) != len(self._about) or array.shape != (ptr[-1],):
            raise self._damaged(name, f"{ptr[-1]} numbers expected, {array.shape[0]} stored")
        return _Values(array, masks, ptr)

    def _check(self, ids: Sequence[str]) -> None:
        index, n = self._index, len(self._about)
        if [isinstance(about, dict) and about.get("id") for about in self._about] != list(ids):
            raise self._damaged("its index", "the ids differ from those in store.json")
        for about in self._about:
            if wrong := [key for key, kind in _KINDS.items() if not isinstance(about.get(key, kind()), kind)]:
                raise self._damaged(f"the record of {about['id']}", f"its {wrong[0]} is of another kind")
        good = (
            len(index["cells"]) == n
            and all(len(index[p]) == n + 1 and index[p][0] == 0 and (np.diff(index[p]) >= 0).all() for p in _POINTERS)
            and len(index["numbers"]) == len(index["positions"]) == index["atom_ptr"][-1]
            and len(index["pair_ij"]) == len(index["pair_R"]) == index["pair_ptr"][-1]
        )
        if not good:
            raise self._damaged("its index", "the arrays disagree on how many structures, atoms or pairs there are")
        owner = np.repeat(np.arange(n), np.diff(index["pair_ptr"]))
        n_orb = self._basis.n_orb_of(index["numbers"])
        atoms = index["pair_ij"].astype(np.int64) + index["atom_ptr"][owner, None]
        if atoms.size and (index["pair_ij"].min() < 0 or (atoms >= index["atom_ptr"][owner + 1, None]).any()):
            raise self._damaged("its index", "a pair names an atom that is not there")
        self._n_values = np.bincount(owner, weights=n_orb[atoms].prod(axis=1), minlength=n).astype(np.int64)

    def _damaged(self, what: str, why: object) -> _DamagedError:
        reason = " ".join(str(why).split()) or type(why).__name__
        return _DamagedError(
            f"{self.path.parent}: {what} cannot be read from {self.path.name} ({reason}); "
            "the shard is damaged: fetch or pack it again"
        )


class _DamagedError(InputError):
    """What was written is not what was read."""


def _reached(path: RemotePath) -> Ranged:
    from nextham.data.ranged import Ranged

    return Ranged(path)


_POINTERS: Final = ("atom_ptr", "pair_ptr")
_KINDS: Final[dict[str, type]] = {"sha256": str, "provenance": dict, "dropped_ev": float, "rounding": float}
_TRIES: Final = 3  # at reading what may be damaged on its way
_TOGETHER: Final = 4 * 2**20  # numbers of neighbours that are read at once: 32 MB
_MAX_INDEX_BYTES: Final = 2**32  # an index is read whole; a shard has up to some hundred structures

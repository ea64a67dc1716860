"""Reading ABACUS's sparse matrices H(R), S(R): all three layouts, block by block.

``abacus`` (3.8 to 3.10: header ``STEP:``, four lines a block), ``abacus-3.11`` (commented sections) and binary. The
file is memory-mapped and blocks come one at a time, so memory holds one block whatever the file's size. A file with
the matrices of several ionic steps (molecular dynamics, relaxation) is refused: STRU tells only the first geometry.
"""

from __future__ import annotations

import dataclasses
import mmap
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.dft.abacus import decode
from nextham.dft.engine import Cause, RunError

_RERUN: Final = "run the job again"
_FIRST_SECTION: Final = b"# CSR values"
_MANY_STEPS: Final = (
    "{where} holds the matrices of several ionic steps; compute each geometry as a run of its own (calculation scf)"
)


class CsrLayout(StrEnum):
    """How a file is written."""

    STEP = "abacus"
    COMMENTED = "abacus-3.11"
    BINARY = "binary"


@dataclasses.dataclass(frozen=True)
class CsrBlock:
    """The elements of one R, sorted by row."""

    R: tuple[int, int, int]
    rows: NDArray[np.int64]  # (nnz,)
    columns: NDArray[np.int64]  # (nnz,)
    values: NDArray[Any]  # (nnz,) float64 or complex128, in the file's unit


@dataclasses.dataclass(frozen=True)
class _Header:
    layout: CsrLayout
    dimension: int
    n_blocks: int
    start: int  # byte where the blocks start


class CsrFile:
    """One matrix file of ABACUS; iterating yields its blocks in the file's order.

    Raises:
        RunError: if the file is missing, empty, truncated, of another kind, or holds what is not a finite number.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise RunError(Cause.MISSING_FILE, f"there is no {self.path}; {_RERUN} with out_mat_hs2 1")
        if self.path.stat().st_size == 0:
            raise RunError(Cause.EMPTY, f"{self.path} is empty; ABACUS wrote no matrix: {_RERUN} with out_mat_hs2 1")
        with self.path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._bytes)
        header = self._read_header()
        self.layout, self.dimension, self.n_blocks = header.layout, header.dimension, header.n_blocks
        self._start = header.start
        if self.n_blocks == 0:
            raise RunError(Cause.EMPTY, f"{self.path} holds no block; ABACUS wrote an empty matrix: {_RERUN}")

    def __iter__(self) -> Iterator[CsrBlock]:
        read = {
            CsrLayout.STEP: self._step_block,
            CsrLayout.COMMENTED: self._commented_block,
            CsrLayout.BINARY: self._binary_block,
        }[self.layout]
        at = self._start
        for k in range(self.n_blocks):
            if k and self.layout is CsrLayout.COMMENTED and not self._bytes[at : at + 256].strip():
                break  # newer builds count the blocks without elements, too, and leave them out
            block, at = read(at, k)
            yield block
        self._check_end(at)

    def _read_header(self) -> _Header:
        head = self._bytes[:4096].lstrip()
        if head.startswith(b"STEP"):
            ends = [m.end() for m in re.finditer(rb"\n", self._bytes[:4096])][:3]
            sizes = re.search(rb"STEP[^\n]*\n[^\n]*?(\d+)\s*\n[^\n]*?(\d+)\s*\n", head)
            if len(ends) == 3 and sizes:
                return _Header(CsrLayout.STEP, int(sizes[1]), int(sizes[2]), ends[2])
        elif head.startswith(b"---"):
            sizes = re.search(rb"(\d+)\s*# number of localized basis\s*\n\s*(\d+)\s*# number of Bravais", head)
            first = self._bytes.find(_FIRST_SECTION)
            if sizes and first > 0:
                header_end = self._bytes.rfind(b"\n", 0, first)
                start = self._bytes.rfind(b"\n", 0, header_end) + 1
                return _Header(CsrLayout.COMMENTED, int(sizes[1]), int(sizes[2]), start)
            if sizes and int(sizes[2]) == 0:
                return _Header(CsrLayout.COMMENTED, int(sizes[1]), 0, len(self._bytes))
        elif len(self._bytes) >= 12:
            _, dimension, n_blocks = (int(n) for n in np.frombuffer(self._bytes, "<i4", 3))
            if 0 < dimension < 10**7 and 0 <= n_blocks <= len(self._bytes) // 16:
                return _Header(CsrLayout.BINARY, dimension, n_blocks, 12)
        raise self._error(Cause.TRUNCATED, 0, "the header is not that of an ABACUS matrix file (out_mat_hs2)")

    def _step_block(self, at: int, k: int) -> tuple[CsrBlock, int]:
        at, stop = self._line(at, k)
        R, nnz = self._block_header(at, stop, k)
        begin = stop + 1
        if nnz == 0:
            return _empty(R), begin
        ends = [begin - 1]
        for _ in range(3):
            ends.append(self._bytes.find(b"\n", ends[-1] + 1))
            if ends[-1] < 0:  # the last line may lack its newline
                ends[-1] = len(self._bytes)
        values = self._reals(begin, ends[1], nnz, R)
        columns = self._integers(ends[1] + 1, ends[2], nnz, R)
        pointers = self._integers(ends[2] + 1, ends[3], self.dimension + 1, R)
        return self._block(R, values, columns, pointers, begin), ends[3] + 1

    def _commented_block(self, at: int, k: int) -> tuple[CsrBlock, int]:
        at, stop = self._line(at, k)
        R, nnz = self._block_header(at, stop, k)
        marks = [stop]
        for _ in range(3):  # "# CSR values", "# CSR column indices", "# CSR row pointers"
            mark = self._bytes.find(b"#", marks[-1])
            line_end = self._bytes.find(b"\n", mark) if mark >= 0 else -1
            if line_end < 0:
                raise self._error(Cause.TRUNCATED, stop, f"the block R = {R} ends early")
            marks += [mark, line_end]
        values = self._reals(marks[2] + 1, marks[3], nnz, R)
        columns = self._integers(marks[4] + 1, marks[5], nnz, R)
        end = self._pointers_end(marks[6])
        pointers = self._integers(marks[6] + 1, end, self.dimension + 1, R)
        return self._block(R, values, columns, pointers, at), end

    def _pointers_end(self, begin: int) -> int:
        """Return where the row pointers end: at a blank line, or before the header of the next block."""
        end, mark = self._bytes.find(b"\n\n", begin), self._bytes.find(b"#", begin)
        end = len(self._bytes) if end < 0 else end
        if 0 <= mark < end:
            end = self._bytes.rfind(b"\n", 0, self._bytes.rfind(b"\n", 0, mark))
        return end

    def _binary_block(self, at: int, k: int) -> tuple[CsrBlock, int]:
        x, y, z, nnz = (int(n) for n in self._array(at, "<i4", 4, f"block {k + 1} of {self.n_blocks}"))
        R, begin = (x, y, z), at + 16
        if nnz == 0:
            return _empty(R), begin
        if not 0 < nnz <= self.dimension**2:
            raise self._error(Cause.INCONSISTENT, at, f"the block R = {R} claims {nnz} elements of {self.dimension}²")
        values = self._array(begin, "<c16", nnz, f"the block R = {R}").astype(np.complex128)
        columns = self._array(begin + 16 * nnz, "<i4", nnz, f"the block R = {R}").astype(np.int64)
        last = begin + 20 * nnz
        pointers = self._array(last, "<i4", self.dimension + 1, f"the block R = {R}").astype(np.int64)
        return self._block(R, values, columns, pointers, begin), last + 4 * (self.dimension + 1)

    def _array(self, at: int, kind: str, count: int, what: str) -> NDArray[Any]:
        if at + np.dtype(kind).itemsize * count > len(self._bytes):
            raise self._error(Cause.TRUNCATED, at, f"{what} ends early")
        return np.frombuffer(self._bytes, kind, count, at)

    def _line(self, at: int, k: int) -> tuple[int, int]:
        """Return where the next line that is not blank begins and ends."""
        while at < len(self._bytes):
            stop = self._bytes.find(b"\n", at)
            stop = len(self._bytes) if stop < 0 else stop
            if self._bytes[at:stop].strip():
                return at, stop
            at = stop + 1
        raise self._error(Cause.TRUNCATED, len(self._bytes), f"block {k + 1} of {self.n_blocks} is missing")

    def _block_header(self, at: int, stop: int, k: int) -> tuple[tuple[int, int, int], int]:
        text = self._bytes[at:stop]
        words = re.fullmatch(rb"\s*(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(\d+)\s*", text)
        if not words:
            if text.lstrip().startswith((b"STEP", b"---")):
                raise RunError(Cause.INCONSISTENT, _MANY_STEPS.format(where=self._where(at)))
            cause = Cause.TRUNCATED if stop == len(self._bytes) else Cause.INCONSISTENT
            raise self._error(cause, at, f"block {k + 1} of {self.n_blocks} must begin with Rx Ry Rz and a count")
        x, y, z, nnz = (int(n) for n in words.groups())
        return (x, y, z), nnz

    def _reals(self, begin: int, stop: int, nnz: int, R: tuple[int, int, int]) -> NDArray[Any]:
        section = self._view[begin:stop]
        is_complex = ord("(") in section[:8]
        try:
            values = decode.reals(section, nnz * (2 if is_complex else 1))
        except ValueError as error:
            raise self._broken(begin, stop, f"the values of the block R = {R} cannot be read: {error}") from None
        return values.view(np.complex128) if is_complex else values

    def _integers(self, begin: int, stop: int, count: int, R: tuple[int, int, int]) -> NDArray[np.int64]:
        try:
            return decode.integers(self._view[begin:stop], count)
        except ValueError as error:
            raise self._broken(begin, stop, f"the indices of the block R = {R} cannot be read: {error}") from None

    def _block(
        self,
        R: tuple[int, int, int],
        values: NDArray[Any],
        columns: NDArray[np.int64],
        pointers: NDArray[np.int64],
        at: int,
    ) -> CsrBlock:
        from nextham.dft.abacus.kernels import rows_of

        rows = rows_of(pointers, len(columns))
        if len(rows) != len(columns):
            cut = self.layout is not CsrLayout.BINARY and self._bytes[-1:] != b"\n"  # within its last number
            cause = Cause.TRUNCATED if cut else Cause.INCONSISTENT
            raise self._error(cause, at, f"the row pointers of the block R = {R} do not match its elements")
        if len(columns) and columns.max() >= self.dimension:
            what = f"column {columns.max()} of the block R = {R} lies outside the dimension {self.dimension}"
            raise self._error(Cause.INCONSISTENT, at, what)
        if not np.isfinite(values).all():
            which = int(np.flatnonzero(~np.isfinite(values))[0])
            row = int(np.searchsorted(pointers, which, side="right")) - 1
            what = f"element ({row}, {columns[which]}) of the block R = {R} is {values[which]}, not a finite number"
            raise self._error(Cause.NOT_FINITE, at, what)
        return CsrBlock(R, rows, columns, values)

    def _check_end(self, at: int) -> None:
        rest = self._bytes[at : at + 256].strip()
        if self.layout is CsrLayout.BINARY:
            if at != len(self._bytes):
                raise RunError(Cause.INCONSISTENT, _MANY_STEPS.format(where=self._where(at)))
        elif rest.startswith((b"STEP", b"---")):
            raise RunError(Cause.INCONSISTENT, _MANY_STEPS.format(where=self._where(at)))
        elif rest:
            raise self._error(
                Cause.INCONSISTENT, at, f"there is more than the {self.n_blocks} blocks that the header tells"
            )

    def _broken(self, begin: int, stop: int, what: str) -> RunError:
        """Return the failure of a section: a truncation where the file ends with it."""
        return self._error(Cause.TRUNCATED if stop >= len(self._bytes) - 1 else Cause.INCONSISTENT, begin, what)

    def _error(self, cause: Cause, at: int, what: str) -> RunError:
        return RunError(cause, f"{self._where(at)}: {what}; {_RERUN}")

    def _where(self, at: int) -> str:
        if self._bytes[:1] in b" \nS-":
            return f"{self.path}, line {self._bytes[:at].count(bytes([10])) + 1}"
        return f"{self.path}, byte {at}"


def _empty(R: tuple[int, int, int]) -> CsrBlock:
    none = np.zeros(0, dtype=np.int64)
    return CsrBlock(R, none, none, np.zeros(0))


def read_csr(path: str | Path) -> tuple[int, list[CsrBlock]]:
    """Return the dimension and all blocks of a matrix file; iterate over a CsrFile where memory matters."""
    file = CsrFile(path)
    return file.dimension, list(file)

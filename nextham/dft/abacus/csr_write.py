"""Writing sparse matrices as ABACUS does: the layouts of 3.8 to 3.10 and of 3.11."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

import numpy as np
from numpy.typing import NDArray

from nextham.core import Structure
from nextham.dft.abacus.csr import CsrBlock, CsrLayout
from nextham.dft.geometry import folded
from nextham.units import ABACUS_BOHR_ANG, BOHR_ANG

_VALUES_A_LINE: Final = 8
_INDICES_A_LINE: Final = 16
_EXPLANATION: Final = (
    "--------------------------------------------------------",
    "                      CSR format                        ",
    " Outer loop is the number of Bravais lattice vectors.   ",
    " First line is Bravais lattice vector index Rx, Ry, Rz, ",
    " followed by the number of non-zero elements.           ",
    " Next are three blocks of data.                         ",
    "--------------------------------------------------------",
)


def write_csr(
    path: str | Path,
    blocks: Sequence[CsrBlock],
    *,
    dimension: int,
    quantity: str,
    layout: CsrLayout = CsrLayout.STEP,
    structure: Structure | None = None,
) -> None:
    """Write a matrix file; it appears under its name when it is whole.

    Args:
        path: file.
        blocks: elements of each R, sorted by row and column within a block.
        dimension: number of rows.
        quantity: "H" or "S", for the header.
        layout: one of the two text layouts.
        structure: the crystal, which the header of 3.11 repeats (to six digits; STRU holds it in full).
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w") as file:
            if layout is CsrLayout.COMMENTED:
                _write_commented(file, blocks, dimension, quantity, structure)
            elif layout is CsrLayout.STEP:
                _write_step(file, blocks, dimension, quantity)
            else:
                raise ValueError("ABACUS's binary layout is read only")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write_step(file: TextIO, blocks: Sequence[CsrBlock], dimension: int, quantity: str) -> None:
    file.write(f"STEP: 0\nMatrix Dimension of {quantity}(R): {dimension}\n")
    file.write(f"Matrix number of {quantity}(R): {len(blocks)}\n")
    for block in blocks:
        file.write("{} {} {} ".format(*block.R) + f"{len(block.values)}\n")
        if len(block.values):
            file.write("".join(_numbers(block.values)) + "\n")
            file.write("".join(_integers(block.columns)) + "\n")
            file.write("".join(_integers(_pointers(block, dimension))) + "\n")


def _write_commented(
    file: TextIO, blocks: Sequence[CsrBlock], dimension: int, quantity: str, structure: Structure | None
) -> None:
    if structure is None:
        raise ValueError("the layout of ABACUS 3.11 repeats the crystal; give the structure")
    file.write(f" --- Ionic Step 1 ---\n # print {quantity} matrix in real space {quantity}(R)\n")
    file.write(" 1 # number of spin directions\n 1 # spin index\n")
    file.write(f" {dimension} # number of localized basis\n {len(blocks)} # number of Bravais lattice vector R\n\n")
    file.write(_crystal(structure) + "\n" + "".join(f" #{line}#\n" for line in _EXPLANATION) + "\n")
    for block in blocks:
        file.write(" {} {} {} ".format(*block.R) + f"{len(block.values)}\n")
        file.write(" # CSR values\n" + _wrapped(_numbers(block.values), _VALUES_A_LINE))
        file.write(" # CSR column indices\n" + _wrapped(_integers(block.columns), _INDICES_A_LINE))
        file.write(" # CSR row pointers\n" + _wrapped(_integers(_pointers(block, dimension)), _INDICES_A_LINE) + "\n")


def _crystal(structure: Structure) -> str:
    """Cell and positions as 3.11 prints them: the constant of 1 Å in its own Bohr, vectors in units of it."""
    lat0_ang = ABACUS_BOHR_ANG / BOHR_ANG
    symbols = structure.symbols
    types = list(dict.fromkeys(symbols))
    lines = [" user_defined_lattice", f" {lat0_ang:.6g}"]
    lines += [" " + " ".join(f"{x:.6g}" for x in row) for row in structure.cell]
    lines += [" " + " ".join(types), " " + " ".join(str(symbols.count(t)) for t in types), " Direct"]
    lines += [" " + " ".join(f"{x:.15g}" for x in row) for row in folded(structure.fractional)]
    return "\n".join(lines) + "\n"


def _numbers(values: NDArray[np.complex128] | NDArray[np.float64]) -> list[str]:
    if np.iscomplexobj(values):
        return [f" ({z.real:.8e},{z.imag:.8e})" for z in values.tolist()]
    return [f" {x:.8e}" for x in values.tolist()]


def _integers(numbers: NDArray[np.int64]) -> list[str]:
    return [f" {n}" for n in numbers.tolist()]


def _pointers(block: CsrBlock, dimension: int) -> NDArray[np.int64]:
    return np.searchsorted(block.rows, np.arange(dimension + 1))


def _wrapped(words: Sequence[str], per_line: int) -> str:
    return "".join(_lines(words, per_line)) or "\n"


def _lines(words: Sequence[str], per_line: int) -> Iterator[str]:
    for begin in range(0, len(words), per_line):
        yield "".join(words[begin : begin + per_line]) + "\n"

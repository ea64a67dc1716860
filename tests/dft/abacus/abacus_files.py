"""Plain writers and readers of ABACUS's matrix files, line by line: the oracles of the tests and the benchmark."""

from __future__ import annotations

import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from nextham.dft.abacus.reader import read_run
from nextham.dft.engine import RunError

EXAMPLES = Path(__file__).parents[3] / "examples" / "abacus-runs"


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(EXAMPLES / f"case-{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / f"case-{name}"


def plain_read(path: Path) -> tuple[int, dict[tuple[int, ...], sp.csr_matrix]]:
    """Read the layout of 3.8 to 3.10, token by token."""
    out = {}
    with path.open() as file:
        file.readline()
        dimension = int(file.readline().split()[-1])
        n_blocks = int(file.readline().split()[-1])
        for _ in range(n_blocks):
            *R, nnz = (int(word) for word in file.readline().split())
            if nnz == 0:
                out[tuple(R)] = sp.csr_matrix((dimension, dimension), dtype=complex)
                continue
            values = [complex(*map(float, word.strip("()").split(","))) for word in file.readline().split()]
            columns = [int(word) for word in file.readline().split()]
            pointers = [int(word) for word in file.readline().split()]
            out[tuple(R)] = sp.csr_matrix((values, columns, pointers), shape=(dimension, dimension))
    return dimension, out


def write_311(path: Path, dimension: int, blocks: dict, *, precision: int = 8, keep_empty: bool = True) -> None:
    """Write what ABACUS 3.11 writes; newer builds leave blocks without elements out but still count them."""
    lines = [" --- Ionic Step 1 ---", " # print H matrix in real space H(R)", " 1 # number of spin directions"]
    lines += [" 1 # spin index", f" {dimension} # number of localized basis"]
    lines += [
        f" {len(blocks)} # number of Bravais lattice vector R",
        "",
        " user_defined_lattice",
        " 1",
        " 1 0 0",
        " 0 1 0",
    ]
    lines += [" 0 0 1", " Si", " 1", " Direct", " 0 0 0", "", " #-----#", " # CSR format #", " #-----#", ""]
    for R, matrix in blocks.items():
        if matrix.nnz == 0 and not keep_empty:
            continue
        lines.append(" {} {} {} ".format(*R) + str(matrix.nnz))
        words = [
            f" {z:.{precision}e}" if np.isrealobj(z) else f" ({z.real:.{precision}e},{z.imag:.{precision}e})"
            for z in matrix.data
        ]
        for title, found, width in (
            ("values", words, 6),
            ("column indices", [f" {c}" for c in matrix.indices], 16),
            ("row pointers", [f" {p}" for p in matrix.indptr], 16),
        ):
            lines.append(f" # CSR {title}")
            lines += ["".join(found[k : k + width]) for k in range(0, len(found), width)] or [""]
        lines.append("")
    path.write_text("\n".join(lines) + "\n")


def write_binary(path: Path, dimension: int, blocks: dict) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<3i", 0, dimension, len(blocks)))
        for R, matrix in blocks.items():
            file.write(struct.pack("<4i", *R, matrix.nnz))
            if matrix.nnz:
                file.write(matrix.data.astype("<c16").tobytes())
                file.write(matrix.indices.astype("<i4").tobytes() + matrix.indptr.astype("<i4").tobytes())


H0, SCF = "abacus_geths/OUT.ABACUS/", "abacus_scf/OUT.ABACUS/"
H_FILE, S_FILE = "data-HR-sparse_SPIN0.csr", "data-SR-sparse_SPIN0.csr"


def edit(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def polarise(path, by=0.01):
    """Write a matrix anew with this h_z (Ry) on the diagonal of the first orbital."""
    dimension, blocks = plain_read(path)
    home = blocks[0, 0, 0].tolil()
    home[0, 0] += by
    home[1, 1] -= by
    blocks[0, 0, 0] = home.tocsr()
    path.unlink()
    write_311(path.with_name("hrs1_nao.csr"), dimension, {R: m for R, m in blocks.items() if m.nnz}, precision=12)


def refused(case, cause, sentence, **arguments):
    with pytest.raises(RunError) as caught:
        read_run(case, **arguments)
    assert str(caught.value) == "BeS: " + sentence.format(case=case)
    assert caught.value.cause is cause

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from abacus_files import plain_read, unpacked, write_311, write_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from nextham.core import Structure
from nextham.dft.abacus import decode
from nextham.dft.abacus.csr import CsrBlock, CsrFile, CsrLayout, read_csr
from nextham.dft.abacus.csr_write import write_csr
from nextham.dft.engine import Cause, RunError

HEAD = "STEP: 0\nMatrix Dimension of H(R): 2\nMatrix number of H(R): {}\n"
BLOCK = (
    "{} 0 0 3\n (1.00000000e+00,0.00000000e+00) (2.50000000e-01,-1.00000000e-03) (3.00000000e+00,0.00000000e+00)\n"
    " 0 1 1\n 0 2 3\n"
)
GOOD = HEAD.format(3) + BLOCK.format(-1) + "0 0 0 0\n" + BLOCK.format(1)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return unpacked("BeS-zb-0", tmp_path_factory.mktemp("bes"))


def as_scipy(blocks, dimension):
    return {b.R: sp.csr_matrix((b.values, (b.rows, b.columns)), shape=(dimension, dimension)) for b in blocks}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for R, matrix in expected.items():
        assert found[R].shape == matrix.shape
        assert (found[R] != matrix).nnz == 0, R


@pytest.mark.parametrize(
    "name", ["abacus_scf/OUT.ABACUS/data-HR-sparse_SPIN0.csr", "abacus_geths/OUT.ABACUS/data-SR-sparse_SPIN0.csr"]
)
def test_a_real_file_reads_bit_for_bit_as_a_plain_reader_does(run, name):
    dimension, expected = plain_read(run / name)
    found_dimension, blocks = read_csr(run / name)
    assert found_dimension == dimension
    assert_same(as_scipy(blocks, dimension), expected)


@pytest.mark.parametrize("layout", ["3.11", "3.11 in 12 decimals", "3.11 without empty blocks", "binary"])
def test_every_layout_gives_the_same_blocks(run, tmp_path, layout):
    dimension, expected = plain_read(run / "abacus_geths/OUT.ABACUS/data-SR-sparse_SPIN0.csr")
    path = tmp_path / "srs1_nao.csr"
    expected[9, 9, 9] = sp.csr_matrix((dimension, dimension), dtype=complex)
    if layout == "binary":
        write_binary(path, dimension, expected)
    else:
        write_311(path, dimension, expected, precision=12 if "12" in layout else 8, keep_empty="without" not in layout)
    file = CsrFile(path)
    assert file.layout is (CsrLayout.BINARY if layout == "binary" else CsrLayout.COMMENTED)
    if "without" in layout:
        expected = {R: m for R, m in expected.items() if m.nnz}
    assert_same(as_scipy(file, dimension), expected)


def test_reals_of_nspin_1_stay_real(tmp_path):
    path = tmp_path / "h.csr"
    path.write_text(HEAD.format(1) + "0 0 0 2\n 1.00000000e+00 -2.00000000e-01\n 0 1\n 0 1 2\n")
    (block,) = CsrFile(path)
    assert block.values.dtype == np.float64
    np.testing.assert_array_equal(block.values, [1, -0.2])
    np.testing.assert_array_equal(block.rows, [0, 1])


def test_a_last_line_without_newline_is_read(tmp_path):
    path = tmp_path / "h.csr"
    path.write_text(GOOD.rstrip("\n"))
    assert [b.R for b in CsrFile(path)] == [(-1, 0, 0), (0, 0, 0), (1, 0, 0)]


BROKEN = [
    ("", Cause.EMPTY, " is empty; ABACUS wrote no matrix: run the job again with out_mat_hs2 1"),
    (HEAD.format(0), Cause.EMPTY, " holds no block; ABACUS wrote an empty matrix: {}"),
    (HEAD[:17], Cause.TRUNCATED, ", line 1: the header is not that of an ABACUS matrix file (out_mat_hs2); {}"),
    (GOOD[: GOOD.index("0 0 0 0")], Cause.TRUNCATED, ", line 8: block 2 of 3 is missing; {}"),
    (
        GOOD[:-6],
        Cause.TRUNCATED,
        ", line 12: the indices of the block R = (1, 0, 0) cannot be read: 0 integers where 3 are due; {}",
    ),
    (
        GOOD[: GOOD.rindex("-1.0000")],
        Cause.TRUNCATED,
        ", line 10: the values of the block R = (1, 0, 0) cannot be read: 3 numbers where 6 are due; {}",
    ),
    (
        GOOD.replace("2.5", "nan 2.5", 1),
        Cause.INCONSISTENT,
        ", line 5: the values of the block R = (-1, 0, 0) cannot be read: 7 numbers where 6 are due; {}",
    ),
    (
        GOOD.replace("2.50000000e-01", "nan", 1),
        Cause.NOT_FINITE,
        ", line 5: element (0, 1) of the block R = (-1, 0, 0) is (nan-0.001j), not a finite number; {}",
    ),
    (
        GOOD.replace(" 0 1 1", " 0 1 2", 1),
        Cause.INCONSISTENT,
        ", line 5: column 2 of the block R = (-1, 0, 0) lies outside the dimension 2; {}",
    ),
    (
        GOOD.replace(" 0 2 3", " 0 2 4", 1),
        Cause.INCONSISTENT,
        ", line 5: the row pointers of the block R = (-1, 0, 0) do not match its elements; {}",
    ),
    (
        GOOD.replace("0 0 0 0", "0 0 x 0"),
        Cause.INCONSISTENT,
        ", line 8: block 2 of 3 must begin with Rx Ry Rz and a count; {}",
    ),
    (
        GOOD + BLOCK.format(2),
        Cause.INCONSISTENT,
        ", line 13: there is more than the 3 blocks that the header tells; {}",
    ),
    (
        GOOD + GOOD,
        Cause.INCONSISTENT,
        ", line 13 holds the matrices of several ionic steps; "
        "compute each geometry as a run of its own (calculation scf)",
    ),
]


@pytest.mark.parametrize(("text", "cause", "sentence"), BROKEN)
def test_a_broken_file_is_refused_with_its_line(tmp_path, text, cause, sentence):
    path = tmp_path / "data-HR-sparse_SPIN0.csr"
    path.write_text(text)
    with pytest.raises(
        RunError, match="^" + re.escape(str(path) + sentence.format("run the job again")) + "$"
    ) as caught:
        read_csr(path)
    assert caught.value.cause is cause


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"there is no .*h.csr; run the job again with out_mat_hs2 1"):
        CsrFile(tmp_path / "h.csr")


def test_a_truncated_binary_file_is_refused_with_its_byte(run, tmp_path):
    dimension, blocks = plain_read(run / "abacus_scf/OUT.ABACUS/data-HR-sparse_SPIN0.csr")
    path = tmp_path / "hrs1_nao.csr"
    write_binary(path, dimension, blocks)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(RunError, match=r"hrs1_nao.csr, byte \d+: the block R = .* ends early") as caught:
        read_csr(path)
    assert caught.value.cause is Cause.TRUNCATED


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9])
def test_a_truncated_file_of_3_11_is_refused(run, tmp_path, cut):
    dimension, blocks = plain_read(run / "abacus_scf/OUT.ABACUS/data-HR-sparse_SPIN0.csr")
    path = tmp_path / "hrs1_nao.csr"
    write_311(path, dimension, dict(list(blocks.items())[:9]))
    text = path.read_text()
    path.write_text(text[: int(cut * len(text))])
    with pytest.raises(RunError) as caught:
        read_csr(path)
    assert caught.value.cause in (Cause.TRUNCATED, Cause.INCONSISTENT)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False, min_value=-1e90, max_value=1e90), min_size=1, max_size=40
    ),
    st.integers(1, 17),
)
def test_numbers_are_decoded_as_python_does(numbers, decimals):
    words = [f"{x:.{decimals}e}" for x in numbers]
    np.testing.assert_array_equal(decode.reals(" ".join(words).encode(), len(words)), [float(w) for w in words])
    pairs = "".join(f" ({w},-{w.lstrip('-')})" for w in words).encode()
    expected = [float(x) for w in words for x in (w, "-" + w.lstrip("-"))]
    np.testing.assert_array_equal(decode.reals(pairs, 2 * len(words)), expected)


@pytest.mark.parametrize(
    "text", ["0 1.5 2", "12 0.25 -3", "1.0e5 12.0e-3", "1e3 1.5e3", "1.00e+100 -1.00e-100", "0.1E+01 2.0D"]
)
def test_other_number_formats_are_read_or_refused(text):
    try:
        expected = [float(w) for w in text.split()]
    except ValueError:
        with pytest.raises(ValueError, match=r"could not convert|numbers"):
            decode.reals(text.encode(), len(text.split()))
    else:
        np.testing.assert_array_equal(decode.reals(text.encode(), len(expected)), expected)


@given(st.lists(st.integers(0, 99_999_999), max_size=30))
def test_integers_are_decoded(numbers):
    text = " ".join(map(str, numbers)).encode()
    np.testing.assert_array_equal(decode.integers(text, len(numbers)), numbers)


@pytest.mark.parametrize(("text", "count"), [("1 2", 3), ("1 -2", 2), ("1 2x", 2), ("123456789", 1), ("1 :", 2)])
def test_what_is_no_index_is_refused(text, count):
    with pytest.raises(ValueError, match="integer"):
        decode.integers(text.encode(), count)


@pytest.mark.parametrize("layout", [CsrLayout.STEP, CsrLayout.COMMENTED])
def test_writing_and_reading_is_the_identity(tmp_path, layout):
    rng = np.random.default_rng(0)
    blocks = []
    for R in ((-1, 0, 0), (0, 0, 0), (1, 0, 0)):
        rows, columns = np.nonzero(rng.random((30, 30)) < 0.2)
        values = np.round(rng.normal(size=len(rows)) + 1j * rng.normal(size=len(rows)), 3)
        blocks.append(CsrBlock(R, rows, columns, values))
    crystal = Structure.from_fractional(["Si"], [[0, 0, 0]], 3 * np.eye(3))
    write_csr(tmp_path / "h.csr", blocks, dimension=30, quantity="H", layout=layout, structure=crystal)
    assert CsrFile(tmp_path / "h.csr").layout is layout
    dimension, found = read_csr(tmp_path / "h.csr")
    assert dimension == 30
    assert [f.name for f in tmp_path.iterdir()] == ["h.csr"]
    assert_same(as_scipy(found, 30), as_scipy(blocks, 30))


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="give the structure"):
        write_csr(tmp_path / "h.csr", [], dimension=3, quantity="H", layout=CsrLayout.COMMENTED)
    assert list(Path(tmp_path).iterdir()) == []

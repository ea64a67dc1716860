import os
from pathlib import Path

import numpy as np
import pytest
from abacus_files import plain_read, unpacked

from nextham.dft.abacus.csr import CsrLayout, read_csr
from nextham.dft.abacus.export import FILE_NAMES, export_abacus
from nextham.dft.abacus.reader import read_run
from nextham.dft.abacus.stru import read_stru
from nextham.exceptions import InputError
from nextham.testing import magnetic, synthetic_system, zincblende

ORIGINALS = {
    "hamiltonian": "abacus_scf/OUT.ABACUS/data-HR-sparse_SPIN0.csr",
    "overlap": "abacus_scf/OUT.ABACUS/data-SR-sparse_SPIN0.csr",
    "h0": "abacus_geths/OUT.ABACUS/data-HR-sparse_SPIN0.csr",
}
NAMES = FILE_NAMES[CsrLayout.STEP]


def assert_round_trip(case: Path, folder: Path):
    export_abacus(read_run(case).system, folder)
    for operator, original in ORIGINALS.items():
        dimension, found = plain_read(folder / NAMES[operator])
        expected_dimension, expected = plain_read(case / original)
        assert dimension == expected_dimension
        assert list(found) == list(expected)  # the same R in the same order
        assert max(abs(found[R] - m).max() for R, m in expected.items()) <= 1e-9


@pytest.mark.parametrize("name", ["AlSb-zb-0", "SrSe-rs-1"])  # time-reversal symmetric; with noise that breaks it
def test_what_was_imported_is_exported_number_by_number(tmp_path, name):
    case = unpacked(name, tmp_path)
    assert_round_trip(case, tmp_path / "out")
    # ABACUS may print the two copies of a block, R and -R, with another last digit; here it did not
    assert (tmp_path / "out" / NAMES["overlap"]).read_bytes() == (case / ORIGINALS["overlap"]).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif("NEXTHAM_RUNS" not in os.environ, reason="NEXTHAM_RUNS names no folder of unpacked ABACUS runs")
def test_every_run_at_hand_is_exported_number_by_number(tmp_path):
    for case in sorted(Path(os.environ["NEXTHAM_RUNS"]).glob("case-*/")):
        assert_round_trip(case, tmp_path / case.name)


def test_the_layout_of_3_11_holds_the_same_numbers(alsb, tmp_path):
    for layout in FILE_NAMES:
        export_abacus(alsb, tmp_path / layout, layout=layout)
    for operator in ORIGINALS:
        new = {b.R: b for b in read_csr(tmp_path / "abacus-3.11" / FILE_NAMES[CsrLayout.COMMENTED][operator])[1]}
        old = {b.R: b for b in read_csr(tmp_path / "abacus" / NAMES[operator])[1]}
        assert set(new) == {R for R, b in old.items() if len(b.values)}  # 3.11 lists no R without elements
        for R, block in new.items():
            for part in ("rows", "columns", "values"):
                np.testing.assert_array_equal(getattr(block, part), getattr(old[R], part))


def test_magnetic_blocks_survive(tmp_path, synthetic_magnetic):
    """Export, then read back through the file: every Pauli component, to the printed digits."""
    from nextham.dft.abacus.assemble import read_operator
    from nextham.dft.directed import Atoms
    from nextham.units import RYDBERG_EV

    export_abacus(synthetic_magnetic, tmp_path, operators=["hamiltonian"])
    matrix = synthetic_magnetic.operator("hamiltonian")
    found = read_operator(tmp_path / NAMES["hamiltonian"], Atoms(matrix.basis, matrix.numbers), spinor=True)
    back = found.on(matrix.pairs) * RYDBERG_EV
    np.testing.assert_allclose(back.values, matrix.values, atol=2e-7)
    assert found.pairs == matrix.pairs


def test_stru_is_the_crystal(alsb, tmp_path):
    written = export_abacus(alsb, tmp_path, operators=["overlap"])
    assert [p.name for p in written] == ["STRU", "data-SR-sparse_SPIN0.csr"]
    stru = read_stru(tmp_path / "STRU")
    np.testing.assert_allclose(stru.structure.positions, alsb.positions, atol=1e-11)
    np.testing.assert_allclose(stru.structure.cell, alsb.cells[0], atol=1e-14)
    assert stru.species["Sb"].orb == "Sb_gga_7au_100Ry_2s2p2d1f.orb"
    np.testing.assert_allclose(stru.moments, [[1, 0, 0], [0, 0, 0]], atol=1e-15)  # ABACUS then chooses none of its own


def test_what_is_not_there_cannot_be_exported(alsb, tmp_path):
    with pytest.raises(InputError, match="AlSb-zb-1 carries no h0; it carries"):
        export_abacus(alsb.without("h0"), tmp_path, operators=["h0"])
    with pytest.raises(InputError, match=r"matrices cannot be exported as binary; choose abacus or abacus-3.11"):
        export_abacus(alsb, tmp_path, layout=CsrLayout.BINARY)
    assert list(tmp_path.iterdir()) == []


def test_a_prediction_without_overlap_is_exported(tmp_path):
    system = synthetic_system(zincblende(), magnetic_basis()).without("overlap", "h0")
    export_abacus(magnetic(system), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["STRU", "data-HR-sparse_SPIN0.csr"]


def magnetic_basis():
    from nextham.core import OrbitalBasis

    return OrbitalBasis.parse("Ga:1s1p As:1s1p1d")

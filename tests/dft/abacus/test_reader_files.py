"""Files that are missing, broken or cut: each with its sentence."""

from __future__ import annotations

import re
import shutil

import pytest
from abacus_files import (
    H0,
    H_FILE,
    S_FILE,
    SCF,
    edit,
    refused,
)

from nextham.data.checks import certify
from nextham.dft.abacus.reader import read_run
from nextham.dft.engine import Cause, RunError


def test_a_missing_matrix(case):
    (case / SCF / H_FILE).unlink()
    refused(
        case,
        Cause.MISSING_FILE,
        (
            "there is no H(R) in {case}/abacus_scf/OUT.ABACUS (data-HR-sparse_SPIN0.csr or "
            "hrs1_nao.csr); run with out_mat_hs2 1"
        ),
    )


def test_a_missing_overlap(case):
    (case / SCF / S_FILE).unlink()
    assert "overlap" in read_run(case).system.operators  # that of the H0 run is the same
    (case / H0 / S_FILE).unlink()
    refused(
        case,
        Cause.MISSING_FILE,
        (
            "there is no S(R) in {case}/abacus_scf/OUT.ABACUS (data-SR-sparse_SPIN0.csr or "
            "srs1_nao.csr); run with out_mat_hs2 1"
        ),
    )


def test_two_generations_of_one_matrix(case):
    shutil.copy(case / SCF / H_FILE, case / SCF / "hrs1_nao.csr")
    refused(
        case,
        Cause.INCONSISTENT,
        (
            "{case}/abacus_scf/OUT.ABACUS has both data-HR-sparse_SPIN0.csr and "
            "hrs1_nao.csr; keep the one of this run alone"
        ),
    )


def test_an_empty_h(case):
    (case / SCF / H_FILE).write_text("STEP: 0\nMatrix Dimension of H(R): 40\nMatrix number of H(R): 1\n0 0 0 0\n")
    refused(
        case,
        Cause.EMPTY,
        (
            "{case}/abacus_scf/OUT.ABACUS/data-HR-sparse_SPIN0.csr holds no element: ABACUS "
            "wrote an empty matrix (some builds do so with nspin 2); compute with nspin 4 or "
            "1"
        ),
    )


def test_a_truncated_matrix(case):
    path = case / SCF / H_FILE
    path.write_bytes(path.read_bytes()[: 10**6])
    with pytest.raises(
        RunError,
        match=r"BeS: .*SPIN0.csr, line \d+: the values of the block R = .* numbers where .* are due; run the job again",
    ) as caught:
        read_run(case)
    assert caught.value.cause is Cause.TRUNCATED


def test_a_matrix_cut_within_its_last_number(case):
    path = case / SCF / H_FILE
    path.write_bytes(path.read_bytes().rstrip()[:-1])
    with pytest.raises(
        RunError, match=r"line \d+: the row pointers of the block R = .* do not match its elements; "
    ) as caught:
        read_run(case)
    assert caught.value.cause is Cause.TRUNCATED


def test_a_matrix_of_another_dimension(case):
    path = case / SCF / H_FILE
    edit(path, "Matrix Dimension of H(R): 40", "Matrix Dimension of H(R): 52")
    refused(
        case,
        Cause.INCONSISTENT,
        (
            "{case}/abacus_scf/OUT.ABACUS/data-HR-sparse_SPIN0.csr has dimension 52, but "
            "STRU and orbitals make 2 × 20 (two spins of 20 orbitals); the matrix belongs to "
            "another structure, orbital set or nspin"
        ),
    )


def test_a_number_that_is_none(case):
    text = (case / H0 / H_FILE).read_text()
    (case / H0 / H_FILE).write_text(re.sub(r"\(\d\.\d+e-\d\d,", "(nan,", text, count=1))
    with pytest.raises(
        RunError,
        match=(
            r"^BeS: .*, line \d+: element \(0, \d+\) of the block R = .* is \(nan.*\), not a "
            r"finite number; run the job again"
        ),
    ) as caught:
        read_run(case)
    assert caught.value.cause is Cause.NOT_FINITE


def test_a_matrix_that_is_not_hermitian(case):
    path = case / SCF / H_FILE
    word = re.search(r"\(-?\d\.\d{8}e-03,", path.read_text())[0]
    edit(path, word, word.replace("e-03", "e-02"))
    with pytest.raises(
        RunError,
        match=(
            r"SPIN0.csr is not Hermitian: the block of the pair \w+-\w+, R = .*, and that of "
            r"its conjugate differ by \S+ \(allowed 1e-09\)"
        ),
    ):
        read_run(case)


@pytest.mark.parametrize("line", ["!! convergence has not been achieved @_@", "!!SCF IS NOT CONVERGED!!", ""])
def test_an_unconverged_scf(case, line):
    edit(case / SCF / "running_scf.log", "charge density convergence is achieved", line)
    with pytest.raises(
        RunError,
        match=(
            r"^BeS: the SCF in .*abacus_scf did not converge \(density error \S+ after 9 "
            r"steps\); use a smaller mixing_beta, more smearing or a larger scf_nmax$"
        ),
    ) as caught:
        read_run(case)
    assert caught.value.cause is Cause.UNCONVERGED
    assert "Total  Time" in caught.value.log_tail


@pytest.mark.parametrize("mark", [" kpoint (Cartesian) =", " EFERMI = "])
def test_a_log_that_was_cut(case, mark):
    path = case / SCF / "running_scf.log"
    text = path.read_text()
    path.write_text(text[: text.rindex(mark) + 200])
    refused(
        case,
        Cause.TRUNCATED,
        "{case}/abacus_scf/OUT.ABACUS/running_scf.log ends before the levels and the total time are printed; "
        "copy the whole log, or run the job again",
    )


def test_a_whole_log_without_levels(case):
    edit(case / SCF / "running_scf.log", "STATE ENERGY(eV) AND OCCUPATIONS", "OTHER")
    result = read_run(case)
    assert result.levels is None
    assert certify(result.system, levels=result.levels).skipped == {"bands": "there are no printed levels"}

"""Files that do not belong together: each with its sentence."""

from __future__ import annotations

import re

import numpy as np
import pytest
from abacus_files import (
    H0,
    SCF,
    edit,
    refused,
)

from nextham.data.checks import certify
from nextham.dft.abacus.reader import read_run
from nextham.dft.engine import Cause, RunError
from nextham.exceptions import CheckError


def relabelled(case, change):
    """Rewrite the table of positions in both logs."""
    for path in (case / H0 / "running_get_hs.log", case / SCF / "running_scf.log"):
        path.write_text(change(path.read_text()))


NEW_TABLE = """ DIRECT COORDINATES
 atom                  x                  y                  z     mag
   Be     0.000000000000     0.000000000000     0.000000000000  1.0000
    S     0.250000000000     0.250000000000     0.250000000000  0.0000

"""
CARTESIAN_TABLE = """ CARTESIAN COORDINATES ( UNIT =      1.88972612 Bohr )
 atom                  x                  y                  z     mag
   Be     0.000000000000     0.000000000000     0.000000000000  1.0000
    S     1.217500000000    -3.652500000000     1.217500000000  0.0000

"""


def with_table(table):
    return lambda text: re.sub(r"DIRECT COORDINATES\n *atom.*\n(taud_.*\n)+", lambda _: table, text, count=1)


@pytest.mark.parametrize("table", ["", NEW_TABLE, CARTESIAN_TABLE])
def test_positions_in_logs_of_other_versions(example, case, table):
    relabelled(case, with_table(table))
    assert read_run(case, id="BeS-zb-0").system == example("BeS-zb-0").system


@pytest.mark.parametrize("table", [None, NEW_TABLE, CARTESIAN_TABLE])
def test_a_stru_that_was_changed(case, table):
    if table:
        relabelled(case, with_table(table))
    for folder in ("abacus_geths", "abacus_scf"):
        edit(case / folder / "STRU", "0.25", "1.26")
    refused(
        case,
        Cause.INCONSISTENT,
        "atom 2 (S) of STRU in {case}/abacus_scf is at (0.2600000000, 0.2500000000, 0.2500000000), in its log at "
        "(0.2500000000, 0.2500000000, 0.2500000000) (fractional), 1.0e-02 apart; the STRU was changed after the run",
    )


def test_a_stru_that_was_changed_and_a_log_that_does_not_tell(case):
    relabelled(case, with_table(""))
    for folder in ("abacus_geths", "abacus_scf"):
        edit(case / folder / "STRU", "0.25", "0.30")
    with pytest.raises(CheckError) as caught:
        certify(read_run(case).system)
    assert caught.value.check == "labels"
    assert re.fullmatch(
        r"BeS: pair \(0, 1, .*\) has \|S\| = \S+ at \S+ Å and pair \(0, 1, .*\) has \|S\| = \S+ at \S+ Å, but \|S\| of "
        r"two elements depends on the distance alone and decays with it; the positions are not those of the run that "
        r"wrote S: put its own STRU beside its matrices",
        str(caught.value),
    )


def test_another_lattice_constant(case):
    relabelled(case, with_table(CARTESIAN_TABLE.replace("1.88972612", "1.90000000")))
    refused(
        case,
        Cause.INCONSISTENT,
        "STRU of {case}/abacus_scf has the lattice constant 1.889726125 Bohr, its log 1.9; "
        "the STRU was changed after the run",
    )


def test_a_wrong_cell_label(case):
    """Matrices of positions that were not folded: every R of atom 2 is off by one cell."""
    relabelled(case, with_table(""))
    for folder in ("abacus_geths", "abacus_scf"):
        text = (case / folder / "STRU").read_text()
        (case / folder / "STRU").write_text(text.replace("0.25", "0.75"))
    with pytest.raises(
        RunError,
        match=(
            r"BeS: STRU and S\(R\) disagree: the pair Be1-S2, R = .*, has an overlap of \S+ "
            r"at \S+ Å, though its orbitals end at 7.408 Å; put the STRU of this very run "
            r"beside its matrices, unchanged"
        ),
    ):
        read_run(case)


def test_two_crystals(case):
    edit(case / "abacus_geths/STRU", "LATTICE_CONSTANT\n1.88", "LATTICE_CONSTANT\n1.89")
    refused(
        case,
        Cause.INCONSISTENT,
        (
            "the STRU files of {case}/abacus_geths and {case}/abacus_scf hold different "
            "crystals; H0 and H must be of the same one"
        ),
    )


def test_two_recipes(case):
    edit(case / "abacus_geths/INPUT", "ecutwfc 100", "ecutwfc 80")
    refused(
        case,
        Cause.INCONSISTENT,
        "ecutwfc is 80 in {case}/abacus_geths and 100 in {case}/abacus_scf; use the same for both",
    )


def test_labels_of_one_element_may_differ_between_the_runs(example, case):
    text = (case / "abacus_scf/STRU").read_text()
    (case / "abacus_scf/STRU").write_text(re.sub(r"^Be\b(?!_)", "Be1", text, flags=re.MULTILINE))
    read, plain = read_run(case).system, example("BeS-zb-0").system
    assert all(np.array_equal(read.operators[name], plain.operators[name]) for name in plain.operators)
    edit(case / "abacus_scf/STRU", "Be.upf", "Be_other.upf")
    refused(
        case,
        Cause.INCONSISTENT,
        "{case}/abacus_geths and {case}/abacus_scf use different pseudopotentials or orbitals for atom 1 (Be, Be1); "
        "use the same for both",
    )


def test_an_scf_is_not_h0(case):
    edit(case / "abacus_geths/INPUT", "get_hs", "scf")
    refused(
        case,
        Cause.BAD_INPUT,
        (
            "{case}/abacus_geths does not write H0 (calculation scf, scf_nmax 100, nspin 4); "
            "use calculation get_hs, or scf with scf_nmax 1 and nspin 1 or 4"
        ),
    )


def test_an_unknown_element(case):
    edit(case / "abacus_scf/STRU", "Be", "Bx", 9)
    refused(
        case,
        Cause.BAD_INPUT,
        (
            "{case}/abacus_scf/STRU: atom label 'Bx' names no element; a label is an element "
            "symbol, or one with a number: Fe1"
        ),
    )


def test_orbitals_that_nobody_tells(case):
    (case / SCF / "Orbital").unlink()
    for folder, log in ((H0, "running_get_hs.log"), (SCF, "running_scf.log")):
        edit(case / folder / log, "READING ATOM TYPE", "READING", 9)
    refused(
        case,
        Cause.MISSING_FILE,
        (
            "{case}/abacus_scf does not tell the orbitals of Be; put its .orb file where "
            "INPUT says (orbital_dir), or run with out_mul 1 so that ABACUS writes its "
            "Orbital file"
        ),
    )


def test_orbitals_that_disagree(case):
    edit(case / SCF / "Orbital", "    0      Be    0    0    4              s\n", "")
    with pytest.raises(
        RunError,
        match=r"disagree: Be has two orbital bases, [34]s1p and [34]s1p; use one",
    ):
        read_run(case)


def test_two_bases_of_one_element(case):
    """Two labels of one element: with one file each, and with shells that differ."""
    for folder in ("abacus_geths", "abacus_scf"):
        path = case / folder / "STRU"
        text = path.read_text().replace("S 1.0 S.upf", "Be2 1.0 Be.upf")
        path.write_text(re.sub(r"^S$", "Be2", text, flags=re.MULTILINE))
    refused(
        case,
        Cause.INCONSISTENT,
        "{case}/abacus_scf/STRU gives Be two orbital files, Be_gga_7au_100Ry_4s1p.orb (Be) and "
        "S_gga_7au_100Ry_2s2p1d.orb (Be2); use one for every atom of an element",
    )
    for folder, log in ((H0, "running_get_hs.log"), (SCF, "running_scf.log")):
        edit(case / folder.split("/")[0] / "STRU", "S_gga_7au_100Ry_2s2p1d.orb", "Be_gga_7au_100Ry_4s1p.orb")
        edit(case / folder / log, "atom label = S\n", "atom label = Be2\n")
    (case / SCF / "Orbital").unlink()
    with pytest.raises(RunError, match=r"disagree: Be has two orbital bases, .*; use one"):
        read_run(case)

import re
import shutil
import tarfile

import numpy as np
import pytest
from abacus_files import EXAMPLES, plain_read, unpacked, write_311, write_binary

from nextham.core import SpinLayout
from nextham.data.checks import certify
from nextham.data.store import Store, StoreWriter
from nextham.dft.abacus.reader import read_run
from nextham.dft.engine import Cause, RunError
from nextham.exceptions import CheckError, InputError
from nextham.physics.bands import eigenproblem
from nextham.units import BOHR_ANG, RYDBERG_EV

H0, SCF = "abacus_geths/OUT.ABACUS/", "abacus_scf/OUT.ABACUS/"
H_FILE, S_FILE = "data-HR-sparse_SPIN0.csr", "data-SR-sparse_SPIN0.csr"


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    return unpacked("BeS-zb-0", tmp_path_factory.mktemp("reader"))


@pytest.fixture
def case(original, tmp_path):
    return shutil.copytree(original, tmp_path / "case-BeS")


def edit(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def refused(case, cause, sentence, **arguments):
    with pytest.raises(RunError) as caught:
        read_run(case, **arguments)
    assert str(caught.value) == "BeS: " + sentence.format(case=case)
    assert caught.value.cause is cause


def test_what_a_run_tells(alsb, example):
    meta = alsb.meta[0]
    assert (meta.id, meta.engine, meta.engine_version) == ("AlSb-zb-1", "abacus", "3.9.0")
    assert (meta.h0_definition, meta.magnetism) == ("atomic-density-step0", "nonmagnetic")
    assert (meta.kmesh, meta.ecutwfc_ry, meta.smearing, meta.n_electrons) == ((5, 5, 5), 100.0, "gauss", 18.0)
    assert (meta.converged, meta.scf_steps) == (True, 14)
    assert meta.smearing_ev == pytest.approx(0.015 * RYDBERG_EV)
    assert meta.orbital_cutoff_ang == pytest.approx({"Al": 7 * BOHR_ANG, "Sb": 7 * BOHR_ANG})
    assert meta.orbitals["Sb"] == "Sb_gga_7au_100Ry_2s2p2d1f.orb"
    assert str(alsb.basis) == "Al:2s2p1d Sb:2s2p2d1f"
    assert alsb.operator("overlap").layout is SpinLayout.SCALAR
    assert alsb.operator("h0").layout is SpinLayout.TIME_REVERSAL
    assert alsb.operator("hamiltonian").layout is SpinLayout.FULL  # this SCF left 3e-8 Ry of magnetism


@pytest.mark.parametrize("name", ["AlSb-zb-1", "BaF2-fl-1", "MgO-rs-0"])
def test_bands_are_those_that_abacus_printed(example, name):
    result = example(name)
    some = slice(0, 60, 12)
    found = eigenproblem(result.system, result.levels.k[some]).energies
    printed = result.levels.energies[some]
    assert np.abs(found[:, : printed.shape[1]] - printed).max() < 6e-5  # six digits, up to 99 eV


def test_blocks_hold_the_numbers_of_the_file(example, original):
    """<S 3s ↑ in the home cell| H |Be 2p_x ↓ in cell R>, looked up by hand."""
    system = example("BeS-zb-0").system
    _, raw = plain_read(original / SCF / H_FILE)
    matrix = system.operator("hamiltonian")
    p = next(
        p for p in range(system.pairs.n_pairs) if system.pairs.ij[p].tolist() == [0, 1] and system.pairs.R[p].any()
    )
    R = tuple(system.pairs.R[p].tolist())
    be_p = {"y": 6, "z": 4, "x": 5}  # rows of Be 4s1p: m = 0, +1, -1 are z, -x, -y
    sign = {"y": -1, "z": 1, "x": -1}
    for place, axis in enumerate("yzx"):
        up_up = raw[R][2 * be_p[axis], 2 * 7] * sign[axis]  # with the first s of S, orbital 7
        up_down = raw[R][2 * be_p[axis], 2 * 7 + 1] * sign[axis]
        h0, hx, hy, hz = matrix.with_layout(SpinLayout.FULL).block(p)[:, 4 + place, 0] / RYDBERG_EV
        assert h0 + hz == pytest.approx(up_up, abs=1e-12)
        assert hx - 1j * hy == pytest.approx(up_down, abs=1e-12)


def test_archives_and_folders_read_alike(example, case):
    assert read_run(case, id="BeS-zb-0").system == example("BeS-zb-0").system
    assert read_run(case).system.ids == ("BeS",)
    assert read_run(EXAMPLES / "case-Si-dia-0.tar.xz").system.ids == ("Si-dia-0",)


@pytest.mark.parametrize("layout", ["3.11", "binary"])
def test_runs_of_other_versions_read_alike(example, case, layout):
    for folder in (H0, SCF):
        for old, new in ((H_FILE, "hrs1_nao.csr"), (S_FILE, "srs1_nao.csr")):
            dimension, blocks = plain_read(case / folder / old)
            (case / folder / old).unlink()
            if layout == "binary":
                write_binary(case / folder / new, dimension, blocks)
            else:
                write_311(case / folder / new, dimension, {R: m for R, m in blocks.items() if m.nnz})
    edit(case / SCF / "running_scf.log", "charge density convergence is achieved", "#SCF IS CONVERGED#")
    assert read_run(case, id="BeS-zb-0").system == example("BeS-zb-0").system


def test_only_h0_or_only_the_scf(case):
    h0 = read_run(id="BeS", h0_dir=case / "abacus_geths").system
    assert set(h0.operators) == {"overlap", "h0"}
    assert (h0.meta[0].converged, h0.meta[0].total_energy_ev) == (None, None)
    assert str(h0.basis) == "Be:4s1p S:2s2p1d"  # from the log: this folder has no Orbital file
    scf = read_run(id="BeS", scf_dir=case / "abacus_scf").system
    assert set(scf.operators) == {"overlap", "hamiltonian"}
    assert scf.meta[0].h0_definition == ""
    shutil.rmtree(case / "abacus_geths")
    assert set(read_run(case).system.operators) == {"overlap", "hamiltonian"}


def test_pairs_without_overlap_are_kept(example):
    system = example("BeS-zb-0").system
    honly = system.operator("hamiltonian").support & ~system.operator("overlap").support
    assert honly.sum() == 24


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


def test_ids_of_run_folders(case):
    assert read_run(scf_dir=case / "abacus_scf").system.ids == ("BeS",)
    assert read_run(h0_dir=case / "abacus_geths").system.ids == ("BeS",)
    with pytest.raises(
        InputError, match=r"'Be S' cannot name a structure: .*; rename the folder or file, or give an --id"
    ):
        read_run(case, id="Be S")


def test_orb_files_give_the_shells_and_the_radius(case):
    folder = case / "abacus_geths"
    edit(folder / "INPUT", "orbital_dir ../../pporb/orbital", "orbital_dir .")
    edit(folder / "OUT.ABACUS/running_get_hs.log", "READING ATOM TYPE", "READING", 9)
    for name, rc, shells in (("Be_gga_7au_100Ry_4s1p.orb", 8, "SP"), ("S_gga_7au_100Ry_2s2p1d.orb", 9, "SPD")):
        counts = {"S": 4 if "Be" in name else 2, "P": 1 if "Be" in name else 2, "D": 1}
        lines = [f"Radius Cutoff(a.u.)         {rc}", *(f"Number of {l}orbital-->       {counts[l]}" for l in shells)]
        (folder / name).write_text("\n".join(lines))
    result = read_run(id="BeS", h0_dir=folder)
    assert str(result.system.basis) == "Be:4s1p S:2s2p1d"
    assert result.system.meta[0].orbital_cutoff_ang == pytest.approx({"Be": 8 * BOHR_ANG, "S": 9 * BOHR_ANG})
    assert result.system.meta[0].orbitals["Be"].startswith("Be_gga_7au_100Ry_4s1p.orb@sha256:")


def polarise(path, by=0.01):
    """Write a matrix anew with this h_z (Ry) on the diagonal of the first orbital."""
    dimension, blocks = plain_read(path)
    home = blocks[0, 0, 0].tolil()
    home[0, 0] += by
    home[1, 1] -= by
    blocks[0, 0, 0] = home.tocsr()
    path.unlink()
    write_311(path.with_name("hrs1_nao.csr"), dimension, {R: m for R, m in blocks.items() if m.nnz}, precision=12)


def magnetism(case):
    meta = read_run(case).system.meta[0]
    return meta.magnetism, meta.h0_magnetism


def test_what_the_store_leaves_out_stands_in_its_manifest(case, tmp_path):
    polarise(case / H0 / H_FILE, by=2e-10)
    system = read_run(case).system
    assert system.operator("h0").layout is SpinLayout.FULL
    with StoreWriter(tmp_path / "store") as writer:
        writer.add(system)
    store = Store(tmp_path / "store")
    assert store["BeS"].operator("h0").layout is SpinLayout.TIME_REVERSAL
    assert store.manifest["dropped_ev"][0] == pytest.approx(2e-10 * RYDBERG_EV, rel=0.05)


def test_an_scf_that_loses_its_moments_is_nonmagnetic(case):
    edit(case / "abacus_scf/STRU", "mag 1.0 0.0 0.0", "mag 1.0 0.0 1.5")
    assert magnetism(case) == ("nonmagnetic", "")


def test_an_scf_that_becomes_magnetic(case):
    polarise(case / SCF / H_FILE)
    with pytest.raises(CheckError, match=r"BeS: the hamiltonian breaks time reversal by .* its run is nonmagnetic"):
        certify(read_run(case).system)  # moments in the plane cannot enter with noncolin 0
    edit(case / "abacus_scf/STRU", "mag 1.0 0.0 0.0", "mag 0.0")
    system = read_run(case).system
    assert magnetism(case) == ("autoset", "nonmagnetic")
    assert system.operator("hamiltonian").layout is SpinLayout.FULL
    assert certify(system).skipped["time-reversal"] == "the magnetism of the hamiltonian is 'autoset'"
    edit(case / "abacus_scf/STRU", "mag 0.0", "mag 1.5")
    assert magnetism(case) == ("moments", "nonmagnetic")


def test_a_magnetic_h0(case):
    polarise(case / H0 / H_FILE)
    with pytest.raises(CheckError, match=r"BeS: the h0 breaks time reversal by 1.36e-01 eV .* its run is nonmagnetic"):
        certify(read_run(case).system)
    edit(case / "abacus_geths/STRU", "mag 1.0 0.0 0.0", "mag 0.0 0.0 0.0")
    assert magnetism(case) == ("nonmagnetic", "autoset")  # though the log does not say so
    certify(read_run(case).system)
    edit(case / "abacus_geths/STRU", "mag 0.0 0.0 0.0", "mag 1.0 0.0 0.0")
    edit(case / "abacus_geths/INPUT", "lspinorb 1", "lspinorb .true.\nnoncolin Yes")
    edit(case / "abacus_scf/INPUT", "lspinorb 1", "lspinorb 1\nnoncolin 1")
    assert magnetism(case) == ("nonmagnetic", "moments")


def test_what_is_no_case(case, tmp_path):
    with pytest.raises(InputError, match="nowhere is neither a run folder nor a tar archive of one"):
        read_run("nowhere")
    with pytest.raises(InputError, match="give a case folder, or the folders of H0 and SCF, not both"):
        read_run(case, h0_dir=case)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        RunError,
        match="empty has neither abacus_geths/ nor abacus_scf/; name other folders with --h0-dir and --scf-dir",
    ):
        read_run(tmp_path / "empty")
    (tmp_path / "case-x.tar.xz").write_bytes((EXAMPLES / "case-BeS-zb-0.tar.xz").read_bytes()[:10000])
    with pytest.raises(RunError, match=r"case-x.tar.xz cannot be unpacked: .*; make the archive again"):
        read_run(tmp_path / "case-x.tar.xz")


def test_an_archive_cannot_write_elsewhere(tmp_path):
    (tmp_path / "evil").write_text("x")
    with tarfile.open(tmp_path / "case-e.tar", "w") as archive:
        archive.add(tmp_path / "evil", arcname="../outside")
    with pytest.raises(RunError, match=r"case-e.tar cannot be unpacked: .*outside"):
        read_run(tmp_path / "case-e.tar")
    assert not (tmp_path.parent / "outside").exists()

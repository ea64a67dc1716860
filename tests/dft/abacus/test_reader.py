"""Runs become systems: what a good case tells, and what magnetism makes of it."""

from __future__ import annotations

import shutil
import tarfile

import numpy as np
import pytest
from abacus_files import (
    EXAMPLES,
    H0,
    H_FILE,
    S_FILE,
    SCF,
    edit,
    plain_read,
    polarise,
    write_311,
    write_binary,
)

from nextham.core import SpinLayout
from nextham.data.checks import certify
from nextham.data.store import Store, StoreWriter
from nextham.dft.abacus.reader import read_run
from nextham.dft.engine import RunError
from nextham.exceptions import CheckError, InputError
from nextham.physics.bands import eigenproblem
from nextham.units import BOHR_ANG, RYDBERG_EV


def test_what_a_run_tells(alsb, example):
    meta = alsb.meta[0]
    assert (meta.id, meta.engine, meta.engine_version) == ("AlSb-zb-1", "abacus", "3.9.0")
    assert (meta.h0_definition, meta.magnetism) == ("atomic-density-step0", "nonmagnetic")
    assert (meta.kmesh, meta.ecutwfc_ry, meta.smearing, meta.n_electrons) == ((5, 5, 5), 100.0, "gauss", 18.0)
    assert (meta.converged, meta.scf_steps) == (True, 14)
    assert (meta.h0_wall_s, meta.scf_wall_s) == (21.0, 121.0)
    assert meta.wall_time_s == 142.0
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
    assert (h0.meta[0].scf_wall_s, scf.meta[0].h0_wall_s) == (None, None)
    shutil.rmtree(case / "abacus_geths")
    assert set(read_run(case).system.operators) == {"overlap", "hamiltonian"}


def test_pairs_without_overlap_are_kept(example):
    system = example("BeS-zb-0").system
    honly = system.operator("hamiltonian").support & ~system.operator("overlap").support
    assert honly.sum() == 24


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

"""A run that ABACUS 3.8.1 made of the driver's inputs: H₂ in a small triclinic cell, H0 by scf_nmax 1."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from abacus_files import H0, H_FILE, edit, polarise

from nextham.core import SpinLayout
from nextham.data.checks import certify
from nextham.dft.abacus.reader import read_run
from nextham.dft.lcao.engine import LCAOEngine
from nextham.dft.lcao.settings import LCAOSettings
from nextham.physics.spin import narrowed
from nextham.units import RYDBERG_EV

LARGEST = {"overlap": 1e-8, "h0": 5e-8 * RYDBERG_EV, "hamiltonian": 5e-6 * RYDBERG_EV}


def wide(values):
    return narrowed(values, SpinLayout.TIME_REVERSAL)[0]


@pytest.fixture
def h2(tmp_path):
    with tarfile.open(Path(__file__).with_name("case-H2-tric.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "case-H2-tric"


def test_what_3_8_tells(h2):
    result = read_run(h2)
    meta = result.system.meta[0]
    assert (meta.id, meta.engine_version, meta.kmesh, meta.n_electrons) == ("H2-tric", "3.8.1", (2, 2, 1), 2.0)
    assert (meta.converged, meta.scf_steps, meta.scf_drho) == (True, 11, 1.69890695564e-07)
    assert meta.fermi_energy_ev == pytest.approx(0.5768, abs=1e-4)
    assert meta.total_energy_ev == pytest.approx(-30.857475, abs=1e-5)
    assert meta.orbitals["H"].startswith("H.orb@sha256:")
    assert result.levels.energies.shape == (4, 20)
    assert not certify(result.system, levels=result.levels).skipped


def test_its_h0_is_nonmagnetic(h2):
    system = read_run(h2).system
    assert (system.meta[0].magnetism, system.meta[0].h0_magnetism) == ("nonmagnetic", "")
    assert system.operator("h0").layout is SpinLayout.SCALAR  # hydrogen has no spin-orbit coupling


def test_a_vector_was_a_moment_along_z(h2):
    """3.8 takes the length of ``mag 1 0 0`` for the z part: an H0 of such a run is magnetic, not damaged."""
    polarise(h2 / H0 / H_FILE)
    edit(h2 / "abacus_geths/STRU", "mag 1 angle1 90", "mag 1 0 0")
    meta = read_run(h2).system.meta[0]
    assert (meta.magnetism, meta.h0_magnetism) == ("nonmagnetic", "moments")
    log = h2 / H0 / "running_scf.log"
    log.write_text(re.sub(r"ABACUS v[\d.]+", "ABACUS v3.9.0", log.read_text()))
    assert read_run(h2).system.meta[0].h0_magnetism == ""


def test_the_embedded_engine_makes_the_same_of_it(h2, tmp_path):
    recorded = read_run(h2).system
    folder = str(h2 / "abacus_scf")
    settings = LCAOSettings(pseudo_dir=folder, orbital_dir=folder, kmesh=(2, 2, 1))
    made = LCAOEngine(settings).scf(recorded.structure(), id="H2", folder=tmp_path / "run").system
    pairs = recorded.pairs.union(made.pairs)
    assert pairs == made.pairs  # ABACUS leaves numbers below 1e-10 out of its text
    for name, largest in LARGEST.items():
        one, two = (wide(s.operator(name).on(pairs).values) for s in (recorded, made))
        assert np.abs(one - two).max() < largest, name

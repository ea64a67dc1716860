"""The folder for pyatb: its Input here, and the bands of pyatb itself where it is installed."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nextham.exceptions import InputError
from nextham.exchange.pyatb import RYDBERG_EV as PYATB_RYDBERG_EV
from nextham.exchange.pyatb import export_pyatb
from nextham.physics.bands import eigenproblem
from nextham.units import RYDBERG_EV


def blocks_of(text):
    return {m[1]: m[2].split() for m in re.finditer(r"(\w+)\s*\{(.*?)\}", text, flags=re.DOTALL)}


def test_input_names_the_files_the_lattice_and_a_path(alsb, tmp_path):
    files = export_pyatb(alsb, tmp_path)
    assert {f.name for f in files} >= {"Input", "STRU", "data-HR-sparse_SPIN0.csr", "data-SR-sparse_SPIN0.csr"}
    blocks = blocks_of((tmp_path / "Input").read_text())
    values = blocks["INPUT_PARAMETERS"]
    assert values[values.index("HR_route") + 1] == "data-HR-sparse_SPIN0.csr"
    assert float(values[values.index("fermi_energy") + 1]) == pytest.approx(alsb.meta[0].fermi_energy_ev)
    lattice = blocks["LATTICE"]
    np.testing.assert_allclose(np.array(lattice[5:], dtype=float).reshape(3, 3), alsb.cells[0], atol=1e-11)
    path = blocks["BAND_STRUCTURE"]
    n = int(path[path.index("kpoint_num") + 1])
    points = np.array(path[path.index("high_symmetry_kpoint") + 1 :], dtype=float).reshape(n, 4)
    assert points[0, :3].tolist() == [0, 0, 0]
    assert points[-1, 3] == 1
    assert path[path.index("kpoint_label") + 1] == "G,"


def test_without_a_fermi_level_pyatb_is_to_find_it(alsb, tmp_path):
    export_pyatb(alsb.with_meta(fermi_energy_ev=None), tmp_path)
    blocks = blocks_of((tmp_path / "Input").read_text())
    assert blocks["FERMI_ENERGY"] == ["electron_num", f"{round(alsb.meta[0].n_electrons)}"]
    export_pyatb(alsb.with_meta(fermi_energy_ev=None, n_electrons=None), tmp_path)
    assert "fermi_energy 0.00000000  # unknown" in (tmp_path / "Input").read_text()


def test_h0_stands_in_where_there_is_no_h(alsb, tmp_path):
    export_pyatb(alsb.without("hamiltonian"), tmp_path)
    assert "HR_route data-H0R-sparse_SPIN0.csr" in (tmp_path / "Input").read_text()
    with pytest.raises(InputError, match="pyatb needs S and an H, not overlap alone"):
        export_pyatb(alsb.without("hamiltonian", "h0"), tmp_path)


@pytest.mark.slow  # it reads text in Python
@pytest.mark.skipif(importlib.util.find_spec("pyatb") is None, reason="pyatb is not installed")
def test_bands_of_pyatb_itself(alsb, tmp_path):
    export_pyatb(alsb, tmp_path)
    program = shutil.which("pyatb", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert program
    done = subprocess.run([program], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    k, levels = (np.loadtxt(tmp_path / "Out" / "Band_Structure" / name) for name in ("kpt.dat", "band.dat"))
    ours = eigenproblem(alsb, k).energies * (PYATB_RYDBERG_EV / RYDBERG_EV)
    np.testing.assert_allclose(levels, ours, atol=2e-8)

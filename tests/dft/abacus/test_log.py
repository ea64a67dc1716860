import numpy as np
import pytest
from abacus_files import unpacked

from nextham.dft.abacus.log import parse_levels, parse_log, read_log
from nextham.dft.engine import Cause, RunError
from nextham.units import ABACUS_RYDBERG_EV, RYDBERG_EV

TO_CODATA = RYDBERG_EV / ABACUS_RYDBERG_EV

NEW_LOG = """                              ABACUS v3.11.0
 READING ATOM TYPE 1
                               Atom label = Si
                      L=0, number of zeta = 2
                      L=1, number of zeta = 2
                      L=2, number of zeta = 1
                  Number of atoms for this type = 2

 DIRECT COORDINATES
 atom                  x                  y                  z     mag
   Si     0.000000000000     0.000000000000     0.000000000000  0.0000
   Si     0.250000000000     0.250000000000     0.250000000000  0.0000

 #ELEC ITER# 1
 Electron density deviation 0.0312
----------------------------------------------------------
 E_KohnSham     -16.9  -229.9
 E_Fermi        0.5  6.8028
 E_bandgap      0.1  1.36
 #ELEC ITER# 2
 Electron density deviation 2.5e-08
 E_KohnSham     -17.0  -231.0
 E_Fermi        0.49  6.6667920200
 #SCF IS CONVERGED#
 #TOTAL ENERGY# -231.0 eV
 !FINAL_ETOT_IS -231.0 eV
"""

EIG_OCC = """1     # ionic step
 Electronic state energy (eV) and occupations
 Spin number 4
 spin=1 k-point=1/2 Cartesian=0.0000000 0.0000000 0.0000000 (299 plane wave)
 1 -5.123456789012345 1.000000000000000
 2 2.040854700000000 0.000000000000000

 spin=1 k-point=2/2 Cartesian=0.2500000 0.2500000 -0.2500000 (301 plane wave)
 1 -4.000000000000000 1.000000000000000
 2 3.000000000000000 0.000000000000000

"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return unpacked("BeS-zb-0", tmp_path_factory.mktemp("log"))


def test_a_log_of_3_9(run):
    log = read_log(run / "abacus_scf/OUT.ABACUS/running_scf.log")
    assert (log.version, log.converged, log.autoset_moments) == ("v3.9.0", True, False)
    assert log.n_electrons == 10
    assert log.kmesh == (6, 6, 6)
    assert log.wall_time_s == 116
    assert len(log.drho) == len(log.step_energies_ev) == 9
    assert log.drho[-1] < 1e-6
    assert log.zetas == {"Be": {0: 4, 1: 1}, "S": {0: 2, 1: 2, 2: 1}}
    np.testing.assert_array_equal(log.echo.positions, [[0, 0, 0], [0.25] * 3])
    assert log.echo.unit_bohr is None
    assert log.levels is not None
    assert log.levels.energies.shape == (216, 30)
    np.testing.assert_allclose(log.levels.k[1], [1 / 6, 0, 0], atol=1e-8)
    assert (np.diff(log.levels.energies, axis=1) >= 0).all()
    assert log.total_energy_ev == pytest.approx(log.step_energies_ev[-1], abs=1e-9)


def test_a_log_of_get_hs(run):
    log = read_log(run / "abacus_geths/OUT.ABACUS/running_get_hs.log")
    assert (log.converged, log.fermi_energy_ev, log.levels, log.drho) == (None, None, None, ())


def test_a_log_of_3_11():
    log = parse_log(NEW_LOG)
    assert (log.version, log.converged) == ("v3.11.0", True)
    assert log.fermi_energy_ev == pytest.approx(0.49 * RYDBERG_EV)
    assert log.total_energy_ev == pytest.approx(-231.0 * TO_CODATA)
    assert log.drho == (0.0312, 2.5e-08)
    assert log.kmesh is None
    assert log.zetas == {"Si": {0: 2, 1: 2, 2: 1}}
    np.testing.assert_array_equal(log.echo.positions, [[0, 0, 0], [0.25] * 3])


@pytest.mark.parametrize(
    "table",
    [
        """
 CARTESIAN COORDINATES ( UNIT =      10.20000000 Bohr )
 atom                  x                  y                  z     mag
   Si     0.000000000000     0.000000000000     0.000000000000  0.0000
   Si     0.250000000000     0.250000000000    -0.250000000000  0.0000
""",
        """
 CARTESIAN COORDINATES ( UNIT = 10.2 Bohr ).
         atom                   x                   y                   z                 mag
     tauc_Si1                   0                   0                   0                   0
     tauc_Si2                0.25                0.25               -0.25                   0
""",
    ],
)
def test_cartesian_positions(table):
    echo = parse_log(table + "\n K-POINTS\n").echo
    np.testing.assert_array_equal(echo.positions, [[0, 0, 0], [0.25, 0.25, -0.25]])
    assert echo.unit_bohr == 10.2
    np.testing.assert_allclose(echo.fractional(5.1 * np.eye(3), 10.2)[1], [0.5, 0.5, -0.5])


def test_a_log_without_positions():
    assert parse_log("K-POINTS DIRECT COORDINATES\n KPOINTS    DIRECT_X\n 1 0.0 0.0 0.0 1\n").echo is None


@pytest.mark.parametrize("line", [" !! convergence has not been achieved @_@", " !!SCF IS NOT CONVERGED!!"])
def test_an_unconverged_log(line):
    assert parse_log(NEW_LOG.replace(" #SCF IS CONVERGED#", line)).converged is False
    assert parse_log(NEW_LOG + line).converged is False


def test_levels_of_3_11():
    lattice = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    levels = parse_levels(
        "1 # ionic step\n Electronic state energy (eV)\n spin=1 k-point=1/1 Cartesian=1 1 1 (1)\n 1 9 1\n" + EIG_OCC,
        lattice,
    )
    np.testing.assert_allclose(levels.k, [[0, 0, 0], [0, 0, 0.5]])
    np.testing.assert_allclose(levels.energies[0], np.array([-5.123456789012345, 2.0408547]) * TO_CODATA, rtol=1e-15)
    assert parse_levels("", lattice) is None


def test_a_missing_log_is_named(tmp_path):
    with pytest.raises(RunError, match=r"there is no .*running_scf.log; run the job again and keep its log") as caught:
        read_log(tmp_path / "running_scf.log")
    assert caught.value.cause is Cause.MISSING_FILE

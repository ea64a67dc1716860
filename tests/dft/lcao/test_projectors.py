import numpy as np
import pytest
from made_up_species import upf_text

from nextham.dft.lcao.projectors import angular_momentum, spinor_coupling
from nextham.dft.species.upf import read_upf
from nextham.physics.harmonics import rotation_matrix

PAULI = np.array([np.eye(2), [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


@pytest.mark.parametrize("l", [1, 2, 3])
def test_angular_momentum_commutes_as_it_should(l):
    x, y, z = 1j * angular_momentum(l)
    assert np.allclose(x @ y - y @ x, 1j * z)
    assert np.allclose(x @ x + y @ y + z @ z, l * (l + 1) * np.eye(2 * l + 1))


@pytest.mark.parametrize("l", [1, 2, 3])
def test_angular_momentum_turns_harmonics_as_the_house_does(l):
    angle = 1e-6
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    generator = (rotation_matrix(l, turn) - np.eye(2 * l + 1)) / angle
    assert np.abs(generator - angular_momentum(l)[2]).max() < 1e-5


def test_coupling_has_the_levels_of_each_total_momentum(tmp_path):
    path = tmp_path / "Si.upf"
    path.write_text(upf_text(lmax=2))
    parts = spinor_coupling(read_upf(path))
    full = sum(np.kron((1 if s == 0 else 1j) * part, PAULI[s]) for s, part in enumerate(parts))
    assert np.allclose(full, full.conj().T)
    due = np.repeat([1.0, 1.3, 1.6, 1.9, 2.2], [2, 2, 4, 4, 6])  # 2j + 1 states of each projector
    found = np.linalg.eigvalsh(full)
    assert np.allclose(found[found > 1e-9], due)

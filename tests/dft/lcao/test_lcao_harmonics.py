import numpy as np
import pytest
import torch

from nextham.dft.lcao.harmonics import gaunt, solid_harmonics
from nextham.physics.harmonics import real_harmonics

POINTS = np.random.default_rng(1).normal(size=(40, 3))


@pytest.mark.parametrize("l", range(7))
def test_solid_harmonics_are_the_house_harmonics_times_r_to_the_l(l):
    r = np.linalg.norm(POINTS, axis=1)
    found = solid_harmonics(l, torch.from_numpy(POINTS.T.copy()))[l * l :].numpy().T
    assert np.abs(found - r[:, None] ** l * real_harmonics(l, POINTS)).max() < 1e-11 * r.max() ** l


def test_solid_harmonics_at_the_origin():
    y = solid_harmonics(3, torch.zeros(3, 1, dtype=torch.float64))
    assert y[0, 0] == pytest.approx(1 / np.sqrt(4 * np.pi))
    assert (y[1:] == 0).all()


@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (1, 1), (1, 2), (2, 2), (3, 3), (3, 2)])
def test_products_of_harmonics_are_sums_with_gaunt_integrals(l1, l2):
    product = np.einsum("pa,pb->pab", real_harmonics(l1, POINTS), real_harmonics(l2, POINTS))
    for l in range(abs(l1 - l2), l1 + l2 + 1):
        product = product - np.einsum("abm,pm->pab", gaunt(l1, l2, l), real_harmonics(l, POINTS))
    assert np.abs(product).max() < 1e-12


def test_gaunt_selection():
    assert not gaunt(1, 1, 1).any()
    assert not gaunt(1, 2, 4).any()

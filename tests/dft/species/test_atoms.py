"""All-electron and pseudo-atoms against closed forms, theorems and each other."""

import numpy as np
import pytest

from nextham.dft.species.generate import dirac, gth, pseudo_atom
from nextham.dft.species.generate.configuration import configuration, first_valence_n, ionised, split_valence
from nextham.dft.species.generate.functional import pbe
from nextham.dft.species.generate.radial import BesselBasis, Mesh
from nextham.exceptions import InputError


def sommerfeld(number, n, j):
    """Energy of a Dirac electron in a Coulomb field, without its rest energy, Hartree."""
    c = dirac.SPEED_OF_LIGHT
    a = number / c
    root = np.sqrt((j + 0.5) ** 2 - a**2)
    return c**2 * (1.0 / np.sqrt(1.0 + (a / (n - (j + 0.5) + root)) ** 2) - 1.0)


@pytest.mark.parametrize("number", [4, 14, 82])
def test_hydrogenic_levels_are_sommerfelds_and_obey_the_virial_theorem(number):
    atom = dirac.hydrogenic(number, [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2)])
    for (n, _, j), energy in atom.energies.items():
        assert energy == pytest.approx(sommerfeld(number, n, j), rel=1e-8, abs=2e-7)
    for virial in atom.virial.values():
        assert abs(virial) < 1e-8 * number**2


def test_helium_has_the_known_nonrelativistic_pbe_energy():
    # Relativity enters as 1/c²: two large c extrapolate it away. The limit is the literature's basis-set limit.
    near, far = (dirac.solve(2, configuration(2), c=c).total_energy for c in (500.0, 1000.0))
    assert (4 * far - near) / 3 == pytest.approx(-2.892935, abs=3e-6)


def test_splines_and_bessel_functions_solve_the_same_potential_alike():
    potential = gth.potential("H")
    splines, bases = dirac._bases(1, 1, 2e3)
    v = potential.local(splines.r)
    mesh = Mesh(26.0)
    for l, kappa in ((0, -1), (1, -2)):
        basis = next(b for b in bases if b.kappa == kappa)
        geometric = basis.states(splines, v, None, 1)[0][0]
        bessel = BesselBasis(mesh, l, pseudo_atom.q_max(potential))
        uniform = np.linalg.eigvalsh(np.diag(bessel.kinetic) + bessel.potential(potential.local(mesh.r)))[0]
        assert uniform == pytest.approx(geometric, abs=1e-6)


def test_pseudo_atom_holds_its_electrons_and_obeys_janaks_theorem():
    potential, step = gth.potential("Si"), 0.01
    atom = pseudo_atom.solve(potential, {0: 2.0, 1: 2.0})
    assert atom.mesh.volume @ atom.density == pytest.approx(4.0, abs=1e-7)
    energies = [pseudo_atom.solve(potential, {0: 2.0, 1: 2.0 + d}).total_energy for d in (-step, step)]
    assert (energies[1] - energies[0]) / (2 * step) == pytest.approx(atom.energies[1, None][0], abs=2e-5)


def test_pseudo_levels_are_all_electron_levels():
    valence = pseudo_atom.solve(gth.potential("As"), {0: 2.0, 1: 3.0})
    whole = dirac.solve(33, configuration(33))
    assert valence.energies[0, None][0] == pytest.approx(whole.average(4, 0), abs=5e-4)
    assert valence.energies[1, None][0] == pytest.approx(whole.average(4, 1), abs=5e-4)


def test_hartree_potential_of_a_gaussian_is_an_error_function():
    from scipy.special import erf

    mesh = Mesh(12.0)
    density = np.exp(-(mesh.r**2)) / np.pi**1.5
    expected = erf(mesh.r[1:]) / mesh.r[1:]
    np.testing.assert_allclose(mesh.hartree(density)[1:], expected, atol=2e-9)


def test_bessel_basis_is_orthonormal_and_knows_its_slopes():
    mesh = Mesh(7.0)
    basis = BesselBasis(mesh, 2, 10.0)
    np.testing.assert_allclose(basis.overlaps(basis.values), np.eye(len(basis.q)), atol=1e-6)
    numeric = np.gradient(basis.values[5], mesh.step)
    np.testing.assert_allclose(basis.slopes[5][1:-1], numeric[1:-1], atol=2e-3)


def test_functional_derivatives_are_those_of_the_energy():
    n, slope, step = np.array([0.3, 0.02, 1.7]), np.array([-0.4, -0.03, 2.0]), 1e-6
    at = pbe(n, slope)
    by_density = (pbe(n + step, slope).energy - pbe(n - step, slope).energy) / (2 * step)
    np.testing.assert_allclose(at.by_density, by_density, rtol=1e-6)
    by_slope = (pbe(n, slope + step).energy - pbe(n, slope - step).energy) / (2 * step)
    np.testing.assert_allclose(2 * at.by_sigma * slope, by_slope, rtol=1e-5)


def test_projectors_are_normalised_and_end():
    mesh = Mesh(10.0)
    for channel in gth.potential("Sn").channels:
        functions = channel.projectors(mesh.r) * mesh.r
        np.testing.assert_allclose((functions**2) @ mesh.w, 1.0, atol=2e-4)
        assert not functions[:, mesh.r >= channel.cut_radius].any()


def test_spin_orbit_coupling_keeps_the_average_of_a_shell():
    channel = gth.potential("Te").with_spin_orbit(1, np.array([[0.3, -0.1], [-0.1, 0.2]])).channel(1)
    assert channel is not None
    average = (2 * channel.coupling(0.5) + 4 * channel.coupling(1.5)) / 6
    np.testing.assert_allclose(average, channel.h, atol=1e-15)


def test_valence_is_the_outermost_shell():
    core, valence = split_valence(33, 5)
    assert valence == {(4, 0): 2.0, (4, 1): 3.0}
    assert (first_valence_n(core, 0), first_valence_n(core, 2)) == (4, 4)
    assert ionised(valence, 4) == {(4, 0): 1.0, (4, 1): 0.0}
    with pytest.raises(InputError, match="not the 12 of the pseudopotential"):
        split_valence(30, 12)


def test_an_element_without_parameters_is_told():
    with pytest.raises(InputError, match=r"no pseudopotential of 'Fe' can be generated; the generator knows H B C"):
        gth.potential("Fe")

"""Two-centre integrals against those of Gaussians, which are known in closed form."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import spherical_jn

from nextham.dft.lcao.radial import RadialGrid, RadialSet, bessel_transform
from nextham.dft.lcao.twocentre import Operator, TwoCentre

GRID = RadialGrid.of_cutoff(9.0)
R = np.arange(901) * 0.01
A, B = 0.9, 0.6
VECTORS = np.array([[0.0, 0, 0], [1e-6, 0, 0], [0.3, -0.2, 0.5], [1.0, 2.0, -1.5], [-2.0, 0.1, 3.0]])


def gaussians(exponent, key):
    """s and p functions N r^l exp(-a r²) Y_lm, normalised."""
    chi = [R**l * np.exp(-exponent * R**2) for l in (0, 1)]
    chi = [c / np.sqrt((c**2 * R**2).sum() * 0.01) for c in chi]
    return RadialSet((0, 1), np.stack([bessel_transform(GRID, l, R, c) for l, c in enumerate(chi)]), key)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTHAM_CACHE", str(tmp_path))


def norm(exponent):
    return (2 * exponent / np.pi) ** 0.75


def closed_form(vectors, operator):
    """Return the matrix (n, 4, 4) of s, y, z, x Gaussians.

    ⟨a|-∇²|b⟩ = -∇²_d S(d); a p function is 1/√a times the derivative of s by its centre: -∂_d for a, ∂_d for b.
    """
    mu, p = A * B / (A + B), A + B
    out = np.zeros((len(vectors), 4, 4))
    for n, d in enumerate(vectors):
        s = norm(A) * norm(B) * (np.pi / p) ** 1.5 * np.exp(-mu * d @ d)
        f = [(-2 * mu) ** k * s for k in range(5)]  # derivatives of S by d²/2
        out[n, 0, 0] = _derivative(f, d, (), operator)
        for a, i in enumerate((1, 2, 0), start=1):
            out[n, a, 0] = -_derivative(f, d, (i,), operator) / np.sqrt(A)
            out[n, 0, a] = _derivative(f, d, (i,), operator) / np.sqrt(B)
            for b, j in enumerate((1, 2, 0), start=1):
                out[n, a, b] = -_derivative(f, d, (i, j), operator) / np.sqrt(A * B)
    return out


def _derivative(f, d, indices, operator):
    """Return ∂_indices of S(d), or of -∇²S(d), for S = f(d²/2)."""
    if operator is Operator.KINETIC:
        return -sum(_derivative(f, d, (*indices, k, k), Operator.OVERLAP) for k in range(3))
    n = len(indices)
    if n == 0:
        return f[0]
    total = 0.0
    for pairing, rest in _pairings(list(indices)):
        if all(i == j for i, j in pairing):
            total += f[n - len(pairing)] * np.prod([d[i] for i in rest])
    return total


def _pairings(items):
    """Yield (pairs, unpaired) of all ways to pair some of the items."""
    if not items:
        yield [], []
        return
    head, *tail = items
    for pairs, rest in _pairings(tail):
        yield pairs, [head, *rest]
    for k in range(len(tail)):
        for pairs, rest in _pairings(tail[:k] + tail[k + 1 :]):
            yield [(head, tail[k]), *pairs], rest


@pytest.mark.parametrize(("operator", "tolerance"), [(Operator.OVERLAP, 1e-8), (Operator.KINETIC, 2e-7)])
def test_integrals_of_gaussians(operator, tolerance):
    found = TwoCentre(GRID, gaussians(A, "a"), gaussians(B, "b"), operator)(VECTORS).numpy()
    assert np.abs(found - closed_form(VECTORS, operator)).max() < tolerance


def test_swapping_the_functions_transposes():
    first, second = gaussians(A, "a"), gaussians(B, "b")
    one = TwoCentre(GRID, first, second, Operator.OVERLAP)(VECTORS)
    two = TwoCentre(GRID, second, first, Operator.OVERLAP)(-VECTORS)
    assert (one - two.transpose(1, 2)).abs().max() < 1e-12


def test_nothing_beyond_the_grid():
    both = gaussians(A, "a")
    assert not TwoCentre(GRID, both, both, Operator.OVERLAP)(np.array([[18.1, 0, 0]])).any()


@pytest.mark.parametrize("l", [0, 1, 2, 3, 5])
def test_bessel_functions_on_the_product_grid(l):
    grid = RadialGrid.of_cutoff(1.0)
    assert np.abs(grid.bessel(l) - spherical_jn(l, np.outer(grid.k, grid.x))).max() < 1e-12


@pytest.mark.parametrize("l", [0, 1, 2])
def test_transform_is_the_integral(l):
    f = bessel_transform(GRID, l, R, R**l * np.exp(-A * R**2))
    k = float(GRID.k[37])
    exact = quad(lambda r: r ** (2 + l) * np.exp(-A * r * r) * spherical_jn(l, k * r), 0, 9, epsabs=1e-13)[0]
    assert f[37] == pytest.approx(np.sqrt(2 / np.pi) * exact, abs=1e-9)

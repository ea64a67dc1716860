from __future__ import annotations

import numpy as np
import pytest
import torch

from nextham.physics.eigen import solve
from nextham.train.spectral import Spectrum


@pytest.fixture(scope="module")
def spectrum(alsb) -> Spectrum:
    return Spectrum.of(alsb, n_k=4, cut_ev=10.0, seed=0)


ALL = torch.arange(4)


def test_overlap_projects_to_the_identity(alsb, spectrum):
    size = spectrum.projected(torch.tensor(alsb.operators["overlap"][0]), ALL).abs()
    kept = spectrum.low + spectrum.high
    assert (size - torch.diag_embed(kept)).abs().max() < 1e-8


def test_hamiltonian_projects_to_its_levels(alsb, spectrum):
    size = spectrum.projected(torch.tensor(alsb.operators["hamiltonian"][0].real), ALL).abs()
    assert (size - torch.diag_embed(size.diagonal(dim1=1, dim2=2))).abs().max() < 1e-6
    assert (spectrum.low.diff(dim=1) <= 0).all()  # the lowest levels
    assert 4 < int(spectrum.low[0].sum()) < spectrum.n_orb


def test_first_order_shift_of_a_level_is_its_diagonal_error(alsb, spectrum):
    rng = np.random.default_rng(0)
    h, s = alsb.operator("hamiltonian"), alsb.operator("overlap")
    noise = 1e-7 * rng.normal() * s.values[0].real + 1e-7 * alsb.operators["h0"][0].real
    size = spectrum.projected(torch.tensor(noise), ALL[:1])[0].abs().diagonal().numpy()
    from nextham.physics.bloch import bloch_sum

    def levels(values):
        moved = alsb.with_operator("hamiltonian", values[None]).with_operator("overlap", s.values)
        matrices = [bloch_sum(moved, name, np.zeros((1, 3)))[:, 0] for name in ("hamiltonian", "overlap")]
        return solve(*matrices).energies[0]

    change = levels(h.values[0].real + noise) - levels(h.values[0].real)
    # degenerate levels mix, so their sum is compared
    assert abs(np.abs(change).sum() - size.sum()) < 0.02 * size.sum()


def test_errors_are_means_over_p_between_p_and_q_and_over_q(alsb, spectrum):
    error = torch.tensor(alsb.operators["overlap"][0]) * 0.01
    among, between, above = spectrum.errors(error, ALL).tolist()
    for found, part in ((among, spectrum.low), (above, spectrum.high)):
        n_levels = part.sum(dim=1)
        assert found == pytest.approx(float(0.01 * n_levels.sum() / (n_levels**2).sum()))
    assert between < 1e-9


def test_k_points_follow_from_seed_and_id(alsb, spectrum):
    assert torch.equal(Spectrum.of(alsb, n_k=4, cut_ev=10.0, seed=0).phase, spectrum.phase)
    assert not torch.equal(Spectrum.of(alsb, n_k=4, cut_ev=10.0, seed=1).phase, spectrum.phase)

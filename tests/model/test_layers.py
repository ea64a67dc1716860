from __future__ import annotations

import torch

from nextham.model.layers import RadialBasis


def test_gaussians_are_ordinary_numbers_or_zero():
    """A denormal number among the inputs makes a product of matrices many times slower."""
    distances = torch.linspace(0, 8, 997)
    for n in (16, 64):
        values = RadialBasis(n, 7.5)(distances)
        assert values[values > 0].min() > 1e-30
        exact = torch.exp(-0.5 * ((distances[:, None] - torch.linspace(0, 7.5, n)) * (n - 1) / 7.5) ** 2)
        assert (values - exact).abs().max() < 1e-6

"""Bricks of the network: linear maps, norm, radial basis, and the gradient non-linearity.

Features are (n, dim, channels); see ``Hidden`` for the order of components in either frame.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from nextham.model.irreps import Hidden

_NOTHING: Final = 1e-30  # smaller Gaussians are 0: denormal numbers would make matrix products many times slower
HANDOVER_ANG: Final = 0.5  # how far from a border between intervals both readouts still count


class IrrepLinear(nn.Module):
    """One channel matrix per irrep, global frame; a bias on the scalars."""

    index: Tensor

    def __init__(self, hidden: Hidden, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(hidden.irreps), n_in, n_out) / math.sqrt(n_in))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.register_buffer("index", torch.from_numpy(hidden.irrep_of), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, dim, n_in) -> (n, dim, n_out)."""
        bias = on_scalars(self.bias, x.shape[1])[:, None]  # (dim, 1, n_out)
        return torch.baddbmm(bias, x.transpose(0, 1), spread(self.weight, self.index, dim=0)).transpose(0, 1)


class EdgeLinear(nn.Module):
    """The most general O(2)-equivariant linear map of features in the frame of an edge.

    Components of equal |m| and equal behaviour under the mirror mix among all irreps that have
    them: what an SO(3) tensor product with Y(d) and free radial weights does, as dense matrices
    (arXiv:2302.03655). Inversion makes natural and unnatural irreps meet only where m > 0. Pieces that
    are not alive at the stage are zero and have no weights.
    """

    def __init__(self, hidden: Hidden, n_in: int, n_out: int, *, stage: int = 2) -> None:
        super().__init__()
        self.orders, self.alive, self.n_out = hidden.orders, hidden.alive(stage), n_out
        sizes = [n for (_, n), alive in zip(hidden.orders, self.alive, strict=True) if alive]
        self.weights = nn.ParameterList(torch.randn(n * n_in, n * n_out) / math.sqrt(n * n_in) for n in sizes)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """(n, dim, n_in) -> (n, dim, n_out), edge frame."""
        parts = x.split_with_sizes([copies * n for copies, n in self.orders], dim=1)
        weights, mixed = iter(self.weights), []
        for part, (copies, n), alive in zip(parts, self.orders, self.alive, strict=True):
            if not alive:
                mixed.append(x.new_zeros(len(x), copies * n, self.n_out))
                continue
            y = part.reshape(len(x) * copies, n * x.shape[2]) @ next(weights)
            if not mixed:  # the piece that begins with the scalar
                y = y + on_scalars(self.bias, n).flatten()
            mixed.append(y.reshape(len(x), copies * n, self.n_out))
        return torch.cat(mixed, dim=1)


class Norm(nn.Module):
    """Divide by one root mean square over all irreps and channels, each irrep counted alike.

    One size for the whole feature: an irrep that vanishes by symmetry stays zero and is not blown up.
    """

    balance: Tensor
    index: Tensor

    def __init__(self, irrep_of: Tensor, channels: int) -> None:
        super().__init__()
        counts = torch.bincount(irrep_of)
        self.scale = nn.Parameter(torch.ones(len(counts), channels))
        self.register_buffer("balance", 1.0 / counts[irrep_of] / len(counts), persistent=False)
        self.register_buffer("index", irrep_of, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, dim, channels) -> the same shape."""
        size = torch.linalg.vecdot(x, x) @ (self.balance / x.shape[2]).to(x.dtype)
        return x * torch.rsqrt(size + 1e-6)[:, None, None] * spread(self.scale, self.index, dim=0)


class TraceGrad(nn.Module):
    """o = f + ∂z/∂f with learnt invariants z = s(f ⊗ f -> 0e) (arXiv:2405.05722).

    q = |U f|² per irrep and channel, z = W₂ silu(W₁ q + b); the gradient of Σ z is written out,
    ∂z/∂f = 2 Uᵀ [(W₁ᵀ (silu'(W₁ q + b) · W₂ᵀ 1)) U f], so that no second backward pass is needed.
    """

    index: Tensor

    def __init__(self, irrep_of: Tensor, channels: int, width: int) -> None:
        super().__init__()
        n_irreps = int(irrep_of.max()) + 1
        self.mix = nn.Parameter(torch.randn(n_irreps, channels, channels) / math.sqrt(channels))
        self.first = nn.Parameter(torch.randn(n_irreps * channels, width) / math.sqrt(n_irreps * channels))
        self.bias = nn.Parameter(torch.zeros(width))
        self.second = nn.Parameter(torch.randn(width, width) / width)
        self.register_buffer("index", irrep_of, persistent=False)

    def forward(self, f: Tensor) -> tuple[Tensor, Tensor]:
        """(n, dim, channels) -> o of the same shape, and z (n, width)."""
        mix = spread(self.mix, self.index, dim=0)
        g = torch.matmul(f.transpose(0, 1), mix).transpose(0, 1)
        channels = f.shape[2]
        q = (g * g).transpose(1, 2) @ one_hot(self.index, self.mix.shape[0], f.dtype)  # (n, channels, n_irreps)
        a = q.flatten(1) @ self.first + self.bias
        gate = torch.sigmoid(a)
        z = (a * gate) @ self.second
        slope = gate * (1 + a * (1 - gate)) * (2 * self.second.sum(dim=1))
        dz_dq = (slope @ self.first.T).reshape(len(f), channels, self.mix.shape[0])  # twice that
        dz_dg = spread(dz_dq.transpose(1, 2), self.index) * g
        gradient = torch.matmul(dz_dg.transpose(0, 1), mix.transpose(1, 2)).transpose(0, 1)
        return f + gradient, z


class RadialBasis(nn.Module):
    """Gaussians of the distance, evenly spaced from 0 to the cutoff (Å)."""

    centres: Tensor

    def __init__(self, n: int, cutoff_ang: float) -> None:
        super().__init__()
        self.width_ang = cutoff_ang / (n - 1)
        self.register_buffer("centres", torch.linspace(0, cutoff_ang, n), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """(n,) -> (n, n_radial)."""
        scaled = (distance[:, None] - self.centres.to(distance.dtype)) / self.width_ang
        return nn.functional.threshold(torch.exp(-0.5 * scaled * scaled), _NOTHING, 0.0)


def envelope(distance: Tensor, cutoff_ang: float) -> Tensor:
    """1 - 28 x⁶ + 48 x⁷ - 21 x⁸ for x = d / cutoff < 1, else 0: twice differentiable at 1 (arXiv:2003.03123)."""
    x = (distance / cutoff_ang).clamp(max=1.0)
    return 1 - 28 * x**6 + 48 * x**7 - 21 * x**8


def presence(amplitude: Tensor, floor: float) -> Tensor:
    """Return how much a pair with this amplitude of the overlap counts: 0 without overlap, 1/2 at the floor, then 1."""
    return amplitude**2 / (amplitude**2 + floor**2)


def interval_shares(distance: Tensor, borders_ang: tuple[float, ...]) -> Tensor:
    """Return the share (n, n_intervals) that each interval has of a distance; the shares add up to one.

    Across a border they trade over ``2 * HANDOVER_ANG`` along x³ (10 - 15 x + 6 x²), twice differentiable.
    """
    past = torch.stack([distance - border for border in borders_ang], dim=1)  # numbers need no copy to the device
    x = (past / (2 * HANDOVER_ANG) + 0.5).clamp(0, 1)
    risen = nn.functional.pad(x**3 * (10 - 15 * x + 6 * x * x), (1, 0), value=1.0)
    return risen - nn.functional.pad(risen[:, 1:], (0, 1))


def per_interval(features: Tensor, share: Tensor) -> Tensor:
    """Return features (n, ..., channels) once for each interval, by its share: (n, ..., n_intervals channels)."""
    weight = share.reshape(len(share), *[1] * (features.dim() - 2), share.shape[1], 1)
    return (features[..., None, :] * weight).flatten(-2)


def on_scalars(values: Tensor, dim: int) -> Tensor:
    """Return (..., channels) as (..., dim, channels), zero in all but the first component, the scalar."""
    return nn.functional.pad(values[..., None, :], (0, 0, 0, dim - 1))


def spread(values: Tensor, index: Tensor, *, dim: int = 1) -> Tensor:
    """Return what each component has of its irrep; the gradient is cheaper than that of ``values[:, index]``."""
    return values.index_select(dim, index)


def one_hot(index: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    """Return the matrix (len(index), n) that sums what belongs together."""
    return nn.functional.one_hot(index, n).to(dtype)


def sum_into(n: int, index: Tensor, source: Tensor) -> Tensor:
    """Return (n, ...) where row index[k] holds the sum of its rows source[k]; faster than index_add on a CPU."""
    flat = source.flatten(1)
    flat = flat if flat.dtype == torch.float64 else flat.float()  # a sum in bfloat16 would lose small terms
    total = flat.new_zeros(n, flat.shape[1]).scatter_add(0, index[:, None].expand_as(flat), flat)
    return total.reshape(n, *source.shape[1:])


def perceptron(n_in: int, width: int, n_out: int) -> nn.Sequential:
    """Return a network of one hidden layer for invariants."""
    return nn.Sequential(nn.Linear(n_in, width), nn.SiLU(), nn.Linear(width, n_out))

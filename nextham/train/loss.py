"""What is minimised: real-space errors, traces of blocks and errors of levels, all after the energy shift."""

from __future__ import annotations

import dataclasses
from typing import Final

import torch
from torch import Tensor

from nextham.model.batch import Batch
from nextham.model.components import spin_block_modulus
from nextham.model.network import Output
from nextham.physics.align import shift_of
from nextham.train.sample import Sample
from nextham.train.settings import TrainSettings
from nextham.train.spectral import Spectrum

TERMS: Final = ("trace", "p_mev", "pq_mev", "q_mev")


@dataclasses.dataclass(frozen=True)
class Losses:
    """Of one batch."""

    gauge_mae_mev: Tensor  # (n_structures,)
    real: Tensor  # (n_structures,) the real-space term: the Gauge MAE itself, unless settings choose another
    trace: Tensor  # in units of the typical trace
    p_mev: Tensor  # mean |C† E(k) C| among the levels P
    pq_mev: Tensor  # between P and the levels above, Q
    q_mev: Tensor  # and among those

    def total(self, options: TrainSettings, *, share: float) -> Tensor:
        """Return what is minimised, with the share that the errors of levels have by now."""
        levels = options.p_weight * self.p_mev + options.pq_weight * self.pq_mev + options.q_weight * self.q_mev
        return self.real.mean() + options.trace_weight * self.trace + share * levels

    def detached(self) -> Losses:
        """Return the numbers without their graph."""
        return Losses(*(getattr(self, f.name).detach() for f in dataclasses.fields(self)))

    def on_cpu(self) -> Losses:
        """Return the numbers on the CPU."""
        return Losses(*(getattr(self, f.name).cpu() for f in dataclasses.fields(self)))

    @classmethod
    def joined(cls, parts: list[Losses]) -> Losses:
        """Return the losses of a batch from those of its parts; means count by the number of structures."""
        if len(parts) == 1:
            return parts[0]
        n = torch.stack([p.real.new_tensor(float(len(p.real))) for p in parts])
        lists = [torch.cat([getattr(p, name) for p in parts]) for name in ("gauge_mae_mev", "real")]
        means = [(torch.stack([getattr(p, name) for p in parts]) * n).sum() / n.sum() for name in TERMS]
        return cls(*lists, *means)


def gauge_mae(error: Tensor, batch: Batch) -> Tensor:
    """Return twice the Gauge MAE (n_structures,) eV of errors (n_spin, n_values): the mean of ↑↑, ↓↓ of spin scalars.

    Every element of the full matrix counts, pairs without a correction included. μ is solved for
    each structure and its gradient is kept, so that the loss is the metric and a shift P -> P + μS
    changes neither the loss nor its gradient.
    """
    found = []
    for left, weight in zip(aligned_errors(error, batch), per_structure(batch.multiplicity, batch), strict=True):
        found.append((weight * spin_block_modulus(left)).sum() / weight.sum())
    return torch.stack(found)


def aligned_errors(error: Tensor, batch: Batch) -> list[Tensor]:
    """Return E - μS of each structure, (n_spin, n); S meets h_0, the first row."""
    parts = (per_structure(t, batch) for t in (error, batch.overlap, batch.multiplicity))
    return [shifted(e, overlap, shift_of(e[0], overlap, weight)) for e, overlap, weight in zip(*parts, strict=True)]


def shifted(error: Tensor, overlap: Tensor, mu: Tensor) -> Tensor:
    """Return E - μS, (n_spin, n)."""
    return torch.cat([error[:1] - mu * overlap, error[1:]])


def per_structure(values: Tensor, batch: Batch) -> tuple[Tensor, ...]:
    """Divide (..., n_values) among the structures."""
    return values.split_with_sizes(list(batch.n_values), dim=-1)


def trace_targets(batch: Batch) -> list[Tensor]:
    """Return tr(ΔH ΔH†) of each shell pair, per on-site, then hopping group (n_rows, n_shell_pairs) eV².

    ΔH is the aligned target, so that μ leaks nothing into the trace.
    """
    found = [group.traces for group in (*batch.onsite.groups, *batch.hopping.groups) if group.traces is not None]
    if batch.target is None:
        raise ValueError("a batch without labels has no traces")
    return found


def typical_trace(batch: Batch) -> float:
    """Return the mean over groups of the mean trace, eV²: the unit of the trace loss."""
    return float(torch.stack([t.mean() for t in trace_targets(batch)]).mean())


@dataclasses.dataclass(frozen=True)
class Measure:
    """How the losses of a sample are taken."""

    options: TrainSettings
    trace_unit_ev2: float  # the typical trace of the training set

    def losses(self, output: Output, sample: Sample, *, k_at: Tensor, share: float) -> Losses:
        """Return the losses; ``k_at`` says which k of each spectrum, share how much levels count by now.

        μ is a function of the prediction and its gradient is kept in every term.
        """
        batch = sample.batch
        if batch.target is None:
            raise ValueError("a batch without labels has no loss")
        error = output.correction - batch.target
        mae = gauge_mae(error, batch) * 1e3
        trace = mae.new_zeros(())
        levels = mae.new_zeros(3)
        if output.traces is not None:
            pairs = zip(output.traces, trace_targets(batch), strict=True)
            trace = torch.stack([(guess - truth).abs().mean() for guess, truth in pairs]).mean() / self.trace_unit_ev2
        shifts = None
        if sample.spectra:
            with torch.set_grad_enabled(torch.is_grad_enabled() and share > 0):  # nothing to learn from yet
                if self.options.shift == "all-terms" and share > 0:
                    shifts, found = self._all_terms(error, sample, k_at=k_at, share=share)
                else:
                    parts = zip(sample.spectra, aligned_errors(error, batch), strict=True)
                    found = [spectrum.errors(left[0], k_at) for spectrum, left in parts]
                levels = 1e3 * torch.stack(found).mean(dim=0)
        real = mae if self.options.real_loss == "mae" and shifts is None else self._real_space(error, batch, shifts)
        return Losses(mae, real, trace, *levels)

    def _real_space(self, error: Tensor, batch: Batch, shifts: list[Tensor] | None) -> Tensor:
        """Return the real-space term (n_structures,) in meV: the mean of f(e), e half the sum over the spin blocks."""
        parts = (per_structure(t, batch) for t in (error, batch.overlap, batch.multiplicity))
        found = []
        for k, (e, overlap, weight) in enumerate(zip(*parts, strict=True)):
            mu = shift_of(e[0], overlap, weight) if shifts is None else shifts[k]
            size = 1e3 * spin_block_modulus(shifted(e, overlap, mu))
            found.append((weight * self._form(size)).sum() / weight.sum())
        return torch.stack(found)

    def _form(self, size: Tensor) -> Tensor:
        scale = self.options.real_scale_mev
        if self.options.real_loss == "mae":
            return size
        square = size * size / (2 * scale)
        return square if self.options.real_loss == "mse" else torch.where(size < scale, square, size - scale / 2)

    def _all_terms(
        self, error: Tensor, sample: Sample, *, k_at: Tensor, share: float
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return μ of each structure and its errors of levels (3,) eV, both after that μ.

        μ minimises Σ_terms λ <|E - μ S|²>, where C† S C = 1: least squares over real space (λ = 1) and over
        the levels P and Q with their weights at this share; between P and Q, S has no elements.
        """
        batch, weights = sample.batch, (share * self.options.p_weight, share * self.options.q_weight)
        parts = (per_structure(t, batch) for t in (error, batch.overlap, batch.multiplicity))
        shifts, found = [], []
        for spectrum, e, overlap, weight in zip(sample.spectra, *parts, strict=True):
            projected = spectrum.projected(e[0], k_at)
            moments = [torch.stack([(weight * overlap * t).sum() / weight.sum() for t in (e[0], overlap)])]
            moments += [w * m for w, m in zip(weights, _diagonals(spectrum, projected, k_at), strict=True)]
            top, bottom = torch.stack(moments).sum(dim=0)
            shifts.append(top / bottom)
            kept = torch.diag_embed(spectrum.low[k_at] + spectrum.high[k_at])
            found.append(spectrum.means(projected - shifts[-1] * kept, k_at))
        return shifts, found


def _diagonals(spectrum: Spectrum, projected: Tensor, k_at: Tensor) -> list[Tensor]:
    """Return <Re C† E C> and <C† S C> over the elements among P, and over those among Q, (2,) each."""
    diagonal = projected.diagonal(dim1=1, dim2=2).real
    found = []
    for part in (spectrum.low[k_at], spectrum.high[k_at]):
        n_elements = (part.sum(dim=1) ** 2).sum().clamp(min=1)
        found.append(torch.stack([(part * diagonal).sum(), part.sum()]) / n_elements)
    return found

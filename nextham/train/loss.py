"""What is minimised: the Gauge MAE itself, and the trace loss."""

from __future__ import annotations

import dataclasses
from typing import Final

import torch
from torch import Tensor

from nextham.model.batch import Batch
from nextham.model.components import spin_block_modulus
from nextham.model.heads import sum_shell_pairs
from nextham.model.network import Output
from nextham.physics.align import shift_of
from nextham.train.sample import Sample
from nextham.train.settings import TrainSettings

TERMS: Final = ("trace", "p_mev", "pq_mev")


@dataclasses.dataclass(frozen=True)
class Losses:
    """Of one batch."""

    gauge_mae_mev: Tensor  # (n_structures,)
    trace: Tensor  # in units of the typical trace
    p_mev: Tensor  # mean |C† E(k) C| among the levels P
    pq_mev: Tensor  # and between P and the levels above

    def total(self, options: TrainSettings, *, spectral: float) -> Tensor:
        """Return what is minimised, with the share that the errors of levels have by now."""
        levels = options.p_weight * self.p_mev + options.pq_weight * self.pq_mev
        return self.gauge_mae_mev.mean() + options.trace_weight * self.trace + spectral * levels

    def detached(self) -> Losses:
        """Return the numbers without their graph, on the CPU."""
        return Losses(*(getattr(self, f.name).detach().cpu() for f in dataclasses.fields(self)))


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
    return [
        torch.cat([e[:1] - shift_of(e[0], overlap, weight) * overlap, e[1:]])
        for e, overlap, weight in zip(*parts, strict=True)
    ]


def per_structure(values: Tensor, batch: Batch) -> tuple[Tensor, ...]:
    """Divide (..., n_values) among the structures."""
    sizes = torch.bincount(batch.structure_of_value, minlength=batch.n_structures)
    return values.split_with_sizes(sizes.tolist(), dim=-1)


def trace_targets(batch: Batch) -> list[Tensor]:
    """Return tr(ΔH ΔH†) of each shell pair, per on-site, then hopping group (n_rows, n_shell_pairs) eV².

    ΔH is the aligned target, so that μ leaks nothing into the trace.
    """
    if batch.target is None:
        raise ValueError("a batch without labels has no traces")
    found = []
    for group in (*batch.onsite.groups, *batch.hopping.groups):
        squares = group.encode(batch.target) ** 2
        n_paths = len(group.shell_pair_of_path)
        per_path = squares.new_zeros(len(squares), n_paths).index_add(1, group.path_of_component, squares)
        found.append(sum_shell_pairs(group, per_path))
    return found


def typical_trace(batch: Batch) -> float:
    """Return the mean over groups of the mean trace, eV²: the unit of the trace loss."""
    return float(torch.stack([t.mean() for t in trace_targets(batch)]).mean())


def losses(output: Output, sample: Sample, *, trace_unit_ev2: float, k_at: Tensor) -> Losses:
    """Return the losses of a sample; ``k_at`` says which k of each spectrum."""
    batch = sample.batch
    if batch.target is None:
        raise ValueError("a batch without labels has no loss")
    error = output.correction - batch.target
    mae = gauge_mae(error, batch) * 1e3
    trace = among = between = mae.new_zeros(())
    if output.traces is not None:
        pairs = zip(output.traces, trace_targets(batch), strict=True)
        trace = torch.stack([(guess - truth).abs().mean() for guess, truth in pairs]).mean() / trace_unit_ev2
    if sample.spectra:
        parts = zip(sample.spectra, aligned_errors(error, batch), strict=True)
        found = [torch.stack(spectrum.errors(left[0], k_at)) for spectrum, left in parts]
        among, between = 1e3 * torch.stack(found).mean(dim=0)
    return Losses(mae, trace, among, between)

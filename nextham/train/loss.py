"""What is minimised: the Gauge MAE itself, and the trace loss."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import torch
from torch import Tensor

from nextham.model.batch import Batch
from nextham.model.heads import sum_shell_pairs
from nextham.model.network import Output
from nextham.physics.align import shift_of


@dataclasses.dataclass(frozen=True)
class Losses:
    """Of one batch."""

    gauge_mae_mev: Tensor  # (n_structures,)
    trace: Tensor  # scalar, in units of the typical trace


def gauge_mae(error: Tensor, batch: Batch) -> Tensor:
    """Return the Gauge MAE (n_structures,) eV of h_0 errors (n_values,): the mean over blocks ↑↑ and ↓↓.

    Every element of the full matrix counts, pairs without a correction included. μ is solved for
    each structure and its gradient is kept, so that the loss is the metric and a shift P -> P + μS
    changes neither the loss nor its gradient.
    """
    found = []
    ends = torch.bincount(batch.structure_of_value, minlength=batch.n_structures).cumsum(0).tolist()
    for start, end in pairwise([0, *ends]):
        e, overlap, weight = (t[start:end] for t in (error, batch.overlap, batch.multiplicity))
        left = e - shift_of(e, overlap, weight) * overlap
        found.append((weight * left.abs()).sum() / weight.sum())
    return torch.stack(found)


def trace_targets(batch: Batch) -> list[Tensor]:
    """Return tr(ΔH ΔH†) of each shell pair, per on-site, then hopping group (n_rows, n_shell_pairs) eV².

    ΔH is the aligned target, so that μ leaks nothing into the trace.
    """
    if batch.target is None:
        raise ValueError("a batch without labels has no traces")
    found = []
    for group in (*batch.onsite.groups, *batch.hopping.groups):
        squares = (batch.target[group.index] @ group.transform.to(torch.float64).T) ** 2
        n_paths = len(group.shell_pair_of_path)
        per_path = squares.new_zeros(len(squares), n_paths).index_add(1, group.path_of_component, squares)
        found.append(sum_shell_pairs(group, per_path))
    return found


def typical_trace(batch: Batch) -> float:
    """Return the mean over groups of the mean trace, eV²: the unit of the trace loss."""
    return float(torch.stack([t.mean() for t in trace_targets(batch)]).mean())


def losses(output: Output, batch: Batch, *, trace_unit_ev2: float) -> Losses:
    """Return the losses of a batch with labels."""
    if batch.target is None:
        raise ValueError("a batch without labels has no loss")
    mae = gauge_mae(output.correction - batch.target, batch) * 1e3
    if output.traces is None:
        return Losses(mae, mae.new_zeros(()))
    pairs = zip(output.traces, trace_targets(batch), strict=True)
    trace = torch.stack([(guess - truth).abs().mean() for guess, truth in pairs]).mean() / trace_unit_ev2
    return Losses(mae, trace)

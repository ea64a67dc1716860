"""Typical sizes of descriptors and target per path, from the training set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from nextham.model.batch import Batch, Blocks, Vocabulary

AMPLITUDE_FLOOR = 1e-3  # overlap below which the size of a block no longer follows the overlap


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Root mean squares per kind (l_i, l_j, L), on-site and hopping; all float64.

    Hopping blocks are first divided by their overlap's amplitude plus a floor; on-site H0 scalars
    are first centred by the mean of their two shells.
    """

    onsite_mean: Tensor  # (n_shells, n_shells) eV, mean of the L = 0 path of the on-site H0
    onsite_h0: Tensor  # (n_kinds,) eV
    onsite_overlap: Tensor  # (n_kinds,)
    onsite_target: Tensor  # (n_kinds,) eV
    hopping_h0: Tensor  # (n_kinds,) eV
    hopping_overlap: Tensor  # (n_kinds,)
    hopping_target: Tensor  # (n_kinds,) eV

    @classmethod
    def blank(cls, vocabulary: Vocabulary) -> Statistics:
        """Return unit sizes, to be replaced by those of a checkpoint."""
        n, kinds = vocabulary.n_shells, len(vocabulary.kinds)
        ones = [torch.ones(kinds, dtype=torch.float64) for _ in range(6)]
        return cls(torch.zeros(n, n, dtype=torch.float64), *ones)

    @classmethod
    def measure(cls, batches: Callable[[], Iterable[Batch]], vocabulary: Vocabulary) -> Statistics:
        """Measure over labelled batches, which are gone through twice; absent kinds get the median of the others."""
        mean = _onsite_mean(batches(), vocabulary)
        keys = [(which, name) for which in ("onsite", "hopping") for name in ("h0", "overlap", "target")]
        sums = {key: torch.zeros(2, len(vocabulary.kinds), dtype=torch.float64) for key in keys}
        for batch in batches():
            for (which, name), total in sums.items():
                _accumulate(batch, getattr(batch, which), name, mean if which == "onsite" else None, total)
        return cls(mean, *(_filled(square, count) for square, count in sums.values()))


def irreps_of(batch: Batch, group: int, blocks: Blocks, name: str) -> Tensor:
    """Return the irreps (n_rows, n_comp) of an operator or of the target."""
    own = blocks.groups[group]
    if name != "target":
        return own.irreps[name].to(torch.float64)
    if batch.target is None:
        raise ValueError("a batch without labels has no target")
    return own.encode(batch.target)


def _onsite_mean(batches: Iterable[Batch], vocabulary: Vocabulary) -> Tensor:
    n = vocabulary.n_shells
    total, count = (torch.zeros(n * n, dtype=torch.float64) for _ in range(2))
    for blocks in (b.onsite for b in batches):
        for group in (g for g in blocks.groups if "h0" in g.irreps):
            scalar = blocks.scalar[group.paths]
            where = (blocks.shell_i[group.paths] * n + blocks.shell_j[group.paths])[scalar]
            values = group.irreps["h0"].to(torch.float64)[:, scalar[group.path_of_component]]
            total.index_add_(0, where, values.sum(dim=0))
            count.index_add_(0, where, torch.full_like(where, len(values), dtype=torch.float64))
    return (total / count.clamp(min=1)).reshape(n, n)


def _accumulate(batch: Batch, blocks: Blocks, name: str, mean: Tensor | None, sums: Tensor) -> None:
    """Add squares and counts (2, n_kinds) in place; a mean is given for on-site blocks, which keep their size."""
    for g, group in enumerate(blocks.groups):
        if name != "target" and name not in group.irreps:
            continue
        values = irreps_of(batch, g, blocks, name)
        if mean is None:
            values = values / (blocks.amplitude[group.rows].to(torch.float64)[:, None] + AMPLITUDE_FLOOR)
        elif name == "h0":
            values = values - centre(blocks, mean)[group.paths][group.path_of_component]
        for column in (blocks.kind, blocks.swapped_kind):  # equal sizes for a path and its transpose
            kind = column[group.paths][group.path_of_component]
            sums[0].index_add_(0, kind, (values**2).sum(dim=0))
            sums[1].index_add_(0, kind, torch.full_like(kind, len(values), dtype=torch.float64))


def centre(blocks: Blocks, mean: Tensor) -> Tensor:
    """Return what is subtracted from each on-site H0 path, (n_paths,): the mean where L = 0 of Re h_0."""
    return torch.where(blocks.scalar, mean[blocks.shell_i, blocks.shell_j], 0.0)


def _filled(square: Tensor, count: Tensor) -> Tensor:
    rms = (square / count.clamp(min=1)).sqrt()
    tiny = 1e-6 * rms.max()
    known = rms > tiny
    fallback = rms[known].median() if known.any() else torch.ones((), dtype=torch.float64)
    return torch.where(known, rms, fallback)

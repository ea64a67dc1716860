"""Typical sizes of descriptors and target per path, from the training set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from nextham.model.batch import Batch
from nextham.model.blocks import Blocks, Group
from nextham.model.vocabulary import Vocabulary

_SIZES = tuple(f"{which}_{name}" for which in ("onsite", "hopping") for name in ("h0", "overlap", "target"))
AMPLITUDE_FLOOR = 1e-3  # overlap below which the size of a block no longer follows the overlap


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Root mean squares per kind (l_i, l_j, L), on-site and hopping; all float64.

    Hopping blocks are first divided by their overlap's amplitude plus a floor; on-site scalars of H0,
    and of H where it is learnt itself, are first centred by the mean of their two shells.
    """

    onsite_mean: Tensor  # (n_shells, n_shells) eV, mean of the L = 0 path of the on-site H0
    onsite_h0: Tensor  # (n_kinds,) eV
    onsite_overlap: Tensor  # (n_kinds,)
    onsite_target: Tensor  # (n_kinds,) eV
    hopping_h0: Tensor  # (n_kinds,) eV
    hopping_overlap: Tensor  # (n_kinds,)
    hopping_target: Tensor  # (n_kinds,) eV
    onsite_target_mean: Tensor  # (n_shells, n_shells) eV, mean of the L = 0 path of H; zero with delta learning

    @classmethod
    def blank(cls, vocabulary: Vocabulary) -> Statistics:
        """Return unit sizes, to be replaced by those of a checkpoint."""
        n, kinds = vocabulary.n_shells, len(vocabulary.kinds)
        sizes = {name: torch.ones(kinds, dtype=torch.float64) for name in _SIZES}
        mean = torch.zeros(n, n, dtype=torch.float64)
        return cls(onsite_mean=mean, **sizes, onsite_target_mean=mean)

    @classmethod
    def measure(
        cls, batches: Callable[[], Iterable[Batch]], vocabulary: Vocabulary, *, delta: bool = True
    ) -> Statistics:
        """Measure over labelled batches, which are gone through twice; absent kinds get the median of the others."""
        mean = {"h0": onsite_mean(batches(), vocabulary, "h0")}
        if not delta:
            mean["target"] = onsite_mean(batches(), vocabulary, "target")
        sums = {key: torch.zeros(2, len(vocabulary.kinds), dtype=torch.float64) for key in _SIZES}
        for batch in batches():
            for key, total in sums.items():
                which, name = key.split("_")
                _accumulate(batch, name, mean.get(name), total, onsite=which == "onsite")
        sizes = {key: _filled(square, count, vocabulary) for key, (square, count) in sums.items()}
        target_mean = mean.get("target", torch.zeros_like(mean["h0"]))
        return cls(onsite_mean=mean["h0"], **sizes, onsite_target_mean=target_mean)


def _irreps(batch: Batch, group: Group, name: str) -> Tensor | None:
    """Return the irreps (n_rows, n_comp) of an operator or of the target, if the batch has them."""
    if name != "target":
        return group.irreps[name].to(torch.float64) if name in group.irreps else None
    if batch.target is None:
        raise ValueError("a batch without labels has no target")
    return group.encode(batch.target)


def onsite_mean(batches: Iterable[Batch], vocabulary: Vocabulary, name: str) -> Tensor:
    """Return the mean of the on-site L = 0 paths of an operator, (n_shells, n_shells), zero where there is none."""
    n = vocabulary.n_shells
    total, count = (torch.zeros(n * n, dtype=torch.float64) for _ in range(2))
    for batch in batches:
        blocks = batch.onsite
        for group in blocks.groups:
            irreps = _irreps(batch, group, name)
            if irreps is None:
                continue
            scalar = blocks.scalar[group.paths]
            where = (blocks.shell_i[group.paths] * n + blocks.shell_j[group.paths])[scalar]
            values = irreps[:, scalar[group.path_of_component]]
            total.index_add_(0, where, values.sum(dim=0))
            count.index_add_(0, where, torch.full_like(where, len(values), dtype=torch.float64))
    return (total / count.clamp(min=1)).reshape(n, n)


def _accumulate(batch: Batch, name: str, mean: Tensor | None, sums: Tensor, *, onsite: bool) -> None:
    """Add squares and counts (2, n_kinds) in place; on-site blocks are centred by a mean and keep their size."""
    blocks = batch.onsite if onsite else batch.hopping
    for group in blocks.groups:
        values = _irreps(batch, group, name)
        if values is None:
            continue
        if not onsite:
            values = values / (blocks.amplitude[group.rows].to(torch.float64)[:, None] + AMPLITUDE_FLOOR)
        elif mean is not None:
            values = values - centre(blocks, mean)[group.paths][group.path_of_component]
        for column in (blocks.kind, blocks.swapped_kind):  # equal sizes for a path and its transpose
            kind = column[group.paths][group.path_of_component]
            sums[0].index_add_(0, kind, (values**2).sum(dim=0))
            sums[1].index_add_(0, kind, torch.full_like(kind, len(values), dtype=torch.float64))


def centre(blocks: Blocks, mean: Tensor) -> Tensor:
    """Return what is subtracted from each on-site path of H0 or H, (n_paths,): the mean where L = 0 of Re h_0."""
    return torch.where(blocks.scalar, mean[blocks.shell_i, blocks.shell_j], 0.0)


def _filled(square: Tensor, count: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Return root mean squares; what is absent gets the median of its spin component, or else of all."""
    rms = (square / count.clamp(min=1)).sqrt()
    known = rms > 1e-6 * rms.max()
    component = torch.tensor([kind.component for kind in vocabulary.kinds])
    for k in range(int(component.max()) + 1):
        own = component == k
        usable = known & own if (known & own).any() else known
        fallback = rms[usable].median() if usable.any() else torch.ones((), dtype=torch.float64)
        rms = torch.where(own & ~known, fallback, rms)
    return rms

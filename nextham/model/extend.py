"""Weights of one network for another of the same shape that knows more elements."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from nextham.core import LCAOSystem
from nextham.model.batch import Batch
from nextham.model.heads import PathWeights, Readout, Scales
from nextham.model.network import NextHAM
from nextham.model.statistics import Statistics, onsite_mean
from nextham.model.vocabulary import Vocabulary

Key = TypeVar("Key", bound=Hashable)
Shell = tuple[int, int, int]  # element, l, zeta


def inherit(new: NextHAM, old: NextHAM) -> None:
    """Give a network the weights of an older one whose elements it knows too.

    A new element starts from the mean of the known ones, a new shell from the mean of the known shells
    of its l and zeta (else of its l, else of all). New kinds of path (l_i, l_j, L) and the statistics
    of what is new stay as they are; statistics of known kinds are the old ones.
    """
    given, weights = old.state_dict(), new.state_dict()
    elements, kinds = (_rows(getattr(old.vocabulary, name), getattr(new.vocabulary, name)) for name in _TABLES)
    old_shells, new_shells = shells_of(old.vocabulary), shells_of(new.vocabulary)
    shells = _rows(old_shells, new_shells)
    for name, tables in _tables(new).items():
        start = weights[name]
        if tables == ("element",):
            start = given[name].mean(dim=0).expand_as(start).clone()
            start[elements[1]] = given[name][elements[0]]
        elif tables == ("shell",):
            start = torch.stack([given[name][like(shell, old_shells)].mean(dim=0) for shell in new_shells])
            start[shells[1]] = given[name][shells[0]]
        elif tables == ("shell", "shell"):
            start[shells[1][:, None], shells[1]] = given[name][shells[0][:, None], shells[0]].to(start)
        else:
            start[kinds[1]] = given[name][kinds[0]].to(start)
        given[name] = start
    new.load_state_dict(given)


def with_unseen(network: NextHAM, system: LCAOSystem) -> NextHAM:
    """Return a network that can name the elements of a system, also those that it was never trained on.

    Known weights are inherited. A new element is the mean of the known ones; the on-site H0 of its shells, which
    descriptors are centred by, is that of the system itself; kinds of path that are new add nothing.

    Raises:
        InputError: if a known element has other shells.
    """
    vocabulary = Vocabulary(network.vocabulary.basis | system.basis, network.vocabulary.target)
    weight = next(network.parameters())
    found = NextHAM(network.settings, vocabulary, Statistics.blank(vocabulary)).to(weight)
    inherit(found, network.cpu())
    network.to(weight)
    known = [row for kind, row in vocabulary.kinds.items() if kind in network.vocabulary.kinds]
    new_kinds = torch.ones(len(vocabulary.kinds), dtype=torch.bool)
    new_kinds[known] = False
    for module in found.modules():
        if isinstance(module, PathWeights):
            with torch.no_grad():
                module.weight[new_kinds] = 0.0
                module.bias[new_kinds] = 0.0
    if "h0" in network.settings.descriptors and "h0" in system.operators:
        _centre_unseen(found, network, system)
    return found.eval()


def _centre_unseen(found: NextHAM, network: NextHAM, system: LCAOSystem) -> None:
    """Set the means of on-site scalars of new shells to those of a system's H0."""
    batch = Batch.build(system, found.vocabulary, settings=found.settings, dtype=torch.float64, labels=False)
    mean = onsite_mean([batch], found.vocabulary, "h0")
    new = torch.ones(found.vocabulary.n_shells, dtype=torch.bool)
    new[[row for shell, row in shells_of(found.vocabulary).items() if shell in shells_of(network.vocabulary)]] = False
    for name, buffer in found.named_buffers():
        if name.endswith(".mean") and buffer.shape == mean.shape:
            buffer[new] = mean[new].to(buffer)


def shells_of(vocabulary: Vocabulary) -> dict[Shell, int]:
    """Return the row of each shell in a shell embedding."""
    found: dict[Shell, int] = {}
    for z in vocabulary.basis:
        ls = vocabulary.basis.shells(z)
        for k, l in enumerate(ls):
            found[z, l, k - ls.index(l)] = vocabulary.shells[z] + k
    return found


def like(shell: Shell, known: dict[Shell, int]) -> list[int]:
    """Return the rows of the known shells that are most like a shell."""
    _, l, zeta = shell
    same = [row for (_, l_known, zeta_known), row in known.items() if (l_known, zeta_known) == (l, zeta)]
    same_l = [row for (_, l_known, _), row in known.items() if l_known == l]
    return same or same_l or list(known.values())


_TABLES = ("elements", "kinds")


def _rows(old: Mapping[Key, int], new: Mapping[Key, int]) -> tuple[Tensor, Tensor]:
    """Return the rows of what both know, in the old and in the new table."""
    both = [(row, new[key]) for key, row in old.items() if key in new]
    return tuple(torch.tensor(column) for column in zip(*both, strict=True))  # type: ignore[return-value]


def _tables(network: NextHAM) -> dict[str, tuple[str, ...]]:
    """Return what the leading axes of each tensor that depends on the vocabulary count."""
    found: dict[str, tuple[str, ...]] = {"element.weight": ("element",)}
    for name, module in network.named_modules():
        if isinstance(module, PathWeights):
            found |= {f"{name}.shell.weight": ("shell",), f"{name}.weight": ("kind",), f"{name}.bias": ("kind",)}
        if isinstance(module, Scales):
            found |= {f"{name}.{key}": ("kind",) for key in ("h0", "overlap", "target")}
        if "mean" in dict(module.named_buffers(recurse=False)) and isinstance(module, Scales | Readout):
            found[f"{name}.mean"] = ("shell", "shell")
    return found

"""From blocks to features and back, for any shells: every path has weights made from its two shells."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nextham.model.blocks import Blocks, Group
from nextham.model.irreps import Hidden, Irrep
from nextham.model.layers import spread
from nextham.model.settings import ModelSettings
from nextham.model.statistics import AMPLITUDE_FLOOR, Statistics, centre
from nextham.model.vocabulary import Vocabulary


class PathWeights(nn.Module):
    """w (n_paths, n_out) of each path from the embeddings of its shells (element, l, zeta) and its (l_i, l_j, L)."""

    def __init__(self, vocabulary: Vocabulary, settings: ModelSettings, *, n_out: int, scale: float = 1.0) -> None:
        super().__init__()
        width = 2 * settings.embedding
        self.shell = nn.Embedding(vocabulary.n_shells, settings.embedding)
        self.hidden = nn.Sequential(nn.Linear(2 * settings.embedding, width), nn.SiLU())
        self.weight = nn.Parameter(scale * torch.randn(len(vocabulary.kinds), width, n_out) / width**0.5)
        self.bias = nn.Parameter(scale * torch.randn(len(vocabulary.kinds), n_out))

    def forward(self, blocks: Blocks) -> Tensor:
        """Return the weights (n_paths, 2, n_out) of every path and of its transpose."""
        table = blocks.table
        shells = self.shell.weight.index_select(0, table.shells.flatten()).reshape(*table.shells.shape, -1)
        h = self.hidden(torch.cat(shells.unbind(0), dim=2))  # (n_kinds, n_most, width)
        w = torch.baddbmm(self.bias[:, None], h, self.weight).flatten(0, 1)
        return w.index_select(0, table.place.flatten()).reshape(*table.place.shape, w.shape[1])


class Scales(nn.Module):
    """Statistics of on-site or of hopping blocks as buffers (they travel in the checkpoint)."""

    h0: Tensor
    overlap: Tensor
    target: Tensor
    mean: Tensor

    def __init__(self, statistics: Statistics, *, onsite: bool) -> None:
        super().__init__()
        which = "onsite" if onsite else "hopping"
        self.onsite = onsite
        for name in ("h0", "overlap", "target"):
            self.register_buffer(name, getattr(statistics, f"{which}_{name}").clone())
        if onsite:
            self.register_buffer("mean", statistics.onsite_mean.clone())

    def size(self, blocks: Blocks) -> Tensor:
        """Return what blocks are divided by, (n_rows,)."""
        return torch.ones_like(blocks.amplitude) if self.onsite else blocks.amplitude + AMPLITUDE_FLOOR

    def normalised(self, blocks: Blocks, group: Group, name: str) -> Tensor:
        """Return an operator's irreps with unit typical size per kind, not yet divided by the overlap's amplitude."""
        values = group.irreps[name]
        scale = getattr(self, name)[blocks.kind[group.paths]].to(values.dtype)
        if self.onsite and name == "h0":
            values = values - centre(blocks, self.mean)[group.paths][group.path_of_component].to(values.dtype)
        normalised: Tensor = values / scale[group.path_of_component]
        return normalised


class Embedding(nn.Module):
    """Blocks -> hidden irreps: sum over all paths of an irrep, in both directions of the pair."""

    def __init__(
        self, hidden: Hidden, vocabulary: Vocabulary, settings: ModelSettings, statistics: Statistics, *, onsite: bool
    ) -> None:
        super().__init__()
        self.hidden, self.names, self.channels = hidden, settings.descriptors, settings.channels
        self.scales = Scales(statistics, onsite=onsite)
        self.weights = nn.ModuleDict(
            {name: PathWeights(vocabulary, settings, n_out=settings.channels) for name in settings.descriptors}
        )

    def forward(self, blocks: Blocks) -> tuple[Tensor, Tensor]:
        """Return the features (n_rows, dim, channels) of (i, j) and of (j, i), global frame."""
        split = [by_group(blocks, signed(blocks, make(blocks))) for make in self.weights.values()]
        size = self.scales.size(blocks)
        rows = [
            self._group(blocks, group, [w[g] for w in split]) / size[group.rows][:, None, None]
            for g, group in enumerate(blocks.groups)
        ]
        empty = blocks.amplitude.new_zeros(0, self.hidden.dim, 2 * self.channels)
        first, second = torch.cat([empty, *rows]).split_with_sizes([self.channels] * 2, dim=2)
        return first, second

    def _group(self, blocks: Blocks, group: Group, weights: list[Tensor]) -> Tensor:
        n = group.rows.stop - group.rows.start
        values = [self.scales.normalised(blocks, group, name) for name in self.names]
        split = [by_segment(group, w) for w in weights]
        out: dict[Irrep, Tensor] = {}
        for k, (irrep, rows, paths) in enumerate(group.segments):
            n_paths = paths.stop - paths.start
            x = torch.cat([v[:, rows].reshape(n, n_paths, -1) for v in values], dim=1)
            w = torch.cat([w[k] for w in split]) / (len(self.names) * n_paths) ** 0.5
            y = (x.transpose(1, 2).reshape(-1, len(w)) @ w).reshape(n, -1, w.shape[1])
            out[irrep] = out[irrep] + y if irrep in out else y
        absent = {i: blocks.amplitude.new_zeros(n, 2 * i.l + 1, 2 * self.channels) for i in self.hidden.irreps}
        return torch.cat([out.get(irrep, absent[irrep]) for irrep in self.hidden.irreps], dim=1)


class Readout(nn.Module):
    """Hidden irreps and invariants -> blocks of the correction, exactly symmetric under (i, j) -> (j, i).

    Path by path, y = A w·f + Σ_X (w_X·z) X over the pair's own blocks X = H0, S, summed over both
    directions. A is the overlap's amplitude, so that y vanishes smoothly with the overlap, and irreps
    beyond lmax come from X alone. With an ensemble, f and z come once per interval of distance, each
    weighted by the interval's share of the pair. Without delta learning, y is added to the mean of the
    on-site scalars.
    """

    mean: Tensor

    def __init__(
        self, hidden: Hidden, vocabulary: Vocabulary, settings: ModelSettings, statistics: Statistics, *, onsite: bool
    ) -> None:
        super().__init__()
        self.hidden, self.names = hidden, settings.descriptors
        self.scales = Scales(statistics, onsite=onsite)
        n_intervals = 1 if onsite else len(settings.ensemble) + 1
        self.features = PathWeights(vocabulary, settings, n_out=n_intervals * settings.channels, scale=0.1)
        n, self.width = n_intervals * settings.width, settings.width
        self.own = nn.ModuleDict(
            {name: PathWeights(vocabulary, settings, n_out=n, scale=0.1) for name in settings.descriptors}
        )
        if settings.trace_grad:
            self.trace = PathWeights(vocabulary, settings, n_out=n, scale=0.1)
        self.centred = onsite and not settings.delta
        if self.centred:
            self.register_buffer("mean", statistics.onsite_target_mean.clone())

    def forward(self, blocks: Blocks, f: tuple[Tensor, Tensor], z: tuple[Tensor, Tensor]) -> list[Tensor]:
        """Return per group the irreps (n_rows, n_comp) eV; f and z of both directions."""
        features = torch.cat(f, dim=2)  # (n_rows, dim, 2 channels)
        invariants = torch.cat(z, dim=1) / (2 * self.width) ** 0.5
        w = by_group(blocks, signed(blocks, self.features(blocks)))
        own = {name: by_group(blocks, make(blocks).flatten(1)) for name, make in self.own.items()}
        scale = self.scales.target[blocks.kind].to(features.dtype)
        parts = zip(blocks.groups, by_rows(blocks, features), by_rows(blocks, invariants), w, strict=True)
        out = []
        for g, (group, f_g, z_g, w_g) in enumerate(parts):
            y = self._generic(group, f_g, w_g) * blocks.amplitude[group.rows][:, None]
            for name in self.names:
                factor = spread(z_g @ own[name][g].T, group.path_of_component)
                y = y + factor * self.scales.normalised(blocks, group, name)
            y = y * scale[group.paths][group.path_of_component]
            out.append(y + self._centre(blocks, group).to(y.dtype)[group.path_of_component] if self.centred else y)
        return out

    def traces(self, blocks: Blocks, z: tuple[Tensor, Tensor]) -> list[Tensor]:
        """Return per group the predicted tr(ΔH ΔH†) of each shell pair (n_rows, n_shell_pairs), eV²."""
        invariants = torch.cat(z, dim=1) / (2 * self.width) ** 0.5
        scale = self.scales.target[blocks.kind].to(invariants.dtype) ** 2 * (2 * blocks.degree + 1)
        weights = self.trace(blocks).flatten(1) * scale[:, None]
        parts = zip(blocks.groups, by_rows(blocks, invariants), by_group(blocks, weights), strict=True)
        found = [
            z_g @ group.of_shell_pairs(w_g.T) * blocks.amplitude[group.rows][:, None] ** 2 for group, z_g, w_g in parts
        ]
        if not self.centred:
            return found
        squares = [self._centre(blocks, group).to(t.dtype) ** 2 for group, t in zip(blocks.groups, found, strict=True)]
        return [t + g.of_shell_pairs(q[None]) for t, g, q in zip(found, blocks.groups, squares, strict=True)]

    def _centre(self, blocks: Blocks, group: Group) -> Tensor:
        return centre(blocks, self.mean)[group.paths]

    def _generic(self, group: Group, features: Tensor, weights: Tensor) -> Tensor:
        parts = []
        wanted = self.hidden.slices
        pieces = dict(zip(wanted, features.split_with_sizes([2 * i.l + 1 for i in wanted], dim=1), strict=True))
        for (irrep, _, paths), w in zip(group.segments, by_segment(group, weights), strict=True):
            n_paths = paths.stop - paths.start
            if irrep in wanted:
                parts.append((pieces[irrep] @ w.T).transpose(1, 2).reshape(len(features), -1))
            else:
                parts.append(features.new_zeros(len(features), n_paths * (2 * irrep.l + 1)))
        return torch.cat(parts, dim=1)


# ``split`` instead of slices: its gradient is one concatenation, not a sum of padded tensors.


def by_group(blocks: Blocks, per_path: Tensor) -> tuple[Tensor, ...]:
    """Divide (n_paths, ...) among the groups."""
    return per_path.split_with_sizes([g.paths.stop - g.paths.start for g in blocks.groups])


def signed(blocks: Blocks, both: Tensor) -> Tensor:
    """Return weights (n_paths, 2, n_out) of paths and transposes as (n_paths, 2 n_out), the latter with their sign."""
    forward, backward = both.unbind(1)
    return torch.cat([forward, blocks.sign[:, None] * backward], dim=1)


def by_rows(blocks: Blocks, per_row: Tensor) -> tuple[Tensor, ...]:
    """Divide (n_rows, ...) among the groups."""
    return per_row.split_with_sizes([g.rows.stop - g.rows.start for g in blocks.groups])


def by_segment(group: Group, per_path: Tensor) -> tuple[Tensor, ...]:
    """Divide (n_paths, ...) of a group among its irreps."""
    return per_path.split_with_sizes([paths.stop - paths.start for _, _, paths in group.segments])

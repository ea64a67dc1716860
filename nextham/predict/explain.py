"""What a network does: whom atoms listen to, where the correction lies, and where it errs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nextham.core import BlockMatrix, LCAOSystem
from nextham.model.attention import Attention
from nextham.model.batch import Batch
from nextham.model.network import NextHAM
from nextham.physics.align import aligned
from nextham.physics.errors import moduli
from nextham.predict.one import with_correction

DISTANCES_ANG: Final = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0)  # borders of the bins
SIZES_MEV: Final = (0.01, 0.1, 1.0, 10.0, 100.0)  # of the elements of H - H0
_LETTERS: Final = "spdfghi"
_COLUMNS: Final = ("elements", "size_mev", "error_mev", "h0_error_mev")


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Sums over structures; sizes and errors are half the sum over the spin blocks, |h_0| where there is no more."""

    n_atoms: int
    heard: NDArray[np.float64]  # (n_blocks, n_distances) Σ α over edges, mean of the heads
    sums: dict[str, dict[str, NDArray[np.float64]]]  # breakdown: label: elements, Σ|correction|, Σ|error|, Σ|H0 error|
    labelled: bool  # whether every structure has a Hamiltonian to compare with

    def attention(self) -> dict[str, list[float]]:
        """Return for each distance, of each block, the share of an atom's attention; the rest goes to nobody."""
        shares = self.heard / self.n_atoms
        labels = _bins(DISTANCES_ANG, "Å")
        return {label: shares[:, k].tolist() for k, label in enumerate(labels) if shares[:, k].any()}

    def rows(self, breakdown: str) -> dict[str, dict[str, float]]:
        """Return for each label the elements, means in meV, and the share of the whole correction in percent."""
        table = self.sums[breakdown]
        whole = sum(row[1] for row in table.values())
        found = {}
        for label, row in table.items():
            means = dict(zip(_COLUMNS[1:], (1e3 * row[1:] / row[0]).tolist(), strict=True))
            kept = means if self.labelled else {"size_mev": means["size_mev"]}
            share = 100 * row[1] / whole if whole else 0.0
            found[label] = {"elements": float(row[0]), "share_percent": float(share), **kept}
        return found

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"attention": self.attention(), **{name: self.rows(name) for name in self.sums}}


def explain(systems: Iterable[LCAOSystem], network: NextHAM) -> Explanation:
    """Predict structures and add up what the network did.

    Args:
        systems: single structures with what the network reads, and with H for errors.
        network: ready to predict.

    Raises:
        InputError: if the network cannot read a system.
    """
    n_atoms, labelled = 0, True
    heard = np.zeros((len(network.blocks), len(DISTANCES_ANG) + 1))
    sums: dict[str, dict[str, NDArray[np.float64]]] = {}
    for system in systems:
        predicted, batch, alphas = _predicted(system, network)
        of_edge = np.digitize(batch.length.double().numpy(), DISTANCES_ANG)
        for block, alpha in enumerate(alphas):
            heard[block] += np.bincount(of_edge, weights=alpha, minlength=heard.shape[1])
        n_atoms += len(system.numbers)
        labelled &= "hamiltonian" in system.operators
        for name, (labels, code, table) in _broken_down(system, predicted).items():
            for k in np.unique(code):
                rows = sums.setdefault(name, {label: np.zeros(len(_COLUMNS)) for label in labels})
                rows[labels[k]] += table[:, code == k].sum(axis=1)
    kept = {name: {label: row for label, row in rows.items() if row[0]} for name, rows in sums.items()}
    if not labelled:
        kept.pop("size", None)
    return Explanation(n_atoms, heard, kept, labelled)


def _predicted(system: LCAOSystem, network: NextHAM) -> tuple[LCAOSystem, Batch, list[NDArray[np.float64]]]:
    """Return the prediction, its batch, and of each block the α of each edge, mean of the heads."""
    weight = next(network.parameters())
    batch = Batch.build(system, network.vocabulary, settings=network.settings, dtype=weight.dtype, labels=False)
    found: dict[nn.Module, list[NDArray[np.float64]]] = {}

    def note(module: nn.Module, _: Any, output: tuple[Tensor, Tensor]) -> None:
        found.setdefault(module, []).append(output[0].double().mean(dim=1).cpu().numpy())

    modules = [module for module in network.modules() if isinstance(module, Attention)]
    hooks = [module.register_forward_hook(note) for module in modules]
    try:
        with torch.no_grad():
            rows = network(batch.to(weight.device), traces=False).correction.cpu().numpy()
    finally:
        for hook in hooks:
            hook.remove()
    alphas = [np.mean(found[module], axis=0) for module in modules]  # magnetic crystals are seen in both times
    return with_correction(system, rows, network.settings), batch, alphas


def _broken_down(
    system: LCAOSystem, predicted: LCAOSystem
) -> dict[str, tuple[list[str], NDArray[np.int64], NDArray[np.float64]]]:
    """Return for each breakdown its labels, the label of each value, and what is added up (4, n_values)."""
    overlap, h = system.operator("overlap"), predicted.operator("hamiltonian")
    weight = system.pairs.multiplicity[overlap.pair_of_value].astype(np.float64)

    def size(matrix: BlockMatrix) -> NDArray[np.float64]:
        """Return half the sum over the spin blocks after the best shift, eV."""
        return np.asarray(moduli(aligned(matrix, overlap)[0])[2].sum(axis=0) / 2)

    correction = size(h - predicted.operator("h0")) if "h0" in predicted.operators else size(h)
    nothing = np.zeros_like(correction)
    error, prior = nothing, nothing
    if "hamiltonian" in system.operators:
        error, prior = size(h - system.operator("hamiltonian")), size(system.correction)
    table = weight * np.stack([np.ones_like(correction), correction, error, prior])
    distance = np.where(system.pairs.onsite, 0, 1 + np.digitize(system.distances, DISTANCES_ANG))
    shells, shell_pairs = _shell_pairs(overlap)
    return {
        "distance": (["on-site", *_bins(DISTANCES_ANG, "Å")], distance[overlap.pair_of_value], table),
        "shells": (shells, shell_pairs, table),
        "size": (_bins(SIZES_MEV, "meV"), np.digitize(1e3 * prior, SIZES_MEV), table),
    }


def _shell_pairs(matrix: BlockMatrix) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of pairs of l, the smaller first, and which one each value belongs to."""
    n = len(_LETTERS)
    code = np.zeros(matrix.values.shape[1], dtype=np.int64)
    for group in matrix.groups:
        l_i, l_j = (np.repeat(ls, [2 * l + 1 for l in ls]) for ls in map(matrix.basis.shells, group.elements))
        low, high = np.minimum.outer(l_i, l_j), np.maximum.outer(l_i, l_j)
        code[group.index] = low * n + high
    return [f"{a}-{b}" for a in _LETTERS for b in _LETTERS], code


def _bins(borders: tuple[float, ...], unit: str) -> list[str]:
    """Return names of bins.

    >>> _bins((2.0, 4.0), "Å")
    ['0-2 Å', '2-4 Å', '> 4 Å']
    """
    starts = (0.0, *borders[:-1])
    return [*(f"{a:g}-{b:g} {unit}" for a, b in zip(starts, borders, strict=True)), f"> {borders[-1]:g} {unit}"]

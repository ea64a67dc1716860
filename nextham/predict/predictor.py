"""One checkpoint, or several whose mean is predicted and whose spread says how sure they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from nextham.core import LCAOSystem, Provenance, symbol
from nextham.exceptions import InputError
from nextham.model import checkpoint
from nextham.model.extend import with_unseen
from nextham.model.network import NextHAM
from nextham.model.settings import ModelSettings
from nextham.model.vocabulary import Vocabulary
from nextham.physics.align import shift_of
from nextham.physics.nearnull import FLOOR
from nextham.predict.one import correction, cost_of, with_correction

_GIB: Final = 2**30
_MOST_ORBITALS: Final = 1200  # S(k) of larger cells takes longer than everything else


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What is predicted of one structure."""

    system: LCAOSystem  # with overlap, h0 and the predicted hamiltonian
    uncertainty_mev: float | None  # spread of the checkpoints, None of a single one
    damped: bool  # whether the correction was damped in near-null directions of S(k)
    unseen: tuple[str, ...] = ()  # elements that were not trained on


class Predictor:
    """Networks ready to predict."""

    def __init__(
        self,
        checkpoints: Sequence[str | Path],
        *,
        device: str = "cpu",
        max_memory_gb: float | None = None,
        other_species: bool = False,
        unseen_elements: bool = False,
        floor: float = FLOOR,
    ) -> None:
        """Load the checkpoints.

        Args:
            checkpoints: folders of checkpoints that correct the same H0.
            device: "auto" (a GPU if there is one), "cpu" or "cuda".
            max_memory_gb: see :func:`nextham.predict.one.predicted`.
            other_species: whether to predict with pseudopotentials or orbitals that were not trained on.
            unseen_elements: whether to predict elements that were not trained on, see
                :func:`nextham.model.extend.with_unseen`.
            floor: of :func:`nextham.physics.nearnull.damped`, which is done for cells of up to 1,200 orbitals (it
                solves S(k)) and for networks that learn the correction; 0 leaves it out.

        Raises:
            InputError: if one is damaged, they do not belong together, or there is no such device.
        """
        if not checkpoints:
            raise InputError("name a checkpoint to predict with")
        self.paths = [str(path) for path in checkpoints]
        loaded = [checkpoint.load(path) for path in checkpoints]
        self.device = _device(device)
        self.networks = [network.to(self.device) for network, _ in loaded]
        self.cards = [card for _, card in loaded]
        self.max_memory_gb, self.other_species, self.floor = max_memory_gb, other_species, floor
        self.unseen_elements = unseen_elements
        for path, card in zip(self.paths[1:], self.cards[1:], strict=True):
            self.cards[0].check_h0(card.h0_definition, path)
            if (card.settings.target, card.settings.delta) != (self.settings.target, self.settings.delta):
                raise InputError(
                    f"{path} and {self.paths[0]} learn different things (model.target, model.delta); choose like ones"
                )

    @property
    def settings(self) -> ModelSettings:
        """Settings of the first checkpoint; all predict the same quantity."""
        return self.cards[0].settings

    @property
    def operators(self) -> tuple[str, ...]:
        """What is read of a structure."""
        return tuple(dict.fromkeys(name for card in self.cards for name in card.settings.operators))

    def check_h0(self, h0_definition: str, where: str) -> None:
        """Raise InputError unless an H0 is the one that the checkpoints correct."""
        self.cards[0].check_h0(h0_definition, where)

    def check(self, system: LCAOSystem) -> None:
        """Refuse a structure that the checkpoints cannot know; operators are not looked at.

        Raises:
            InputError: for an element, shells, or (if their checksums are known) species files not trained on.
        """
        for path, card in zip(self.paths, self.cards, strict=True):
            Vocabulary(card.basis | system.basis if self.unseen_elements else card.basis).check(system)
            if not self.other_species:
                _check_species(system.meta[0], card.species, path)

    def __call__(self, system: LCAOSystem) -> Prediction:
        """Predict one structure that has S and H0.

        Each checkpoint is right up to its own shift μS, which is taken out against the first before they are
        averaged.

        Raises:
            InputError: if a checkpoint cannot read the system.
        """
        self.check(system)
        self.check_h0(system.meta[0].h0_definition, system.ids[0])
        networks = self._networks(system)
        first, *others = (correction(system, n, max_memory_gb=self.max_memory_gb) for n in networks)
        if not np.isfinite(first).all() or not all(np.isfinite(other).all() for other in others):
            raise InputError(
                f"the correction of {system.ids[0]} is not finite: a checkpoint is damaged or the structure is far "
                "from all that it was trained on"
            )
        rows, spread = _statistics(system, first, others) if others else (first, None)
        floor = self.floor if self.settings.delta and system.n_orb.sum() <= _MOST_ORBITALS else 0.0
        made = with_correction(system, rows, self.settings, floor=floor)
        return Prediction(made, spread, damped=floor > 0, unseen=self.unseen(system))

    def unseen(self, system: LCAOSystem) -> tuple[str, ...]:
        """Return the elements of a system that a checkpoint was not trained on."""
        return tuple(symbol(z) for z in system.basis if any(z not in card.basis for card in self.cards))

    def _networks(self, system: LCAOSystem) -> list[NextHAM]:
        """Return the networks, for a system with unseen elements ones that can name them."""
        if not self.unseen(system):
            return self.networks
        return [with_unseen(network, system) for network in self.networks]

    def cost(self, system: LCAOSystem) -> dict[str, Any]:
        """Return sizes and memory of a structure, whose operators need not be there, as JSON values."""
        found = [cost_of(system, network) for network in self._networks(system)]
        cost, n_edges = max(found, key=lambda each: each[0].plain(each[1]))
        limit = self.max_memory_gb
        chunk = n_edges if limit is None else cost.chunk(limit, on_cpu=self.device.type == "cpu")
        plain = n_edges <= chunk
        return {
            "formula": system.structure().formula,
            "atoms": len(system.numbers),
            "orbitals": int(system.n_orb.sum()),
            "edges": n_edges,
            "edges_at_once": min(n_edges, chunk),
            "network_memory_gb": round((cost.plain(n_edges) if plain else cost.chunked(chunk)) / _GIB, 3),
        }


def _statistics(
    system: LCAOSystem, first: NDArray[np.float64], others: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], float]:
    """Return the mean of corrections (..., n_values), eV, and their mean standard deviation, meV.

    The deviation is that of a sample, (n - 1); the mean is over every matrix element within the overlap's reach.
    """
    overlap = system.operator("overlap")
    s, weight = overlap.values[0], system.pairs.multiplicity[overlap.pair_of_value].astype(np.float64)
    total, squares = np.zeros_like(first), np.zeros_like(first)
    for other in others:
        difference = np.atleast_2d(other - first).copy()
        difference[0] -= shift_of(difference[0], s, weight) * s
        total += difference.reshape(first.shape)
        squares += difference.reshape(first.shape) ** 2
    n = len(others) + 1
    variance = np.maximum(squares - total**2 / n, 0.0) / (n - 1)
    counted = weight * overlap.support[overlap.pair_of_value]
    deviation = np.sqrt(np.atleast_2d(variance).sum(axis=0))
    return first + total / n, float(1e3 * (counted * deviation).sum() / counted.sum())


def _check_species(meta: Provenance, trained: Mapping[str, Sequence[str]], path: str) -> None:
    """Compare the files of each element with those trained on, where both are known by checksum."""
    for element, own in checkpoint.species_of(meta).items():
        known = trained.get(element, ())
        if known and own not in known:
            raise InputError(
                f"{meta.id} has {element} with {own} (SHA-256), but {path} was trained with {', or '.join(known)}; use "
                "those files, train on these, or predict all the same with --other-species"
            )


def _device(name: str) -> torch.device:
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} is not there ({reason}); try cpu") from None
    return device

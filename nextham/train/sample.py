"""One step's structures: the batch that the network reads and the spectra that the loss needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from nextham.core import LCAOSystem
from nextham.model.batch import Batch, Vocabulary
from nextham.model.on_device import OnDevice
from nextham.train.settings import FitSettings
from nextham.train.spectral import Spectrum


@dataclasses.dataclass(frozen=True)
class Sample(OnDevice):
    """Structures with labels."""

    batch: Batch
    spectra: tuple[Spectrum, ...]  # one per structure, or none


def sampler(vocabulary: Vocabulary, settings: FitSettings) -> Callable[[list[LCAOSystem]], Sample]:
    """Return the function that turns systems with labels into a sample."""
    options = settings.train
    dtype = getattr(torch, options.precision)

    def build(systems: list[LCAOSystem]) -> Sample:
        joined = systems[0] if len(systems) == 1 else LCAOSystem.concat(systems)
        batch = Batch.build(joined, vocabulary, settings=settings.model, dtype=dtype, labels=True)
        if not options.uses_spectra:
            return Sample(batch, ())
        found = [Spectrum.of(s, n_k=options.k_pool, cut_ev=options.p_cut_ev, seed=options.seed) for s in systems]
        return Sample(batch, tuple(found))

    return build

"""One step's structures: the batch that the network reads and the spectra that the loss needs."""

from __future__ import annotations

import dataclasses

import torch

from nextham.core import LCAOSystem
from nextham.model.batch import Batch
from nextham.model.on_device import OnDevice
from nextham.model.vocabulary import Vocabulary
from nextham.train.settings import FitSettings
from nextham.train.spectral import Spectrum


@dataclasses.dataclass(frozen=True)
class Sample(OnDevice):
    """Structures with labels."""

    batch: Batch
    spectra: tuple[Spectrum, ...]  # one per structure, or none where the loss does not look at levels


@dataclasses.dataclass(frozen=True)
class Builder:
    """Makes the parts of samples from systems with labels."""

    vocabulary: Vocabulary
    settings: FitSettings

    def batch(self, system: LCAOSystem) -> Batch:
        """Return what the network reads of one structure."""
        dtype = getattr(torch, self.settings.train.dtype)
        return Batch.build(system, self.vocabulary, settings=self.settings.model, dtype=dtype, labels=True)

    def spectrum(self, system: LCAOSystem) -> Spectrum:
        """Return one structure's eigenvectors."""
        options = self.settings.train
        return Spectrum.of(system, n_k=options.k_pool, cut_ev=options.p_cut_ev, seed=options.seed)

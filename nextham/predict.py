"""Prediction: H0 of a store plus the network's correction, one structure at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from nextham import __version__
from nextham.console import track
from nextham.core import LCAOSystem
from nextham.data.store import Store
from nextham.data.writer import StoreWriter
from nextham.exceptions import InputError
from nextham.model import checkpoint
from nextham.model.batch import Batch
from nextham.model.components import from_rows
from nextham.model.network import NextHAM


def predict(
    store: Store, checkpoint_path: str | Path, *, out: str | Path, ids: Sequence[str], overwrite: bool = False
) -> None:
    """Write a store with the predicted Hamiltonians of some structures; memory holds one structure.

    Raises:
        InputError: if a structure has an element, shells or an H0 definition that the checkpoint does not know.
    """
    network, card = checkpoint.load(checkpoint_path)
    card.check_h0(store.h0_definition, str(store.path))
    if not ids:
        raise InputError("there is no structure to predict; name a subset of the split that is not empty")
    with StoreWriter(out, overwrite=overwrite) as writer:
        for id in track(ids, f"predicting {out}"):
            system = store.read(id, card.settings.operators)
            writer.add(predicted(system, network).without("overlap", "h0"))


def predicted(system: LCAOSystem, network: NextHAM) -> LCAOSystem:
    """Return the system with the predicted Hamiltonian, H0 plus the correction (eV).

    The correction is Hermitian and keeps the time-reversal symmetry of H0. Without delta learning
    the network gives the Hamiltonian itself.
    """
    weight = next(network.parameters())
    batch = Batch.build(system, network.vocabulary, settings=network.settings, dtype=weight.dtype, labels=False)
    with torch.no_grad():
        rows = network(batch.to(weight.device)).correction.cpu().numpy()
    h = system.operator("overlap").with_values(from_rows(rows))
    if network.settings.delta:
        h = system.operator("h0") + h
    return system.with_operator("hamiltonian", h.values).with_meta(
        engine="nextham", engine_version=__version__, converged=None, scf_steps=None, scf_drho=None, wall_time_s=None
    )

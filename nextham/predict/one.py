"""One structure through one network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nextham import __version__
from nextham.core import LCAOSystem
from nextham.core.blocks import block_offsets
from nextham.exceptions import InputError
from nextham.model.batch import Batch
from nextham.model.chunked import Cost, correction_in_chunks
from nextham.model.components import from_rows
from nextham.model.network import NextHAM
from nextham.model.settings import ModelSettings
from nextham.physics.nearnull import damped


def predicted(
    system: LCAOSystem, network: NextHAM, *, max_memory_gb: float | None = None, floor: float = 0.0
) -> LCAOSystem:
    """Return the system with the predicted Hamiltonian, H0 plus the correction (eV).

    The correction is Hermitian and keeps the time-reversal symmetry of H0. Without delta learning
    the network gives the Hamiltonian itself.

    Args:
        system: one structure with S and H0.
        network: what corrects H0.
        max_memory_gb: memory beside the system's own; what does not fit at once is evaluated in chunks, which
            gives the same to rounding. None evaluates at once.
        floor: of the damping in near-null directions of S(k); 0 leaves the network's correction as it is.

    Raises:
        InputError: if the network cannot read the system, or there is not enough memory for any chunk.
    """
    rows = correction(system, network, max_memory_gb=max_memory_gb)
    return with_correction(system, rows, network.settings, floor=floor)


def correction(system: LCAOSystem, network: NextHAM, *, max_memory_gb: float | None = None) -> NDArray[np.float64]:
    """Return what the network predicts, (n_rows, n_values) eV: of the correction, or without delta learning of H."""
    weight = next(network.parameters())
    chunk = None if max_memory_gb is None else _chunk(system, network, max_memory_gb)
    batch = Batch.build(system, network.vocabulary, settings=network.settings, dtype=weight.dtype, labels=False)
    if chunk is not None and batch.n_edges > chunk:
        return np.asarray(correction_in_chunks(network, batch, chunk_edges=chunk).numpy())
    with torch.no_grad():
        return np.asarray(network(batch.to(weight.device), traces=False).correction.cpu().numpy())


def with_correction(
    system: LCAOSystem, rows: NDArray[np.float64], settings: ModelSettings, *, floor: float = 0.0
) -> LCAOSystem:
    """Return the system with the predicted Hamiltonian of the network's rows (n_rows, n_values), eV.

    A correction is damped in near-null directions of S(k), see :func:`nextham.physics.nearnull.damped`, and
    added to H0. Without delta learning the rows are the Hamiltonian itself.
    """
    h = system.operator("overlap").with_values(from_rows(rows))
    if settings.delta:
        h = system.operator("h0") + damped(system, h, floor=floor)
    return system.with_operator("hamiltonian", h.values).with_meta(
        engine="nextham",
        engine_version=__version__,
        converged=None,
        scf_steps=None,
        scf_drho=None,
        wall_time_s=None,
        scf_wall_s=None,
        scf_cpu_s=None,
    )


def cost_of(system: LCAOSystem, network: NextHAM) -> tuple[Cost, int]:
    """Return the memory that a structure needs and its number of edges; operators are not looked at.

    Pairs without overlap carry no edge, but count here where the system lists them.
    """
    near = ~system.pairs.onsite & (system.distances < network.settings.correction_cutoff_ang)
    n_edges = 2 * int(near.sum())
    n_values = int(block_offsets(system.basis, system.numbers, system.pairs)[-1])
    itemsize = next(network.parameters()).element_size()
    return Cost.of(
        network.settings, n_atoms=len(system.numbers), n_edges=n_edges, n_values=n_values, itemsize=itemsize
    ), n_edges


def _chunk(system: LCAOSystem, network: NextHAM, max_memory_gb: float) -> int:
    """Return how many edges may be in work at once.

    Raises:
        InputError: if not even one atom's neighbours may be.
    """
    cost, n_edges = cost_of(system, network)
    on_cpu = next(network.parameters()).device.type == "cpu"
    chunk = cost.chunk(max_memory_gb, on_cpu=on_cpu)
    least = min(n_edges, 2 * n_edges // max(1, len(system.numbers)))
    if chunk < least:
        needed = cost.chunked(least) / 2**30
        raise InputError(
            f"{system.ids[0]} ({len(system.numbers)} atoms) needs about {needed:.2g} GB for the network, but "
            f"max_memory_gb is {max_memory_gb:g}: raise it (--max-memory-gb)"
        )
    return max(1, chunk)

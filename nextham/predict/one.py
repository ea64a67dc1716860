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
from nextham.model.network import NextHAM


def predicted(system: LCAOSystem, network: NextHAM, *, max_memory_gb: float | None = None) -> LCAOSystem:
    """Return the system with the predicted Hamiltonian, H0 plus the correction (eV).

    The correction is a real spin scalar, so that the prediction is Hermitian and keeps the
    time-reversal symmetry of H0.

    Args:
        system: one structure with S and H0.
        network: what corrects H0.
        max_memory_gb: memory beside the system's own; what does not fit at once is evaluated in chunks, which
            gives the same to rounding. None evaluates at once.

    Raises:
        InputError: if the network cannot read the system, or there is not enough memory for any chunk.
    """
    return with_correction(system, correction(system, network, max_memory_gb=max_memory_gb))


def correction(system: LCAOSystem, network: NextHAM, *, max_memory_gb: float | None = None) -> NDArray[np.float64]:
    """Return the network's correction (n_values,), eV."""
    weight = next(network.parameters())
    chunk = None if max_memory_gb is None else _chunk(system, network, max_memory_gb)
    batch = Batch.build(system, network.vocabulary, settings=network.settings, dtype=weight.dtype, labels=False)
    if chunk is not None and batch.n_edges > chunk:
        return np.asarray(correction_in_chunks(network, batch, chunk_edges=chunk).numpy())
    with torch.no_grad():
        return np.asarray(network(batch.to(weight.device)).correction.cpu().numpy())


def with_correction(system: LCAOSystem, found: NDArray[np.float64]) -> LCAOSystem:
    """Return the system with H0 plus a correction (n_values,) eV as its Hamiltonian."""
    h = np.array(system.operator("h0").values)
    h[0] += found
    return system.with_operator("hamiltonian", h).with_meta(
        engine="nextham", engine_version=__version__, converged=None, scf_steps=None, scf_drho=None, wall_time_s=None
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

"""What depends on the device: how work is cut, how much memory there is, and what running out of it means."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from nextham.dft.engine import Cause, RunError


@dataclasses.dataclass(frozen=True)
class Cut:
    """How work is cut into pieces."""

    edge_bohr: float  # of the boxes of grid points
    tile_orbitals: int  # rows of Φ in one product: the diagonal tiles are computed in full, half of them in vain
    batch_values: int  # values of Φ of the boxes that are done at once; boxes with more are done alone
    xc_points: int  # grid points whose exchange and correlation is computed at once
    fermi_trials: int  # Fermi levels that are tried at once


# A core works best on what stays in its cache, an accelerator on few large calls: each costs some 10 µs to start.
_CPU: Final = Cut(edge_bohr=1.6, tile_orbitals=96, batch_values=0, xc_points=2**15, fermi_trials=1)
_ACCELERATOR: Final = Cut(edge_bohr=2.0, tile_orbitals=512, batch_values=2**24, xc_points=2**21, fermi_trials=15)
_LACKING: Final = ("ALLOC_FAILED", "can't allocate memory", "out of memory")


def cut_of(device: torch.device, edge_bohr: float | None = None) -> Cut:
    """Return how work is cut on a device, with another edge of the boxes where one is given.

    >>> cut_of(torch.device("cpu"), 1.5)
    Cut(edge_bohr=1.5, tile_orbitals=96, batch_values=0, xc_points=32768, fermi_trials=1)
    """
    cut = _CPU if device.type == "cpu" else _ACCELERATOR
    return dataclasses.replace(cut, edge_bohr=edge_bohr or cut.edge_bohr)


def free_bytes(device: torch.device) -> float | None:
    """Return the device memory that this process can have; None where memory is the machine's, or not known."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # kept by torch for the next use
    return float(free + held)


@contextmanager
def computing(device: torch.device, *, id: str) -> Iterator[None]:
    """Compute one structure: float32 products in full, and memory that runs out is an error of that structure.

    TensorFloat-32 has 10 bits, so that a product of changes would be wrong by 1e-3 of them. Torch leaves it off unless
    someone asks for it; what the process had is put back.

    Raises:
        RunError: where the memory of the device or of the machine runs out.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    lacking = ""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        lacking = str(error).splitlines()[0] if str(error) else "no more memory"
    except RuntimeError as error:  # the processor's allocator and the libraries of CUDA tell it in their own words
        if not any(words in str(error) for words in _LACKING):
            raise
        lacking = str(error).splitlines()[0]
    finally:
        torch.set_float32_matmul_precision(before)
    if lacking:  # outside of the handler, so that what the failed frames hold is free again
        if device.type == "cuda":
            torch.cuda.empty_cache()
        raise RunError(
            Cause.OUT_OF_MEMORY,
            f"{id}: {device} ran out of memory ({lacking.rstrip('.')}); use fewer processes on it, a smaller "
            "orbital_memory_gb, fewer k points (kspacing_inv_bohr), or device: cpu",
        )

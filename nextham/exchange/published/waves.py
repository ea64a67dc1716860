"""The wave functions in a published file against its blocks: an independent word on order, spin layout and R."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import LCAOSystem
from nextham.dft.engine import Cause, RunError
from nextham.exchange.published.layout import N_PADDED, Waves
from nextham.physics.bloch import spinor_bloch_sum

_TOLERANCE: Final = 0.02  # far tails are cut at 8 Å; another order, spin layout or R gives 0.1 to 100
_MOST_ORBITALS: Final = 4000  # matrices of k are dense


def check_waves(system: LCAOSystem, waves: Waves, places: Mapping[int, NDArray[np.int64]], where: str) -> None:
    """Check that the levels below E_F + 10 eV at the first k point are orthonormal and do not mix: C†SC = 1, C†HC = ε.

    Far tails that the file leaves out disturb both a little; that spins are not exchanged is seen by comparison.

    Args:
        system: on the file's own labels.
        waves: its wave functions.
        places: element: where its orbitals, in house order, stand among the 27 padded ones.
        where: what the file is called in the error.

    Raises:
        RunError: if they are not.
    """
    n_orb = int(system.n_orb.sum())
    if n_orb > _MOST_ORBITALS:
        return
    n_low = max(1, min(waves.n_low, waves.n_bands))
    padded = waves.coefficients[:n_low].numpy().astype(np.complex128).reshape(n_low, len(system.numbers), 2, N_PADDED)
    parts = [padded[:, atom][:, :, places[int(z)]] for atom, z in enumerate(system.numbers)]
    c = np.concatenate(parts, axis=2).reshape(n_low, 2 * n_orb)  # (n_low, spin and orbital)
    k = waves.k[:1]
    overlap, h = (spinor_bloch_sum(system, name, k)[0] for name in ("overlap", "hamiltonian"))
    off = float(np.abs(c.conj() @ overlap @ c.T - np.eye(n_low)).max())
    mixed, largest = _mixing(h, c)
    if not off <= _TOLERANCE or not mixed <= _TOLERANCE * largest:
        raise RunError(
            Cause.INCONSISTENT,
            f"{where}: its wave functions are not those of its blocks (at k = {np.round(k[0], 4).tolist()} C†SC "
            f"differs from 1 by {off:.1e}, and C†HC mixes levels by {mixed:.1e} eV); "
            "blocks are missing or of another run: convert the run again",
        )
    if _mixing(h, np.roll(c, n_orb, axis=1))[0] < mixed:
        raise RunError(
            Cause.INCONSISTENT,
            f"{where}: its wave functions fit its blocks better with ↑ and ↓ exchanged; spins are not where the "
            "published converter puts them: convert the run again",
        )


def _mixing(h: NDArray[np.complex128], c: NDArray[np.complex128]) -> tuple[float, float]:
    """Return the largest modulus off and on the diagonal of C†HC, which levels make diagonal."""
    levels = c.conj() @ h @ c.T
    diagonal = np.diag(np.diag(levels))
    return float(np.abs(levels - diagonal).max()), float(np.abs(diagonal).max())

"""A process of its own for pyatb: numbers in, numbers out, by files; the rest of nextham never imports it.

pyatb is licensed under the GPL, starts MPI and writes ``Out/`` into the current folder when it is imported: run this
file in a scratch folder. Without arguments it imports pyatb and ends; with IN.npz and OUT.npz it computes.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np
import scipy.sparse

_LORENTZIAN: Final = 1  # pyatb's number for the broadening


def matrix(file: Any, name: str, kind: str) -> Any:
    """Return one operator as pyatb holds it."""
    from pyatb.tb.multixr import multiXR

    n, cells = int(file["n_basis"]), np.asarray(file["cells"])
    parts = tuple(file[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
    held = multiXR(kind)
    held.set_XR(len(cells), cells, n, scipy.sparse.csc_matrix(parts, shape=(len(cells), n * (n + 1) // 2)))
    return held


def compute(file: Any) -> dict[str, Any]:
    """Return levels (n_k, n_bands) eV at the given k and σ_xx(ω) of each Hamiltonian."""
    from pyatb.berry.optical_conductivity import Optical_Conductivity
    from pyatb.tb import tb

    overlap = matrix(file, "overlap", "S")
    position = [matrix(file, f"r_{axis}", f"r_{axis}") for axis in "xyz"]
    low, high, step, broadening = file["omega"].tolist()
    found: dict[str, Any] = {}
    for name in file["names"].tolist():
        system = tb(4, 1.0, np.asarray(file["cell"]))
        system.set_solver_HSR(matrix(file, name, "H"), overlap, isSparse=True)
        system.set_solver_rR(*position, isSparse=True)
        found[f"levels_{name}"] = system.tb_solver.diago_H_eigenvaluesOnly(np.asarray(file["k"]))
        if not file["mesh"].all():
            continue
        sigma, _ = Optical_Conductivity(system).calculate_optical_conductivity(
            occ_band=int(file["n_occupied"]),
            omega=[low, high],
            domega=step,
            eta=broadening,
            grid=np.asarray(file["mesh"]),
            method=_LORENTZIAN,
        )
        found[f"sigma_{name}"] = np.asarray(sigma)[0]
    return found


def main(words: list[str]) -> None:
    """Import pyatb, and compute if files are named."""
    import pyatb  # noqa: F401  # whatever it needs is missing now or never

    if not words:
        return
    source, target = words
    with np.load(source, allow_pickle=False) as file:
        found = compute(file)
    np.savez(target, **found)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Files in the layout of the published converters, made here from a system: plain loops, nothing of the reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.linalg
import torch

from nextham.core import LCAOSystem, symbol
from nextham.physics.bloch import spinor_bloch_sum
from nextham.physics.spin import to_spin_blocks
from nextham.units import RYDBERG_EV

PADDED = [(l, zeta) for l, count in ((0, 4), (1, 2), (2, 2), (3, 1)) for zeta in range(count)]
THEIR_M = {0: [0], 1: [1, -1, 0], 2: [0, 2, -2, 1, -1], 3: [0, 1, -1, 2, -2, 3, -3]}  # x y z; z² x²-y² xy xz yz; ...
ROWS = [(l, zeta, m) for l, zeta in PADDED for m in THEIR_M[l]]
K = np.array([[0.13, 0.21, -0.37]])


def places(system: LCAOSystem, atom: int) -> list[int]:
    """Where each house orbital of an atom stands among the 27."""
    found, count = [], dict.fromkeys(range(4), 0)
    for l in system.basis.shells(int(system.numbers[atom])):
        found += [ROWS.index((l, count[l], m)) for m in range(-l, l + 1)]
        count[l] += 1
    return found


def directed(system: LCAOSystem) -> dict[tuple[int, int, tuple[int, int, int]], dict[str, np.ndarray]]:
    """Spinor blocks (2, n_i, 2, n_j) of every (i, j, R) and (j, i, -R)."""
    blocks: dict = {}
    for name in system.operators:
        matrix = system.operator(name)
        spins = to_spin_blocks(matrix.values)
        for p, ((i, j), R) in enumerate(zip(system.pairs.ij.tolist(), system.pairs.R.tolist(), strict=True)):
            n_i, n_j = system.n_orb[i], system.n_orb[j]
            part = spins[:, matrix.block_ptr[p] : matrix.block_ptr[p + 1]].reshape(2, 2, n_i, n_j).transpose(0, 2, 1, 3)
            blocks.setdefault((i, j, tuple(R)), {})[name] = part
            blocks.setdefault((j, i, tuple(-r for r in R)), {})[name] = part.transpose(2, 3, 0, 1).conj()
    return blocks


def published_fields(
    system: LCAOSystem,
    *,
    rydberg: float = 13.6056980659,
    positions: np.ndarray | None = None,
    cutoff: float = 8.0,
    name: str = "case-x",
) -> list:
    """The 22 fields; ``positions`` are those around which neighbours are sought, whatever the blocks belong to."""
    positions = system.positions if positions is None else positions
    vectors, ends, padded, names = [], [], [], []
    for (i, j, R), block in sorted(directed(system).items()):
        d = positions[j] + np.array(R) @ system.cells[0] - positions[i]
        if np.linalg.norm(d) >= cutoff:
            continue
        rows, columns = places(system, i), places(system, j)
        here = np.zeros((4, 2, 27, 2, 27), dtype=np.complex64)
        for k, operator in enumerate(("hamiltonian", "h0", "overlap")):
            unit = 1.0 if operator == "overlap" else RYDBERG_EV
            view = np.zeros((2, 27, 2, 27), dtype=np.complex128)
            view[np.ix_(range(2), rows, range(2), columns)] = block[operator] / unit
            here[k] = view
        here[3][np.ix_(range(2), rows, range(2), columns)] = 1
        padded.append(here.reshape(4, 54, 54))
        vectors.append(d)
        ends.append((i, j))
        names.append((symbol(int(system.numbers[i])), symbol(int(system.numbers[j]))))
    stacked = torch.from_numpy(np.stack(padded))
    h, h0, overlap = (stacked[:, k].clone() for k in range(3))
    correction = h - h0
    n_bands, coefficients = waves(system)
    nothing = torch.zeros(1)
    edges = torch.tensor(ends)
    return [
        f"{name}.pth",
        torch.tensor(system.cells[0], dtype=torch.float32),
        torch.tensor(positions, dtype=torch.float32),
        n_bands,
        torch.tensor(5),
        torch.tensor(1),
        torch.tensor(K),
        coefficients,
        *[nothing] * 4,
        torch.tensor(np.array(vectors), dtype=torch.float32),
        edges[:, 0],
        edges[:, 1],
        names,
        name,
        nothing,
        h0 * rydberg,
        overlap,
        stacked[:, 3].real.to(torch.float32),
        correction * rydberg,
    ]


def waves(system: LCAOSystem) -> tuple[int, torch.Tensor]:
    """Number of bands and padded eigenvectors at ``K``."""
    h, s = (spinor_bloch_sum(system, name, K)[0] for name in ("hamiltonian", "overlap"))
    vectors = scipy.linalg.eigh(h, s)[1].T  # (n_bands, spin and orbital)
    n, start = int(system.n_orb.sum()), np.cumsum(system.n_orb) - system.n_orb
    out = np.zeros((len(vectors), len(system.numbers), 2, 27), dtype=complex)
    for atom in range(len(system.numbers)):
        for a, place in enumerate(places(system, atom)):
            for spin in range(2):
                out[:, atom, spin, place] = vectors[:, spin * n + start[atom] + a]
    return len(vectors), torch.from_numpy(out.reshape(len(vectors), -1).astype(np.complex64))


def write(fields: object, path: Path) -> Path:
    torch.save(fields, path)
    return path

"""Plain computations of levels and their errors: dense matrices from blocks, scipy's eigenproblem, loops."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.linalg
import seekpath
from bench_oracle import Blocks, directed, spinor

from nextham.core import BlockMatrix, LCAOSystem

GAMMA = (0.0, 0.0, 0.0)


def mesh_4() -> list[tuple[float, float, float]]:
    return [(a / 4, b / 4, c / 4) for a, b, c in itertools.product(range(4), repeat=3)]


def path_of(system: LCAOSystem, spacing: float) -> list[tuple[float, ...]]:
    crystal = (system.cells[0], system.positions @ np.linalg.inv(system.cells[0]), system.numbers)
    found = seekpath.get_explicit_k_path_orig_cell(crystal, reference_distance=spacing)
    return [tuple(k) for k in found["explicit_kpoints_rel"]]


class Dense:
    """Spinor matrices at k, added up block by block."""

    def __init__(self, system: LCAOSystem, *, scalar: bool = False) -> None:
        self.system, self.scalar = system, scalar
        self.start = np.concatenate([[0], np.cumsum(system.n_orb)])
        self.overlap = directed(system.operator("overlap"))

    def at(self, blocks: Blocks, k: tuple[float, ...]) -> np.ndarray:
        n = int(self.start[-1])
        full = np.zeros((2, n, 2, n), dtype=complex)
        for (i, j, R), four in blocks.items():
            block = spinor(four).reshape(2, four.shape[1], 2, four.shape[2])
            if self.scalar:
                mean = (four[0] + four[3]) / 2
                block = np.zeros_like(block)
                block[0, :, 0] = block[1, :, 1] = mean
            rows, columns = (slice(self.start[a], self.start[a + 1]) for a in (i, j))
            full[:, rows, :, columns] += np.exp(2j * np.pi * np.dot(k, R)) * block
        return full.reshape(2 * n, 2 * n)

    def levels(self, matrix: BlockMatrix, ks: list[tuple[float, ...]]) -> np.ndarray:
        blocks = directed(matrix)
        return np.array(
            [scipy.linalg.eigh(self.at(blocks, k), self.at(self.overlap, k), eigvals_only=True) for k in ks]
        )


def within(levels: np.ndarray, low: float, high: float) -> list[tuple[int, int]]:
    return [(q, b) for q, b in itertools.product(*map(range, levels.shape)) if low <= levels[q, b] <= high]


def median(values: list[float]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def dos_distance(predicted: np.ndarray, true: np.ndarray, low: float, high: float) -> float:
    """∫ |N_P - N_H| dε over the window per reference level, step by step between all levels."""
    p, h = predicted.ravel(), true.ravel()
    steps = sorted({low, high, *(float(x) for x in np.concatenate([p, h]) if low < x < high)})
    area = sum(
        (b - a) * abs(int((p < (a + b) / 2).sum()) - int((h < (a + b) / 2).sum())) for a, b in itertools.pairwise(steps)
    )
    return area / len(within(true, low, high))


def lonely(predicted: list[float], true: list[float], low: float, high: float) -> int:
    """Going up, each predicted level takes the lowest free reference level within 0.3 eV; count those without."""
    free = sorted(true)
    ghosts = 0
    for level in sorted(predicted):
        partner = next((t for t in free if abs(t - level) <= 0.3), None)
        if partner is not None:
            free.remove(partner)
        elif low <= level <= high:
            ghosts += 1
    return ghosts


def plain_subspaces(
    system: LCAOSystem, prediction: BlockMatrix, *, mu: float, fermi: float, ks: list[tuple[float, ...]]
) -> list[float]:
    """P, PQ and Q: mean |c† E c'| of spin scalar parts, level by level."""
    dense = Dense(system, scalar=True)
    n = int(dense.start[-1])
    h, p = directed(system.operator("hamiltonian")), directed(prediction)
    found: list[list[float]] = [[], [], []]
    for k in ks:
        H, P, S = (dense.at(blocks, k)[:n, :n] for blocks in (h, p, dense.overlap))
        energies, C = scipy.linalg.eigh(H, S)
        E = P - H - mu * S
        low = [e <= fermi + 10.0 for e in energies]
        for a, b in itertools.product(range(n), repeat=2):
            size = abs(np.vdot(C[:, a], E @ C[:, b]))
            if low[a] and low[b]:
                found[0].append(size)
            elif low[a] and not low[b]:
                found[1].append(size)
            elif not low[a] and not low[b]:
                found[2].append(size)
    return [float(np.mean(part)) for part in found]

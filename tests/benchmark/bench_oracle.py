"""Plain computations with loops over dense spinor matrices: the oracle of the benchmark's vectorised sums."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import numpy as np

from nextham.core import BlockMatrix, LCAOSystem, symbol
from nextham.physics.spin import to_spin_blocks

Blocks = dict[tuple[Any, ...], np.ndarray]  # (i, j, R): (4, n_i, n_j) complex spin blocks uu ud du dd


def directed(matrix: BlockMatrix) -> Blocks:
    """Return the spin blocks of every (i, j, R) of the full matrix, both directions written out."""
    flat = matrix.with_values(to_spin_blocks(matrix.values))
    out = {}
    for p in range(matrix.pairs.n_pairs):
        (i, j), R = matrix.pairs.ij[p].tolist(), tuple(matrix.pairs.R[p].tolist())
        uu, ud, du, dd = flat.block(p)
        out[i, j, R] = np.array([uu, ud, du, dd])
        back = tuple(-x for x in R)
        if (j, i, back) != (i, j, R):
            out[j, i, back] = np.array([uu.conj().T, du.conj().T, ud.conj().T, dd.conj().T])
    return out


def spinor(blocks: np.ndarray) -> np.ndarray:
    uu, ud, du, dd = blocks
    return np.block([[uu, ud], [du, dd]])


def plain_errors(system: LCAOSystem, prediction: BlockMatrix, *, protocol: str) -> dict[str, Any]:
    """Return μ, the 4 x 2 table, overall and the breakdowns of one prediction, eV."""
    h, h0, s, p = (directed(m) for m in (*(system.operator(n) for n in ("hamiltonian", "h0", "overlap")), prediction))
    top = bottom = 0.0
    for key in h:
        S, D = spinor(s[key]), spinor(p[key]) - spinor(h[key])
        top += float((S.conj() * D).real.sum())
        bottom += float((abs(S) ** 2).sum())
    mu = top / bottom
    count, moduli = 0, 0.0
    table = np.zeros((4, 2))
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0, 0.0, 0.0]))
    cells = set.intersection(*({R for (_, _, R), block in m.items() if np.any(block)} for m in (h, h0)))
    everywhere = itertools.product(*[range(len(system.numbers))] * 2, cells)  # the file of a cell holds all its blocks
    for i, j, R in list(h) if protocol == "full" else everywhere:
        if (i, j, R) not in h:
            n = [sum(2 * l + 1 for l in system.basis.shells(int(system.numbers[a]))) for a in (i, j)]
            for m in (h, h0, s, p):
                m[i, j, R] = np.zeros((4, *n))
        reference = h[i, j, R]
        distance = float(np.linalg.norm(system.positions[j] + np.array(R) @ system.cells[0] - system.positions[i]))
        non_zero = [bool(np.any(m[i, j, R])) for m in (h, h0, s)]
        counted = any(non_zero) if protocol == "full" else distance < 8.0
        if not counted:
            continue
        E = p[i, j, R] - reference - mu * s[i, j, R]
        count += E[0].size
        table += np.stack([abs(E.real).sum(axis=(1, 2)), abs(E.imag).sum(axis=(1, 2))], axis=1)
        moduli += abs(E).sum() / 4
        onsite = i == j and not any(R)
        for name, label in _labels(system, (i, j), distance, onsite=onsite, overlapping=non_zero[2]):
            _add(groups[name][label], E)
        li, lj = ([l for l in system.basis.shells(int(system.numbers[a])) for _ in range(2 * l + 1)] for a in (i, j))
        for a, la in enumerate(li):
            for b, lb in enumerate(lj):
                low, high = sorted((la, lb))
                _add(groups["orbital_pair"][f"{'spdf'[low]}-{'spdf'[high]}"], E[:, a : a + 1, b : b + 1])
    return {"mu": mu, "count": count, "table": table / count, "overall": moduli / count, "groups": groups}


def _labels(system, ij, distance, *, onsite, overlapping):
    z_i, z_j = sorted(int(system.numbers[a]) for a in ij)
    elements = {symbol(z_i), symbol(z_j)}
    yield from (("element", e) for e in elements)
    yield from (("element_onsite" if onsite else "element_offsite", e) for e in elements)
    yield "element_pair", f"{symbol(z_i)}-{symbol(z_j)}"
    edges = (0, 2, 4, 6, 8)
    bins = [f"{a}-{b} Å" for a, b in itertools.pairwise(edges) if a <= distance < b]
    yield "distance", "on-site" if onsite else (bins or ["> 8 Å"])[0]
    yield "overlap", "overlapping" if overlapping else "H-only"


def _add(entry, E):
    entry[0] += E[0].size
    entry[1] += float(abs(E).sum()) / 4
    entry[2] += float(abs(E[0].real).sum())

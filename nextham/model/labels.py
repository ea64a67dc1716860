"""What the network learns from a labelled system, and whether it can."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, SpinLayout
from nextham.core.blocks import widened
from nextham.exceptions import InputError
from nextham.model.components import LAYOUTS, to_rows
from nextham.model.settings import ModelSettings
from nextham.physics.align import shift_of
from nextham.physics.spin import narrowed, narrowest

_NOISE_EV = 1e-3  # a larger part that the target lacks is physics, not the engine's noise
_WHY = {"spin-scalar": "depends on spin", "pauli": "breaks time reversal"}


def aligned_target(system: LCAOSystem, settings: ModelSettings) -> NDArray[np.float64]:
    """Return the real rows (n_rows, n_values) eV of H - H0 - μ* S, with each structure's own μ*.

    Without delta learning they are those of H - μ* S, which fixes each structure's zero of energy.

    Raises:
        InputError: if what is learnt has parts beyond noise that the target lacks.
    """
    matrix = system.correction if settings.delta else system.operator("hamiltonian")
    _check_parts(system, matrix, settings)
    return aligned_rows(system, matrix, settings.target)


def aligned_rows(system: LCAOSystem, matrix: BlockMatrix, target: str) -> NDArray[np.float64]:
    """Return the real rows (n_rows, n_values) that a target has of M - μ* S, eV, with each structure's own μ*."""
    rows = np.array(to_rows(matrix.values, target))
    overlap = system.operators["overlap"][0]
    weight = system.pairs.multiplicity[matrix.pair_of_value]
    owner = system.structure_of_pair[matrix.pair_of_value]
    for k in range(len(system)):
        own = owner == k
        rows[0, own] -= shift_of(rows[0, own], overlap[own], weight[own]) * overlap[own]
    return rows


def check_finite(system: LCAOSystem, names: tuple[str, ...]) -> None:
    """Raise InputError if an operator holds a number that is not finite, with its place."""
    for name in names:
        matrix = system.operator(name)
        bad = ~np.isfinite(matrix.values).all(axis=0)
        if bad.any():
            pair = int(matrix.pair_of_value[np.argmax(bad)])
            i, j = system.pairs.ij[pair] - system.atom_ptr[system.structure_of_pair[pair]]
            cell = tuple(int(c) for c in system.pairs.R[pair])
            raise InputError(
                f"the {name} of {system.ids[system.structure_of_pair[pair]]} is not a number at atoms {i}, {j}, "
                f"cell {cell}; remove or recompute this structure"
            )


def _check_parts(system: LCAOSystem, matrix: BlockMatrix, settings: ModelSettings) -> None:
    layout = LAYOUTS[settings.target]
    kept, dropped = narrowed(matrix.values, layout)
    if dropped <= _NOISE_EV or layout is SpinLayout.FULL:
        return
    lost = np.abs(widened(matrix.values, SpinLayout.FULL) - widened(kept, SpinLayout.FULL)).max(axis=0)
    worst = system.ids[int(system.structure_of_pair[matrix.pair_of_value[np.argmax(lost)]])]
    needed = SpinLayout.of(narrowest(matrix.values, _NOISE_EV)[0])
    able = next(name for name, known in LAYOUTS.items() if known is needed)
    raise InputError(
        f"the {'correction' if settings.delta else 'hamiltonian'} of {worst} {_WHY[settings.target]} "
        f"(up to {1e3 * dropped:.3g} meV), which a {settings.target} model cannot learn; set target to {able}, "
        "or leave magnetic structures out of the training split"
    )

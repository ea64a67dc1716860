"""How exactly a trained checkpoint follows rotations, inversion and supercells, on the structures of a store.

    python bench/equivariance.py STORE --checkpoint DIR/best            # the checkpoint's precision, and float64

A prediction of the moved crystal is compared with the moved prediction, over every element of H - H0. The error is the
mean and the largest modulus, meV, and the mean in units of the mean modulus of the correction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy.spatial.transform import Rotation

from nextham.core import LCAOSystem
from nextham.data.store import Store
from nextham.model import checkpoint
from nextham.model.network import NextHAM
from nextham.physics import symmetry
from nextham.predict.one import predicted

TURN = Rotation.from_euler("zyz", [0.7, 1.1, -0.4]).as_matrix()
MOVES = {
    "rotation": lambda system: symmetry.rotated(system, TURN),
    "inversion": lambda system: symmetry.rotated(system, -np.eye(3)),
    "supercell": lambda system: symmetry.supercell(system, (2, 1, 1)),
}


def correction(system: LCAOSystem, network: NextHAM) -> LCAOSystem:
    """The system with its predicted correction in place of H."""
    made = predicted(system, network)
    difference = made.operator("hamiltonian") - made.operator("h0")
    return made.with_operator("hamiltonian", difference.values)


def main(
    store: str,
    checkpoint_folder: Annotated[Path, typer.Option("--checkpoint")],
    most: Annotated[int, typer.Option(help="Structures that are looked at.")] = 5,
) -> None:
    """Print a line for each move and precision."""
    network, _ = checkpoint.load(checkpoint_folder)
    opened = Store(store)
    systems = [opened[id] for id in opened.ids[:most]]
    print("move        precision   mean meV   largest meV   mean / mean |H - H0|")
    for dtype in dict.fromkeys((next(network.parameters()).dtype, torch.float64)):
        network.to(dtype)
        plain = [correction(system, network) for system in systems]
        for name, move in MOVES.items():
            mean, largest, size = [], [], []
            for system, made in zip(systems, plain, strict=True):
                expected = move(made).operator("hamiltonian")
                error = np.abs((correction(move(system), network).operator("hamiltonian") - expected).values)
                mean.append(error.mean())
                largest.append(error.max())
                size.append(np.abs(expected.values).mean())
            numbers = f"{1e3 * np.mean(mean):10.1e}{1e3 * max(largest):13.1e}{np.sum(mean) / np.sum(size):16.1e}"
            print(f"{name:12s}{str(dtype).removeprefix('torch.'):10s}{numbers}")


if __name__ == "__main__":
    typer.run(main)

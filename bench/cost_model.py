"""Fits the cost model of an engine to the wall times of stores that it computed.

    python bench/cost_model.py campaign/chunks/*        # or any other stores of one engine

Machines are busy by turns, and stores are computed one after the other: so each store has a speed of its own, which
is taken out by its median. The scale is that of the fastest quarter of the stores. Printed are the three numbers of
nextham.dft.cost.CostModel, how far single structures are off, and how even chunks of 16 would have been.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from nextham.campaign.packing import packed
from nextham.data.store import Store


def timings(paths: list[str]) -> pd.DataFrame:
    """Return one row per structure with its wall time."""
    tables = []
    for path in paths:
        table = Store(path).manifest
        tables.append(table[table.wall_time_s.notna()].assign(store=path))
    return pd.concat(tables, ignore_index=True)


def terms(table: pd.DataFrame) -> np.ndarray:
    """Return the three terms of the model for each structure."""
    n_k = table.kmesh.map(lambda mesh: np.prod([int(n) for n in mesh.split("x")]))
    eigen = n_k.astype(float) * table.n_orb.astype(float) ** 3 / 1e6
    return np.stack([np.ones(len(table)), table.volume_ang3 / 100, eigen], axis=1)


def without_median(values: np.ndarray, store: np.ndarray) -> np.ndarray:
    """Take out the speed of each store."""
    return values - pd.Series(values).groupby(store).transform("median").to_numpy()


def main(paths: list[str]) -> None:
    """Fit and print."""
    table = timings(paths)
    seconds, store, x = table.wall_time_s.to_numpy(), table.store.to_numpy(), terms(table)

    def residual(logs: np.ndarray) -> np.ndarray:
        return without_median(np.log(x @ np.exp(logs)) - np.log(seconds), store)

    found = least_squares(residual, np.zeros(3), loss="soft_l1", f_scale=0.2)
    shape = x @ np.exp(found.x)
    speeds = pd.Series(seconds / shape).groupby(store).median()
    scale = speeds[speeds <= speeds.quantile(0.25)].mean()
    print(f"{len(table)} structures of {len(speeds)} stores, {seconds.sum():.0f} s")
    print("seconds = {:.3g} + {:.3g} V/100 Å³ + {:.3g} n_k n_orb³/10⁶".format(*np.exp(found.x) * scale))
    print(f"typical error of one structure: factor {np.exp(np.sqrt(np.mean(residual(found.x) ** 2))):.2f}")
    print(f"spread of the machine's speed between stores: factor {speeds.max() / speeds.min():.1f}")
    even = seconds / pd.Series(seconds / shape).groupby(store).transform("median").to_numpy()
    n = len(even)
    by_cost = packed(shape.tolist(), capacity=shape.sum() / max(1, n // 16), most=n)
    in_order = [list(range(k, min(k + 16, n))) for k in range(0, n, 16)]
    for name, chunks in (("of equal cost", by_cost), ("of 16 in order", in_order)):
        sums = np.array([even[chunk].sum() for chunk in chunks])
        print(f"chunks {name}: the longest takes {sums.max() / sums.mean():.2f} times the mean")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Cost of structures by the thousand: built, written, read, freed of duplicates, divided and audited.

    python bench/structures.py                    # 17,000 structures, three perturbed copies of each crystal
    python bench/structures.py -n 2000 --copies 0

Prints processor seconds and the largest memory. Crystals are AFLOW prototypes of up to 40 atoms, decorated at random.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nextham.data.splits import Split
from nextham.structures.extxyz import write_extxyz
from nextham.structures.files import read_each
from nextham.structures.generate import build
from nextham.structures.matching import Matcher, duplicates
from nextham.structures.nearest import nearest_pairs
from nextham.structures.prepare import prepared
from nextham.structures.prototypes import library
from nextham.structures.settings import CrystalSettings, MatchSettings, PrepareSettings
from nextham.structures.sourced import Gathered, Sourced

ELEMENTS = """H Li Be B C N O F Na Mg Al Si P S Cl K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Rb Sr Y Zr Nb Mo
Ru Rh Pd Ag Cd In Sn Sb Te I Cs Ba La Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi"""
MOST_ATOMS = 40


def settings(n: int, copies: int) -> CrystalSettings:
    """Return decorations that make at least n structures."""
    rng = np.random.default_rng(0)
    entries = [entry for entry in library() if len(entry.crystal) <= MOST_ATOMS and len(entry.sites) > 1]
    each = n / (copies + 1) / len(entries)
    decorate = {}
    for entry in entries:
        # combinations of one element on two sites fall out, hence one element more
        size = int(np.ceil(each ** (1 / len(entry.sites)))) + 1
        decorate[entry.names[0]] = {
            letter: rng.choice(ELEMENTS.split(), size=size, replace=False).tolist() for letter in entry.sites
        }
    return CrystalSettings(decorate=decorate, perturbed=copies, strain=0.02)


def timed(what: str, call: Callable[[], Any], n: int) -> Any:
    """Return what a call makes, and print what it cost."""
    wall, used = time.perf_counter(), time.process_time()
    made = call()
    used, wall = time.process_time() - used, time.perf_counter() - wall
    print(f"{what:12} {used:8.1f} s of processor, {wall:8.1f} s; {1e3 * used / n:6.2f} ms a structure", flush=True)
    return made


def main() -> None:
    """Run all steps on so many structures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=17000, help="structures")
    parser.add_argument("--copies", type=int, default=3, help="perturbed copies of each crystal")
    asked = parser.parse_args()
    n, of_each = asked.n, asked.copies + 1
    library()  # reading it is not counted
    chosen = settings(n, asked.copies)
    found: tuple[Sourced, ...] = timed("build", lambda: build(chosen).found, n)[: n // of_each * of_each]
    print(f"{len(found)} structures of {np.mean([len(each.structure) for each in found]):.1f} atoms on average")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.extxyz"
        timed("write", lambda: write_extxyz(path, found), len(found))
        print(f"{path.stat().st_size / 1e6:.1f} MB")
        timed("read", lambda: [each.sourced().sha256 for each in read_each(path)], len(found))
    steps = PrepareSettings(primitive=True)
    timed("primitive", lambda: prepared(Gathered(found), steps), len(found))
    structures = {each.id: each.structure for each in found}
    same = timed("duplicates", lambda: duplicates(structures, MatchSettings()), len(found))
    print(f"{len(same)} duplicates")
    ids = list(structures)
    order = np.random.default_rng(1).permutation(len(ids))
    cut = [int(share * len(ids)) for share in (0.7, 0.82)]
    split = Split(
        {
            name: tuple(ids[k] for k in part)
            for name, part in zip(("train", "val", "test"), np.split(order, cut), strict=True)
        }
    )
    lists = {name: {id: structures[id] for id in members} for name, members in split.ids.items()}
    pairs = timed("audit", lambda: nearest_pairs(lists, Matcher()), len(found))
    print(f"{len(pairs)} pairs of copies or duplicates")
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()

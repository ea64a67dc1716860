"""Names and orders of DeepH's two kinds of folders."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Final

from nextham.exchange.orders import HOUSE, OPENMX, Order


class Kind(StrEnum):
    """Which program a folder is for."""

    PACK = "deeph"
    DOCK = "deeph-dock"


@dataclasses.dataclass(frozen=True)
class Layout:
    """One kind of folder."""

    order: Order
    files: dict[str, str]  # operator: file
    needed: tuple[str, ...]  # files without which it is no such folder


LAYOUTS: Final = {
    Kind.PACK: Layout(
        OPENMX,
        {"overlap": "overlaps.h5", "h0": "hamiltonians_h0.h5", "hamiltonian": "hamiltonians.h5"},
        ("lat.dat", "site_positions.dat", "element.dat", "orbital_types.dat", "info.json"),
    ),
    Kind.DOCK: Layout(
        HOUSE,
        {"overlap": "overlap.h5", "h0": "hamiltonian_h0.h5", "hamiltonian": "hamiltonian.h5"},
        ("POSCAR", "info.json"),
    ),
}


def kind_of(folder: Path) -> Kind | None:
    """Return what kind of folder it is, by its files; None if of neither."""
    return next((kind for kind, one in LAYOUTS.items() if all((folder / f).is_file() for f in one.needed)), None)

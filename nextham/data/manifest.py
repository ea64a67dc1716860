"""Manifest: one row of facts per structure, for people and for selecting."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nextham.core import Structure, symbol
from nextham.data.certificate import Certificate
from nextham.data.record import Record
from nextham.data.remote import Location
from nextham.exceptions import InputError
from nextham.physics.symmetry import space_group

if TYPE_CHECKING:
    import pandas as pd


def manifest_row(record: Record, *, shard: str, row: int) -> dict[str, Any]:
    """Return the facts of one record: the crystal, the sizes, the run, the checks, where it stands."""
    return {
        **_crystal(record.structure),
        **_sizes(record),
        **_run(record),
        **_checked(record.certificate or Certificate()),
        "dropped_ev": record.dropped_ev,
        "rounding": record.rounding,
        "shard": shard,
        "row": row,
        "sha256": record.sha256,
    } | {"id": record.id}


def write_manifest(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the rows as Parquet; mappings become JSON text."""
    import pandas as pd

    table = pd.DataFrame.from_records([dict(row) for row in rows], columns=None if rows else ["id", "reduced_formula"])
    table = table[["id", *(column for column in table.columns if column != "id")]]
    for column in table.columns:
        if table[column].isna().all():
            table[column] = table[column].astype("float64")  # a column of None alone has no type
    table.to_parquet(path, index=False)


def read_manifest(path: Location, ids: Sequence[str]) -> pd.DataFrame:
    """Return the manifest of a store with these ids.

    Raises:
        InputError: if it is missing, damaged or of another store.
    """
    import pandas as pd

    try:
        table = pd.read_parquet(path if isinstance(path, Path) else BytesIO(path.read_bytes()))
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the manifest {path} cannot be read ({reason}); pack the store again") from None
    if list(table["id"]) != list(ids):
        raise InputError(f"the manifest {path} lists other structures than its store; pack the store again")
    return table


def reduced_formula(structure: Structure) -> str:
    """Return the formula divided by the largest common factor, elements in alphabetical order.

    >>> reduced_formula(Structure.from_fractional(["Si", "Si"], [[0, 0, 0], [0.25] * 3], 2.7 * (1 - np.eye(3))))
    'Si'
    """
    numbers, counts = np.unique(structure.numbers, return_counts=True)
    factor = np.gcd.reduce(counts)
    parts = sorted((symbol(int(z)), int(n // factor)) for z, n in zip(numbers, counts, strict=True))
    return "".join(f"{name}{n if n > 1 else ''}" for name, n in parts)


def _crystal(structure: Structure) -> dict[str, Any]:
    return {
        "formula": structure.formula,
        "reduced_formula": reduced_formula(structure),
        "elements": " ".join(sorted(set(structure.symbols))),
        "n_atoms": len(structure),
        "space_group": space_group(structure),
        "volume_ang3": structure.volume,
    }


def _sizes(record: Record) -> dict[str, Any]:
    layouts = {name: f"{rows.mask:08b}"[::-1] for name, rows in record.stored.items()}
    return {
        "n_orb": int(record.basis.n_orb_of(record.structure.numbers).sum()),
        "n_pairs": record.pairs.n_pairs,
        "basis": str(record.basis),
        "operators": " ".join(record.stored),
        "rows": json.dumps(layouts),  # which of the eight real rows are stored, first is Re h_0
    }


def _run(record: Record) -> dict[str, Any]:
    facts = dataclasses.asdict(record.meta)
    facts["kmesh"] = "x".join(map(str, record.meta.kmesh)) if record.meta.kmesh else None
    for name in ("pseudopotentials", "orbitals", "orbital_cutoff_ang"):
        facts[name] = json.dumps(dict(facts[name]), sort_keys=True)
    return facts


def _checked(certificate: Certificate) -> dict[str, Any]:
    facts = certificate.as_dict()
    mesh = facts.pop("mesh")
    return facts | {
        "check_mesh": "x".join(map(str, mesh)) if mesh else None,
        "passed": " ".join(certificate.passed),
        "skipped": json.dumps(facts["skipped"], sort_keys=True),
    }

"""What people ask of a store: what it holds, and one structure in a few lines. Plain values, also for JSON."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from nextham.core import BlockMatrix
from nextham.data.layout import ORIGIN, SCHEMA_VERSION
from nextham.data.record import ROWS, Record, rows_of_mask
from nextham.data.store import Store

_SHELL_LETTERS = "spdfghi"


def store_facts(store: Store) -> dict[str, Any]:
    """Return what a store holds."""
    n_bytes = sum(shard["bytes"] for shard in store.shards)
    provenances = [store.provenance(id) for id in store.ids]
    certificates = [each for each in map(store.certificate, store.ids) if each is not None]
    facts: dict[str, Any] = {
        "structures": len(store),
        "elements": [word.partition(":")[0] for word in str(store.basis).split()],
        "orbital basis": str(store.basis),
        "operators": dict(Counter(" ".join(store.operators_of(id)) for id in store.ids)),
        "on disk": dict(Counter(" ".join(store.stored_of(id)) for id in store.ids)),
        "H0 definition": store.h0_definition,
        "engine": dict(Counter(f"{p.engine} {p.engine_version}".strip() for p in provenances)),
        "magnetism": dict(Counter(p.magnetism for p in provenances)),
        "certified": len(certificates),
        "certified without": dict(Counter(check for each in certificates for check in each.skipped)),
        "shards": len(store.shards),
        "bytes": n_bytes,
        "bytes per structure": round(n_bytes / len(store)) if len(store) else 0,
        "layout version": SCHEMA_VERSION,
        "written by": f"nextham {store.about['code_version']}",
    }
    if (ledger := store.ledger) is not None:
        facts["ledger"] = ledger.summary()
    if isinstance(store.path, Path) and (store.path / ORIGIN).is_file():
        facts["downloaded from"] = _origin(store.path / ORIGIN)
    return facts


def _origin(file: Path) -> str:
    try:
        return str(json.loads(file.read_text())["source"])
    except (ValueError, KeyError, TypeError):
        return f"{file.name} is damaged"


def record_facts(store: Store, id: str) -> dict[str, Any]:
    """Return one structure: crystal, provenance, certificate, and its operators in numbers."""
    record = store.record(id)
    structure = record.structure
    certificate = record.certificate
    return {
        "crystal": {
            "formula": structure.formula,
            "cell (Å)": np.round(structure.cell, 6).tolist(),
            "atoms (fractional)": [
                [name, *np.round(place, 6).tolist()]
                for name, place in zip(structure.symbols, structure.fractional, strict=True)
            ],
            "volume (Å³)": structure.volume,
            "orbital basis": str(record.basis),
            "pairs": record.pairs.n_pairs,
        },
        "operators": _operators(record),
        "on-site levels of H (eV)": _onsite(record),
        "run": {key: value for key, value in dataclasses.asdict(record.meta).items() if value not in (None, "", {})},
        "certificate": certificate.as_dict() if certificate else {"none": "nobody checked this record"},
        "sha256": store.checksum(id),
    }


def _operators(record: Record) -> dict[str, Any]:
    found = {}
    for name, rows in record.stored.items():
        held = [ROWS[row] for row in rows_of_mask(rows.mask)]
        largest = np.abs(rows.values).max(axis=1, initial=0.0)
        text = ", ".join(f"{row} ≤ {value:.4g}" for row, value in zip(held, largest, strict=True))
        found[name] = f"{rows.values.shape[1]} numbers a row; {text}"
    return found


def _onsite(record: Record) -> dict[str, Any]:
    """Mean of h_0 over each shell's diagonal, per atom: the numbers that a chemist would check first."""
    name = next((each for each in ("hamiltonian", "h0") if each in record.operators), None)
    if name is None:
        return {}
    matrix: BlockMatrix = record.system((name,)).operator(name)
    found = {}
    for pair in np.flatnonzero(record.pairs.onsite).tolist():
        atom = int(record.pairs.ij[pair, 0])
        z = int(record.structure.numbers[atom])
        diagonal = np.diagonal(matrix.block(pair)[0]).real
        shells = zip(record.basis.shells(z), record.basis.shell_slices(z), strict=True)
        levels = [f"{_SHELL_LETTERS[l]} {diagonal[where].mean():.3f}" for l, where in shells]
        found[f"{record.structure.symbols[atom]}{atom}"] = "  ".join(levels)
    return found

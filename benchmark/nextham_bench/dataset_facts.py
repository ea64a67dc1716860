"""What is in a dataset: crystals, sizes, electronic structure, failures, and what H0 costs and is worth."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from nextham.console import track
from nextham.core import atomic_number
from nextham.data.checks import CHECKS
from nextham.exceptions import InputError, NexthamError
from nextham.workers import Died, Workers
from nextham_bench.metrics.gauge_mae import COLUMNS, gauge_errors

if TYPE_CHECKING:
    from nextham.data.ledger import Entry
    from nextham.data.remote import Location
    from nextham.data.store import Store

_H0: Final = COLUMNS.index("h0")
_SYSTEMS: Final = (  # largest number of the space groups of each crystal system
    (2, "triclinic"),
    (15, "monoclinic"),
    (74, "orthorhombic"),
    (142, "tetragonal"),
    (167, "trigonal"),
    (194, "hexagonal"),
    (230, "cubic"),
)
_CAUSES: Final = {
    "bad-input": "the structure, its species or its file cannot be used",
    "missing-file": "a file of the run is not there",
    "truncated-output": "a file ends early",
    "empty-output": "a matrix holds nothing",
    "inconsistent-output": "files do not belong together",
    "not-finite": "numbers that are not finite",
    "unconverged": "self-consistency was not reached",
    "timeout": "it took longer than allowed",
    "killed": "the process was ended from outside, most often for want of memory",
    "disk-full": "no room on the disk",
    "out-of-memory": "it needs more memory than allowed",
    "crashed": "the program ended by itself",
    "unexpected": "a fault of this project; please report it",
}


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StructureFacts(_Plain):
    """One structure."""

    id: str
    formula: str
    n_atoms: int
    n_orb: int
    n_pairs: int
    space_group: str
    crystal_system: str
    gap_ev: float | None = Field(description="On the mesh of the checks; 0 for a metal, null where not known.")
    overlap_condition: float | None = Field(description="Largest condition number of S(k) on the mesh.")
    mean_correction_mev: float | None = Field(
        description="Mean |H - H0 - μS| over all matrix elements of all four spin blocks."
    )
    scf_steps: int | None
    h0_wall_s: float | None = Field(description="Until H0 was there.")
    scf_wall_s: float | None = Field(description="Of the whole self-consistent run.")
    h0_cpu_s: float | None
    scf_cpu_s: float | None


class ElementFacts(_Plain):
    """One element."""

    element: str
    n_structures: int
    n_failed: int = Field(description="Structures of the ledger that hold it and gave no record.")
    causes: dict[str, int]
    touching_mev: float | None = Field(
        description="Mean |H - H0 - μS|, real part of ↑↑, over pairs that touch the element, on-site included; macro."
    )
    onsite_mev: float | None = Field(description="The same over its on-site blocks alone.")


class CauseFacts(_Plain):
    """One cause of failure."""

    cause: str
    count: int
    meaning: str
    example: str


class CostFacts(_Plain):
    """What H0 costs against self-consistency, over structures that tell both."""

    n_structures: int
    h0_wall_s: float
    scf_wall_s: float
    share: float = Field(description="Time of all H0 over time of all self-consistent runs.")
    median_share: float = Field(description="Median of the shares of single structures.")
    h0_cpu_s: float | None
    scf_cpu_s: float | None
    cpu_share: float | None


class DatasetFacts(_Plain):
    """Everything that the page of a dataset shows."""

    name: str
    n_structures: int
    n_failed: int
    n_compositions: int
    unknown_failed: int = Field(description="Failed structures whose elements the ledger does not tell.")
    n_measured: int = Field(description="Structures whose matrices were read for H - H0 by element.")
    elements: tuple[ElementFacts, ...]
    crystal_systems: dict[str, int]
    space_groups: dict[str, int]
    causes: tuple[CauseFacts, ...]
    cost: CostFacts | None
    about: dict[str, Any] = Field(description="As `nextham info` tells.")
    structures: tuple[StructureFacts, ...]


def dataset_facts(store: Store, *, name: str = "", sample: int | None = None, jobs: int = 1) -> DatasetFacts:
    """Gather the facts of a store; H - H0 of each element needs the matrices, all else the manifest and the ledger.

    Args:
        store: the dataset.
        name: what it is called; by default its folder.
        sample: how many structures' matrices are read, spread evenly; None: all.
        jobs: processes that read them.

    Raises:
        InputError: if the store holds no structure.
        NexthamError: if a process that reads dies.
    """
    from nextham.data.summary import store_facts

    if not len(store):
        raise InputError(f"{store.path} holds no structure")
    rows = tuple(_structure({str(k): v for k, v in row.items()}) for row in store.manifest.to_dict("records"))
    failed = [entry for entry in store.ledger.last().values() if not entry.ok] if store.ledger is not None else []
    errors, n_measured = _errors(store, sample, jobs)
    known = [(entry, elements_of(entry)) for entry in failed]
    systems = Counter(row.crystal_system for row in rows)
    return DatasetFacts(
        name=name or (store.path.resolve().name if isinstance(store.path, Path) else store.path.name),
        n_structures=len(rows),
        n_failed=len(failed),
        n_compositions=store.manifest["reduced_formula"].nunique(),
        unknown_failed=sum(not elements for _, elements in known),
        n_measured=n_measured,
        elements=_elements(store, known, errors),
        crystal_systems={name: systems[name] for name in (*(name for _, name in _SYSTEMS), "unknown") if systems[name]},
        space_groups=dict(Counter(row.space_group or "unknown" for row in rows).most_common()),
        causes=_causes(failed),
        cost=_cost(rows),
        about=store_facts(store),
        structures=rows,
    )


def crystal_system(space_group: str) -> str:
    """Return the crystal system of a space group like ``"F-43m (216)"``.

    >>> crystal_system("F-43m (216)"), crystal_system("P6_3mc (186)"), crystal_system("")
    ('cubic', 'hexagonal', 'unknown')
    """
    number = re.search(r"\((\d+)\)", space_group)
    if number is None:
        return "unknown"
    return next((name for last, name in _SYSTEMS if int(number[1]) <= last), "unknown")


def elements_of(entry: Entry) -> tuple[str, ...]:
    """Return the elements of a failed structure, of what its ledger line tells or of an id that begins with a formula.

    >>> from nextham.data.ledger import Entry
    >>> [elements_of(Entry(id=id, stage="scf", ok=False)) for id in ("GaAs-B3-0", "mp-149", "BaF2-fl-1")]
    [('As', 'Ga'), (), ('Ba', 'F')]
    >>> elements_of(Entry(id="mp-149", stage="scf", ok=False, facts={"formula": "Si2"}))
    ('Si',)
    """
    text = str(entry.facts.get("formula", "") or entry.id.partition("-")[0])
    parts = re.findall(r"([A-Z][a-z]?)\d*", text)
    if not parts or re.sub(r"[A-Z][a-z]?\d*", "", text):
        return ()
    try:
        return tuple(sorted({name for name in parts if atomic_number(name)}))
    except InputError:
        return ()


def _structure(row: Mapping[str, Any]) -> StructureFacts:
    def number(name: str) -> float | None:
        value = row.get(name)
        return None if value is None or not np.isfinite(value) else float(value)

    steps = number("scf_steps")
    facts: dict[str, Any] = {name: row[name] for name in ("id", "formula", "space_group")}
    facts |= {name: int(row[name]) for name in ("n_atoms", "n_orb", "n_pairs")}
    facts |= {name: number(name) for name in ("gap_ev", "overlap_condition", "mean_correction_mev")}
    facts |= {name: number(name) for name in ("h0_wall_s", "scf_wall_s", "h0_cpu_s", "scf_cpu_s")}
    facts |= {
        "crystal_system": crystal_system(row["space_group"]),
        "scf_steps": None if steps is None else round(steps),
    }
    return StructureFacts.model_validate(facts)


def _errors(store: Store, sample: int | None, jobs: int) -> tuple[dict[str, dict[str, float]], int]:
    """Macro means of |H - H0| by breakdown and element, meV, and of how many structures."""
    able = [id for id in store.ids if {"overlap", "h0", "hamiltonian"} <= set(store.operators_of(id))]
    if sample is not None and sample < len(able):
        able = [able[k] for k in np.unique(np.linspace(0, len(able) - 1, sample).astype(int))] if sample else []
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with Workers([partial(_measure, store.path, id) for id in able], jobs) as results:
        for k, measured in track(results, "H - H0", total=len(able)):
            if isinstance(measured, Died):
                raise NexthamError(f"the process that read {able[k]} died; start again with fewer --jobs")
            for breakdown, of_elements in measured.items():
                for element, mean in of_elements.items():
                    found[breakdown][element].append(mean)
    return {b: {e: float(np.mean(values)) for e, values in of.items()} for b, of in found.items()}, len(able)


def _measure(path: Location, id: str) -> dict[str, dict[str, float]]:
    """|H - H0| of one structure by breakdown and element, meV: real part of ↑↑, protocol full."""
    from nextham.data.store import Store

    system = Store(path)[id]
    tallies = gauge_errors(system, system.operator("h0")).tallies["full"]
    return {
        name: {element: 1e3 * tally.uu_real[_H0] / tally.count for element, tally in tallies[name].items()}
        for name in ("element", "element_onsite")
    }


def _elements(
    store: Store, failed: Sequence[tuple[Entry, tuple[str, ...]]], errors: Mapping[str, Mapping[str, float]]
) -> tuple[ElementFacts, ...]:
    held = Counter(name for text in store.manifest["elements"] for name in text.split())
    causes: dict[str, Counter[str]] = defaultdict(Counter)
    for entry, elements in failed:
        for name in elements:
            causes[name][entry.cause] += 1
    return tuple(
        ElementFacts(
            element=name,
            n_structures=held[name],
            n_failed=causes[name].total(),
            causes=dict(causes[name].most_common()),
            touching_mev=errors.get("element", {}).get(name),
            onsite_mev=errors.get("element_onsite", {}).get(name),
        )
        for name in sorted({*held, *causes}, key=atomic_number)
    )


def _causes(failed: Sequence[Entry]) -> tuple[CauseFacts, ...]:
    def rows() -> Iterator[CauseFacts]:
        for cause, count in Counter(entry.cause for entry in failed).most_common():
            meaning = _CAUSES.get(cause) or (f"fails the check: {CHECKS[cause]}" if cause in CHECKS else "")
            example = next(entry.message for entry in failed if entry.cause == cause)
            yield CauseFacts(cause=cause, count=count, meaning=meaning, example=example)

    return tuple(rows())


def _cost(rows: Sequence[StructureFacts]) -> CostFacts | None:
    walls = [(row.h0_wall_s, row.scf_wall_s) for row in rows if row.h0_wall_s and row.scf_wall_s]
    cpus = [(row.h0_cpu_s, row.scf_cpu_s) for row in rows if row.h0_cpu_s and row.scf_cpu_s]
    if not walls:
        return None
    wall, cpu = np.array(walls), np.array(cpus).reshape(-1, 2).sum(axis=0)
    return CostFacts(
        n_structures=len(walls),
        h0_wall_s=float(wall[:, 0].sum()),
        scf_wall_s=float(wall[:, 1].sum()),
        share=float(wall[:, 0].sum() / wall[:, 1].sum()),
        median_share=float(np.median(wall[:, 0] / wall[:, 1])),
        h0_cpu_s=float(cpu[0]) if cpus else None,
        scf_cpu_s=float(cpu[1]) if cpus else None,
        cpu_share=float(cpu[0] / cpu[1]) if cpus else None,
    )

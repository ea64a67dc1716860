"""What the scored structures are: facts from the scores, and from the reference store where it is given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nextham_bench.report.heat import Layer, Scale, periodic_table
from nextham_bench.schema import Scores
from nextham_bench.terminal import counted


def dataset_section(scores: Scores, reference: Path | None = None) -> dict[str, Any]:
    """Return facts and the periodic table of how many structures have each element."""
    counts = {name: row.n_structures for name, row in scores.headline.breakdowns["element"].items()}
    scale = Scale.counts(list(counts.values()))
    layer = Layer(
        "count",
        "structures with the element",
        {name: float(n) for name, n in counts.items()},
        scale,
        lambda v: f"{v:.0f}",
        (f"{scale.low:.0f}", f"{scale.high:.0f}"),
    )
    said = {name: f"{name}: {counted(n, 'structure')}" for name, n in counts.items()}
    facts = [*_facts(scores), *(_store_facts(reference) if reference is not None else [])]
    return {"facts": facts, "table": periodic_table([layer], said)}


def _facts(scores: Scores) -> list[tuple[str, str]]:
    rows, gauge = scores.structures, scores.headline
    formulas = {_reduced(row.formula) for row in rows}
    found = [
        ("scored structures", f"{len(rows)}, {len(formulas)} compositions"),
        ("atoms in a cell", _range([row.n_atoms for row in rows], "{:.0f}")),
        ("elements", f"{len(gauge.breakdowns['element'])}"),
        ("matrix elements of each spin block", f"{gauge.n_elements:,}".replace(",", " ")),
        ("orbital basis", scores.reference.basis),
        ("H0 definition", scores.reference.h0_definition or "not recorded"),
    ]
    levels = [row.reference for row in rows if row.reference is not None]
    if levels:
        gapped = [one.gap_ev for one in levels if one.gap_ev > 0]
        split = [one.soc_splitting_mev for one in levels if one.soc_splitting_mev is not None]
        conditions = [one.overlap_condition for one in levels if one.overlap_condition is not None]
        found += [("gap on the mesh", f"{_range(gapped, '{:.2f}')} eV; {len(levels) - len(gapped)} without a gap")]
        found += [("spin-orbit splitting at Γ", f"{_range(split, '{:.0f}')} meV")] if split else []
        found += [("largest cond(S(k)) of a structure", _range(conditions, "{:.3g}"))] if conditions else []
    return found


def _range(values: Sequence[float], form: str) -> str:
    if not values:
        return "none"
    low, middle, high = (form.format(x) for x in np.percentile(values, [0, 50, 100]))
    return low if low == high else f"{low} to {high}, median {middle}"


def _reduced(formula: str) -> str:
    """Return a formula divided by the largest common factor of its counts, elements in alphabetical order.

    >>> _reduced("Ga4As4"), _reduced("NaCl")
    ('AsGa', 'ClNa')
    """
    parts = [(name, int(n or 1)) for name, n in re.findall(r"([A-Z][a-z]?)(\d*)", formula)]
    factor = int(np.gcd.reduce([n for _, n in parts] or [1]))
    return "".join(f"{name}{n // factor if n // factor > 1 else ''}" for name, n in sorted(parts))


def _store_facts(reference: Path) -> list[tuple[str, str]]:
    from nextham.data.store import Store
    from nextham.data.summary import store_facts

    facts = store_facts(Store(reference))
    n = facts["structures"]
    return [
        ("structures in the whole dataset", str(n)),
        ("engine", _counted(facts["engine"])),
        ("magnetism", _counted(facts["magnetism"])),
        ("certified", f"{facts['certified']} of {n} by the checks of the dataset"),
        ("size on disk", f"{facts['bytes'] / 1e6:.1f} MB"),
        ("written by", str(facts["written by"])),
    ]


def _counted(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'not recorded'} ({n})" for name, n in found.items())

"""Many structures through a model, each to a prediction or to a reason in the ledger; a bad one stops nothing."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from nextham.campaign.collect import Target
from nextham.campaign.outcome import attempt
from nextham.campaign.runs import load_structures
from nextham.console import track
from nextham.core import LCAOSystem, Structure
from nextham.data.ledger import Entry, Ledger
from nextham.data.store import Store, StoreWriter
from nextham.dft.lcao.engine import LCAOEngine
from nextham.exceptions import InputError, NexthamError
from nextham.physics.symmetry import supercell
from nextham.predict import Predictor
from nextham.predict.plot import bands_file, plot_bands

STAGE: Final = "predict"  # in the ledger and the progress bar
Repeats = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Query:
    """One structure to predict."""

    id: str
    outline: Callable[[], LCAOSystem]  # without operators: what the model must know, and sizes
    read: Callable[[], LCAOSystem]  # with S and H0
    own: bool  # S and H0 stand in no store, so the prediction keeps them


class Output(Protocol):
    """Where predictions go."""

    @property
    def ledger(self) -> Ledger:
        """What happened to each structure."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def add(self, system: LCAOSystem) -> None:
        """Write one structure."""
        ...


class AbacusFolders:
    """One folder per structure with ABACUS's matrix files; each appears whole."""

    def __init__(self, target: Target, ids: Collection[str]) -> None:
        """Refuse folders that hold anything, unless they may be overwritten."""
        from nextham.dft.abacus.export import refuse_used

        self._path = target.path
        if not target.overwrite:
            refuse_used([target.path / id for id in ids])

    @property
    def ledger(self) -> Ledger:
        """Beside the folders."""
        return Ledger(self._path / "ledger.jsonl")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def add(self, system: LCAOSystem) -> None:
        """Write one structure's operators and STRU."""
        from nextham.dft.abacus.export import export_folder

        export_folder(system, self._path / system.ids[0])


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of the structures."""

    path: Path
    facts: dict[str, dict[str, Any]]  # of each prediction
    failed: tuple[Entry, ...]

    @property
    def uncertainty_mev(self) -> float | None:
        """Mean over structures of the checkpoints' spread, None of a single one."""
        found = [facts["uncertainty_mev"] for facts in self.facts.values() if "uncertainty_mev" in facts]
        return sum(found) / len(found) if found else None


def of_store(
    store: Store, ids: Sequence[str], operators: Collection[str], repeats: Repeats | None = None
) -> list[Query]:
    """Return structures of a store with these operators, or supercells into which they are folded."""

    def read(id: str, operators: Collection[str]) -> LCAOSystem:
        system = store.read(id, operators)
        if repeats is None:
            return system
        electrons = system.meta[0].n_electrons
        n = repeats[0] * repeats[1] * repeats[2]
        return supercell(system, repeats).with_meta(
            id=_named(id, repeats), n_electrons=electrons and n * electrons, total_energy_ev=None, kmesh=None
        )

    return [
        Query(_named(id, repeats), partial(read, id, ()), partial(read, id, operators), repeats is not None)
        for id in store.known(ids)
    ]


def of_files(
    files: Sequence[Path], engine: LCAOEngine, *, ids: Collection[str] = (), repeats: Repeats | None = None
) -> list[Query]:
    """Return crystals of files (those named, or all), whose S and H0 the embedded engine computes.

    Raises:
        InputError: if two crystals have one id, or one that is named is not there.
    """
    found = dict(load_structures(files))
    if missing := set(ids) - found.keys():
        raise InputError(f"no file holds a structure {min(missing)}; there are {', '.join(sorted(found))}")
    queries = []
    for id in ids or found:
        loaded = partial(_crystal, found[id], repeats)
        name = _named(id, repeats)
        queries.append(Query(name, partial(_outline, engine, loaded, name), partial(_h0, engine, loaded, name), True))
    return queries


def plan(queries: Sequence[Query], predictor: Predictor) -> tuple[dict[str, dict[str, Any]], tuple[Entry, ...]]:
    """Return sizes and memory of each structure, and why others could not be predicted; nothing is computed."""
    found: dict[str, dict[str, Any]] = {}
    problems = []
    for query in track(queries, "plan"):
        made = attempt(query.id, STAGE, partial(_planned, query, predictor))
        if isinstance(made, Entry):
            problems.append(made)
        else:
            found[query.id] = made
    return found, tuple(problems)


def predict_all(
    queries: Sequence[Query], predictor: Predictor, target: Target, *, abacus: bool = False, bands: Path | None = None
) -> Report:
    """Predict structures one at a time and write each.

    Args:
        queries: the structures.
        predictor: what predicts.
        target: a store, or with ``abacus`` the folder of ABACUS's matrix files of each structure.
        abacus: which of the two.
        bands: file for a plot of the bands; of several structures each has its id in the name.

    Raises:
        WriteError: if the output cannot be written.
        NexthamError: if no structure could be predicted.
    """
    if not queries:
        raise InputError("there is no structure to predict; name a subset of the split that is not empty")
    output: Output
    if abacus:
        output = AbacusFolders(target, [query.id for query in queries])
    else:
        output = StoreWriter(target.path, overwrite=target.overwrite)
    drawn = {query.id: bands and bands_file(bands, query.id, alone=len(queries) == 1) for query in queries}
    entries = []
    with output:
        for query in track(queries, STAGE):
            call = partial(_predict, query, predictor, output, drawn[query.id])
            made = attempt(query.id, STAGE, call)
            entries.append(made if isinstance(made, Entry) else Entry(id=query.id, stage=STAGE, ok=True, facts=made))
        done = {entry.id: dict(entry.facts) for entry in entries if entry.ok}
        failed = tuple(entry for entry in entries if not entry.ok)
        ledger = output.ledger if done else Ledger(target.ledger)
        for entry in entries:
            ledger.add(entry)
        if not done:
            raise NexthamError(
                f"no structure of {len(queries)} could be predicted; all reasons are in {target.ledger}, the first: "
                f"{failed[0].message}"
            )
    return Report(target.path, done, failed)


def _predict(query: Query, predictor: Predictor, output: Output, bands: Path | None) -> dict[str, Any]:
    """Predict and write one structure; return what was measured."""
    if query.own:
        predictor.check(query.outline())  # before H0 is computed
    start = time.perf_counter()
    system = query.read()
    read = time.perf_counter()
    made = predictor(system)
    facts: dict[str, Any] = {
        "atoms": len(system.numbers),
        "inputs_s": read - start,
        "model_s": time.perf_counter() - read,
    }
    facts["damped"] = made.damped
    if made.unseen:
        facts["unseen_elements"] = " ".join(made.unseen)
    if made.uncertainty_mev is not None:
        facts["uncertainty_mev"] = made.uncertainty_mev
    output.add(made.system if query.own else made.system.without("overlap", "h0"))
    if bands is None:
        return facts
    try:
        plot_bands(made.system, bands, max_memory_gb=predictor.max_memory_gb)
    except InputError as error:
        return {**facts, "bands": "", "no_bands": str(error)}
    return {**facts, "bands": str(bands)}


def _planned(query: Query, predictor: Predictor) -> dict[str, Any]:
    outline = query.outline()
    predictor.check(outline)
    predictor.check_h0(outline.meta[0].h0_definition, query.id)
    return predictor.cost(outline)


def _crystal(found: Structure | NexthamError, repeats: Repeats | None) -> Structure:
    if isinstance(found, NexthamError):
        raise found
    return found.repeated(repeats) if repeats else found


def _outline(engine: LCAOEngine, crystal: Callable[[], Structure], id: str) -> LCAOSystem:
    return engine.outline(crystal(), id=id)


def _h0(engine: LCAOEngine, crystal: Callable[[], Structure], id: str) -> LCAOSystem:
    with tempfile.TemporaryDirectory() as folder:
        return engine.h0(crystal(), id=id, folder=Path(folder)).system


def _named(id: str, repeats: Repeats | None) -> str:
    return f"{id}-{'x'.join(map(str, repeats))}" if repeats else id

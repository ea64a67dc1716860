"""Many structures to the files of another program; a bad one stops nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from nextham.console import track
from nextham.core import LCAOSystem
from nextham.dft.abacus.csr import CsrLayout
from nextham.dft.abacus.export import export_folder, export_with, refuse_used
from nextham.exceptions import InputError, NexthamError, WriteError
from nextham.exchange.deeph.export import export_deeph
from nextham.exchange.deeph.layout import Kind
from nextham.exchange.hamgnn import FILE, Graph, bytes_of, graph_of, nao_max_of, write_graphs
from nextham.exchange.pyatb import export_pyatb

HAMGNN: Final = "hamgnn"
_MOST_BYTES: Final = 16e9  # of one file of graphs, which is made in memory and read into memory


def export_store(
    read: Callable[[str], LCAOSystem],
    ids: Sequence[str],
    folder: Path,
    *,
    target: str,
    operators: Collection[str] = (),
    overwrite: bool = False,
) -> tuple[dict[str, list[Path]], list[str]]:
    """Write structures; return the files of each, and why others could not be written.

    Args:
        read: gives the system of an id.
        ids: which structures.
        folder: gets a folder for each, or the one file of all (hamgnn).
        target: abacus, abacus-3.11, pyatb, deeph, deeph-dock or hamgnn.
        operators: which; by default all there are.
        overwrite: whether files of the same names may be replaced.

    Raises:
        InputError: if there are such files, or the graphs of all are too much for one file.
        WriteError: if the output cannot be written.
    """
    if target == HAMGNN:
        return _export_graphs(read, ids, folder, overwrite)
    if not overwrite:
        refuse_used([folder / id for id in ids])
    files: dict[str, list[Path]] = {}
    problems = []
    for id in track(ids, "export"):
        try:
            files[id] = _export_one(read(id), folder / id, target, operators)
        except WriteError:
            raise
        except NexthamError as error:
            problems.append(str(error))
    return files, problems


def _export_one(system: LCAOSystem, folder: Path, target: str, operators: Collection[str]) -> list[Path]:
    if target == "pyatb":
        return export_with(lambda part: export_pyatb(system, part, operators=operators), folder)
    if target in tuple(Kind):
        return export_with(lambda part: export_deeph(system, part, operators=operators, kind=Kind(target)), folder)
    return export_folder(system, folder, operators=operators, layout=CsrLayout(target))


def _export_graphs(
    read: Callable[[str], LCAOSystem], ids: Sequence[str], folder: Path, overwrite: bool
) -> tuple[dict[str, list[Path]], list[str]]:
    path = folder / FILE
    if path.exists() and not overwrite:
        raise InputError(f"there is {path} already; choose another folder or pass --overwrite")
    systems, problems = {}, []
    for id in track(ids, "read"):
        try:
            systems[id] = read(id)
        except NexthamError as error:
            problems.append(str(error))
    nao_max = nao_max_of([system.basis for system in systems.values()])
    size = sum(bytes_of(system, nao_max) for system in systems.values())
    if size > _MOST_BYTES:
        raise InputError(
            f"the graphs of {len(systems)} structures take {size / 1e9:.0f} GB in one file, more than "
            f"{_MOST_BYTES / 1e9:.0f}; choose some with --id"
        )
    graphs: dict[str, Graph] = {}
    for id, system in track(systems.items(), "export", total=len(systems)):
        try:
            graphs[id] = graph_of(system, nao_max)
        except NexthamError as error:
            problems.append(str(error))
    if graphs:
        write_graphs(graphs, path)
    return {id: [path] for id in graphs}, problems

"""The table of energy levels and optics: what is measured, for H0 and the model."""

from __future__ import annotations

from collections.abc import Callable

from nextham_bench.report.grid import Cell, Column, Grid, GridRow, number
from nextham_bench.schema import BandColumn, Bands, Optics
from nextham_bench.terminal import percent

_ENERGIES = (  # field of BandColumn, what the row is called, what it means
    ("mean_mev", "band error, mesh", "mean |ε_P - ε_H| in the window"),
    ("path_mev", "band error, standard path", "the same along the standard path"),
    ("occupied_mev", "occupied levels", "levels of the window up to the Fermi level"),
    ("rms_mev", "RMS", "root of the mean square"),
    ("max_mev", "largest of any structure", "largest |ε_P - ε_H| in the window"),
    ("gap_mev", "gap", "indirect gap of the mesh"),
    ("vbm_mev", "highest filled level", "of structures with a gap"),
    ("cbm_mev", "lowest empty level", "of structures with a gap"),
    ("fermi_mev", "Fermi level", "of the filled mesh"),
    ("soc_splitting_mev", "spin-orbit splitting at Γ", ""),
    ("soc_levels_mev", "levels moved by spin-orbit coupling", "what the coupling does to each level at Γ"),
    ("dos_mev", "density of states", "Wasserstein distance of the levels in the window, per level"),
)
_SUBSPACES = (
    ("p_mev", "subspace P", "mean |C† E C| among the levels up to 10 eV above the Fermi level"),
    ("pq_mev", "coupling PQ", "between those and the levels above"),
    ("q_mev", "subspace Q", "among the levels above"),
)


def levels_grid(bands: Bands, optics: Optics | None = None) -> Grid:
    """Return one line for each quantity that was measured."""
    rows = []
    for field, name, hint in _ENERGIES:
        rows += _row(name, hint, getattr(bands.h0, field), getattr(bands.model, field))
    for field, name, hint in _SUBSPACES:
        rows += _row(name, hint, getattr(bands.h0.subspace, field), getattr(bands.model.subspace, field))
    for limit in bands.model.shares_below:
        rows.append(_share(f"structures below {limit} meV", bands, _below(limit)))
    ghosts = [number(c.ghosts_per_k, f"{c.ghosts_per_k:.3g}") for c in (bands.h0, bands.model)]
    rows.append(GridRow((Cell("ghost levels per k point"), *ghosts)))
    rows.append(_share("structures with ghosts", bands, lambda c: c.ghost_share))
    if optics is not None:
        values = [number(value, "" if value is None else f"{value:.3f}") for value in (optics.h0, optics.model)]
        hint = f"∫|σ_P - σ_H| dω / ∫|σ_H| dω of Re σ_xx, {optics.n_structures} structures, {optics.program}"
        rows.append(GridRow((Cell("optical conductivity, relative", hint=hint), *values)))
    columns = (Column("meV unless said otherwise", None), Column("H0", None), Column("model", None))
    return Grid("Errors of the energy levels", columns, tuple(rows))


def _row(name: str, hint: str, h0: float | None, model: float | None) -> list[GridRow]:
    if h0 is None and model is None:
        return []
    cells = [number(value, "" if value is None else f"{value:.1f}") for value in (h0, model)]
    return [GridRow((Cell(name, hint=hint), *cells))]


def _share(name: str, bands: Bands, of: Callable[[BandColumn], float]) -> GridRow:
    return GridRow((Cell(name), *(number(of(c), percent(of(c))) for c in (bands.h0, bands.model))))


def _below(limit: str) -> Callable[[BandColumn], float]:
    return lambda column: column.shares_below[limit]

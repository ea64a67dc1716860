"""All that a page shows of one score, for the template ``detail.html.j2``."""

from __future__ import annotations

from typing import Any

from nextham_bench.report import content
from nextham_bench.report.environment import figure
from nextham_bench.report.figures import error_by_distance
from nextham_bench.report.levels import levels_grid
from nextham_bench.report.store_figures import StoreFigures
from nextham_bench.schema import Scores
from nextham_bench.tasks import tasks
from nextham_bench.terminal import rows

PROTOCOLS = {
    "full": "every pair that H, H0 or S stores",
    "paper": "pairs nearer than 8 Å that both H and H0 store",
}


def detail(main: Scores, figures: StoreFigures | None, *, key: str) -> dict[str, Any]:
    """Return what the template needs; ``key`` makes ids on a page with several scores unique."""
    drawn: Any = figures or {"parity": None, "parity_structures": 0, "overlays": [], "gallery": []}
    return {
        "key": key,
        "main": main,
        "gauge": main.headline,
        "tiles": content.tiles(main),
        "tables": {protocol: rows(main, protocol) for protocol in sorted(PROTOCOLS, key=lambda p: p != main.protocol)},
        "protocols": PROTOCOLS,
        "distance": figure(error_by_distance(main, key)),
        "elements": content.elements(main),
        "elements_grid": content.elements_grid(main),
        "orbitals": content.orbitals(main),
        "levels": levels_grid(main.bands, main.optics) if main.bands else None,
        "ghosts": tasks().ghosts,
        "worst": content.worst_grid(main),
        "provenance": content.provenance(main),
        "has_stores": figures is not None,
        "parity": figure(drawn["parity"]),
        "parity_structures": drawn["parity_structures"],
        "overlays": [{**plate, "svg": figure(plate["svg"])} for plate in drawn["overlays"]],
        "gallery": [{**plate, "svg": figure(plate["svg"])} for plate in drawn["gallery"]],
    }

"""Names in a store's folder, and the description that stands in it."""

from __future__ import annotations

import re
from typing import Any, Final

from nextham import __version__
from nextham.core import OrbitalBasis
from nextham.data.settings import StoreSettings

SCHEMA_VERSION: Final = 1
ABOUT: Final = "store.json"
MANIFEST: Final = "manifest.parquet"
LEDGER: Final = "ledger.jsonl"
SHARD_NAME: Final = re.compile(r"shard-\d{5}\.zarr")


def description(basis: OrbitalBasis, h0_definition: str, settings: StoreSettings) -> dict[str, Any]:
    """Return what store.json says about the conventions, so that the numbers can be read without this program."""
    return {
        "schema_version": SCHEMA_VERSION,
        "code_version": __version__,
        "basis": str(basis),
        "n_orb": {str(z): basis.n_orb(z) for z in basis},
        "h0_definition": h0_definition,
        "settings": settings.model_dump(mode="json"),
        "units": {"energy": "eV", "length": "Å", "overlap": "1"},
        "orbitals": "l ascending, then zeta, then m = -l..l of real harmonics without Condon-Shortley phase",
        "spin": "H = h_0 σ_0 + h_x σ_x + h_y σ_y + h_z σ_z; bit b of NAME_rows says that row b of "
        "Re h_0, Im h_0, Re h_x, Im h_x, Re h_y, Im h_y, Re h_z, Im h_z is stored, the others are zero",
        "pairs": "the block of (j, i, -R) is the Hermitian conjugate of that of (i, j, R) and is not stored",
    }

"""Names in a store's folder, and the description that stands in it."""

from __future__ import annotations

import re
from typing import Any, Final

from nextham import __version__
from nextham.core import OrbitalBasis
from nextham.data.record import STORED
from nextham.data.settings import StoreSettings
from nextham.exceptions import InputError

SCHEMA_VERSION: Final = 1
OLDEST_VERSION: Final = 1  # that this program reads
ABOUT: Final = "store.json"
MANIFEST: Final = "manifest.parquet"
LEDGER: Final = "ledger.jsonl"
FILES: Final = "files.json"  # of a published or downloaded store: every file with its size and sha256
ORIGIN: Final = "download.json"  # of a downloaded store: from where, and which part
SHARD_NAME: Final = re.compile(r"shard-\d{5}\.zarr")
_NUMBERS: Final = re.compile(rf"(?P<operator>{'|'.join(STORED)})/c(/\d+)*")


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


def check_version(version: object, code_version: object, where: object) -> None:
    """Refuse what a newer program wrote, or one that is too old.

    Raises:
        InputError: if this program does not read the version.
    """
    if not isinstance(version, int) or isinstance(version, bool):
        raise InputError(f"{where} names {version!r} as its version, which is no number; fetch or pack it again")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{where} has version {version} of the layout, written by nextham {code_version}; this is nextham "
            f"{__version__}, which reads version {SCHEMA_VERSION}: upgrade nextham"
        )
    if version < OLDEST_VERSION:
        raise InputError(
            f"{where} has version {version} of the layout, written by nextham {code_version}; this is nextham "
            f"{__version__}, which reads versions from {OLDEST_VERSION} on: pack it again from its sources"
        )


def operator_of(key: str) -> str | None:
    """Return whose numbers a file of a shard holds, None for the index arrays and descriptions.

    >>> operator_of("h0/c/3"), operator_of("h0/zarr.json"), operator_of("h0_rows/c/0")
    ('h0', None, None)
    """
    found = _NUMBERS.fullmatch(key)
    return found["operator"] if found else None

"""The provenance table of a folder of generated species."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from nextham.exceptions import InputError

PROVENANCE: Final = "provenance.json"


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return a folder's provenance table; empty if it has none.

    Raises:
        InputError: if the file is something else.
    """
    path = folder / PROVENANCE
    if not path.is_file():
        return {}
    try:
        table: dict[str, Any] = json.loads(path.read_text())
        table["elements"].items()
    except (json.JSONDecodeError, KeyError, AttributeError, TypeError):
        raise InputError(f"{path} is not a provenance table of species; move it away and build again") from None
    return table

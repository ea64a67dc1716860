"""The one place that talks to the Materials Project, through mp-api."""

from __future__ import annotations

import contextlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

from nextham.exceptions import InputError, NexthamError
from nextham.structures.settings import MaterialsProjectSettings

Document = dict[str, Any]  # as the server sent it

KEY: Final = "MP_API_KEY"
ENDPOINT: Final = "MP_API_ENDPOINT"
GET_A_KEY: Final = f"get one at https://next-gen.materialsproject.org/api and export it as {KEY}"
FIELDS: Final = (
    "material_id",
    "formula_pretty",
    "structure",
    "nsites",
    "energy_above_hull",
    "ordering",
    "theoretical",
    "deprecated",
    "builder_meta",
)
_LIST_PAGE: Final = 1000


class BusyError(NexthamError):
    """The server does not answer now: too many requests, a fault of its own, a broken connection."""


class UnreachableError(BusyError):
    """No connection could be made at all."""


class Client(Protocol):
    """What is asked of the Materials Project."""

    @property
    def database(self) -> str:
        """Version of the database."""
        ...

    def matching(self, query: MaterialsProjectSettings) -> list[str]:
        """Return the ids of all structures that fit the conditions of a query.

        Raises:
            InputError: if the key or the query is refused.
            BusyError: if it may be asked again.
        """
        ...

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return the documents of some ids, by these ids; one that the server does not know is not there.

        Raises:
            InputError: if the key is refused.
            BusyError: if it may be asked again.
        """
        ...


class MPAPIClient:
    """A client of the real server, by mp-api; the key comes from the environment."""

    def __init__(self) -> None:
        """Connect.

        Raises:
            InputError: if the key is missing or refused.
            BusyError: if the server does not answer.
        """
        key = os.environ.get(KEY, "").strip()
        if not key:
            raise InputError(f"{KEY} is not set; the Materials Project needs a key: {GET_A_KEY}")
        with _told():
            from mp_api.client import MPRester

            endpoint = os.environ.get(ENDPOINT) or None
            self._rester: Any = MPRester(
                key, endpoint=endpoint, use_document_model=False, mute_progress_bars=True, notify_db_version=False
            )

    @property
    def database(self) -> str:
        """Version of the database."""
        return str(self._rester.db_version or "unknown")

    def matching(self, query: MaterialsProjectSettings) -> list[str]:
        """Return the ids of all structures that fit the conditions of a query."""
        with _told():
            found = self._rester.materials.summary.search(
                **_conditions(query), fields=["material_id"], chunk_size=_LIST_PAGE
            )
        return [str(each["material_id"]) for each in found]

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return the documents of some ids, by these ids."""
        from emmet.core.mpid import validate_identifier

        asked = {str(validate_identifier(id).string): id for id in ids}  # an id has an old and a new spelling
        with _told():
            found = self._rester.materials.summary.search(
                material_ids=list(ids), fields=list(FIELDS), chunk_size=_LIST_PAGE
            )
        sent = {str(validate_identifier(str(each["material_id"])).string): each for each in found}
        return {asked[name]: each for name, each in sent.items() if name in asked}


def _conditions(query: MaterialsProjectSettings) -> dict[str, Any]:
    """Return a query in the words of mp-api."""
    found: dict[str, Any] = {
        "elements": list(query.elements) or None,
        "exclude_elements": list(query.without) or None,
        "chemsys": list(query.chemical_systems) or None,
        "num_elements": query.n_elements,
        "num_sites": query.n_atoms,
        "energy_above_hull": None if query.hull_ev is None else (0, query.hull_ev),
        "theoretical": False if query.experimental else None,
        "deprecated": False,
        "include_gnome": query.gnome,
    }
    if query.magnetic_ordering is not None:
        from pymatgen.analysis.magnetism.analyzer import Ordering

        found["magnetic_ordering"] = Ordering(query.magnetic_ordering)
    return {name: value for name, value in found.items() if value is not None}


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what mp-api and the libraries below it raise into one of our errors."""
    from requests import RequestException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ModuleNotFoundError, NexthamError):
        raise
    except json.JSONDecodeError:
        raise BusyError("the Materials Project sent no JSON") from None
    except (RequestException, OSError) as error:
        raise classified(str(error)) from None
    except Exception as error:
        if type(error).__name__ != "MPRestError":  # from a package that may not be there
            raise
        raise classified(str(error)) from None


def classified(text: str) -> NexthamError:
    """Return what a message of mp-api or requests means.

    >>> type(classified("REST query returned with error status code 429 on URL ...")).__name__
    'BusyError'
    """
    short = re.sub(r"\s+", " ", text)[:200]
    found = re.search(r"status code (\d{3})|too many (\d{3}) error", text)
    status = int(found[1] or found[2]) if found else 0
    if status in (401, 403) or "valid API key" in text:
        return InputError(f"the Materials Project refuses the key in {KEY} ({status or 'not a key'}); {GET_A_KEY}")
    if status == 429 or status >= 500:
        return BusyError(f"the Materials Project answered with status {status}")
    if status or "does not support the request" in text:
        return InputError(f"the Materials Project refuses the query: {short}")
    if any(
        word in text
        for word in ("NewConnection", "NameResolution", "Connection refused", "unreachable", "ConnectTimeout")
    ):
        host = re.search(r"host='([^']*)'", text)
        where = f" ({host[1]})" if host else ""
        return UnreachableError(f"the Materials Project{where} cannot be reached; check the network and the proxy")
    return BusyError(f"the connection to the Materials Project broke ({short})")

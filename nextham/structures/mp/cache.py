"""What was fetched, on disk: the answers as they came, with date and database version, in a folder of each query."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from nextham.files import clear_leftovers, whole
from nextham.structures.mp.client import Document
from nextham.structures.settings import MaterialsProjectSettings

_HOW: Final = frozenset({"cache", "batch", "requests_per_s", "attempts"})  # do not change what is asked
_ASKED: Final = "asked.json"


class Cache:
    """The folder of one query.

    ``asked.json`` holds the query and all ids, ``batch-*.json`` the documents of some of them. Files appear whole or
    not at all; one that is damaged counts as not there.
    """

    def __init__(self, root: Path, query: MaterialsProjectSettings, ids: Sequence[str]) -> None:
        """Name the folder by the query: its conditions, or its ids wherever they were read."""
        self.query = {
            name: value
            for name, value in query.model_dump(mode="json", exclude_defaults=True).items()
            if name not in _HOW | {"ids", "ids_from"}
        }
        named = json.dumps([self.query, sorted(ids)], sort_keys=True)
        self.path = root.expanduser() / hashlib.sha256(named.encode()).hexdigest()[:16]

    def asked(self) -> dict[str, Any]:
        """Return ids, date and database version of the query; empty if it was not asked yet."""
        return self._read(self.path / _ASKED, "ids")

    def write_asked(self, ids: Sequence[str], database: str) -> None:
        """Keep the ids that belong to the query."""
        self._write(_ASKED, {"query": self.query, **_stamp(database), "ids": list(ids)})

    def documents(self) -> Iterator[tuple[str, Document | None]]:
        """Yield ids with their documents, each with ``date`` and ``database``, or None where there is none."""
        for path in sorted(self.path.glob("batch-*.json")):
            batch = self._read(path, "documents")
            stamp = {name: batch.get(name, "") for name in ("date", "database")}
            documents = batch.get("documents", {})
            for id in batch.get("asked", ()):
                yield id, {**documents[id], **stamp} if id in documents else None

    def write_documents(self, asked: Sequence[str], documents: Mapping[str, Document], database: str) -> None:
        """Keep the answer to a batch of ids."""
        name = hashlib.sha256("\n".join(asked).encode()).hexdigest()[:16]
        self._write(f"batch-{name}.json", {**_stamp(database), "asked": list(asked), "documents": dict(documents)})

    def clear(self) -> None:
        """Forget the query."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def _files(self) -> Iterable[Path]:
        return [self.path / _ASKED, *self.path.glob("batch-*.json")]

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        clear_leftovers(self.path / name)
        with whole(self.path / name) as part:
            part.write_text(json.dumps(content, ensure_ascii=False))

    @staticmethod
    def _read(path: Path, needed: str) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) and needed in content else {}


def _stamp(database: str) -> dict[str, str]:
    return {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "database": database}

"""A made-up Materials Project: a client that answers from memory, and a server that answers mp-api over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

from nextham.structures.mp.client import Document
from nextham.structures.settings import MaterialsProjectSettings

KEY = "k" * 32


def document(id: str, symbols: Sequence[str] = ("Ga", "As"), a_ang: float = 5.65, **more: Any) -> Document:
    """Return what the server sends of a zincblende crystal."""
    half = a_ang / 2
    matrix = [[0, half, half], [half, 0, half], [half, half, 0]]
    sites = [
        {"species": [{"element": e, "occu": 1}], "abc": [x] * 3, "xyz": [2 * half * x] * 3, "properties": {}}
        for e, x in zip(symbols, (0.0, 0.25), strict=True)
    ]
    structure = {"@module": "pymatgen.core.structure", "lattice": {"matrix": matrix, "pbc": [True] * 3}, "sites": sites}
    return {
        "material_id": id,
        "formula_pretty": "".join(symbols),
        "structure": structure,
        "nsites": 2,
        "energy_above_hull": 0.0,
        "ordering": "NM",
        "theoretical": False,
        "deprecated": False,
        "builder_meta": {"license": "BY-C"},
    } | more


class FakeClient:
    """Answers from memory; ``trouble(call)`` may raise before the call of a number, counted from 0."""

    def __init__(
        self,
        documents: Sequence[Document],
        *,
        database: str = "2025.09.25",
        trouble: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.of = {each["material_id"]: each for each in documents}
        self.database = database
        self.trouble = trouble
        self.calls: list[Sequence[str]] = []  # ids of each call, none of a query

    def matching(self, query: MaterialsProjectSettings) -> list[str]:
        self._count(())
        return [id for id, each in self.of.items() if set(query.elements) <= set(_elements(each))]

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        self._count(ids)
        return {id: self.of[id] for id in ids if id in self.of}

    def _count(self, ids: Sequence[str]) -> None:
        self.calls.append(ids)
        self.trouble(len(self.calls) - 1)


class Server(ThreadingHTTPServer):
    """Answers mp-api's requests for summaries; ``answers`` may hold statuses to send in place of the next answers."""

    def __init__(self, documents: Sequence[Document]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.known = list(documents)
        self.statuses: list[int] = []
        self.requests: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        place = urlparse(self.path)
        asked = {name: values[0] for name, values in parse_qs(place.query).items()}
        if place.path.rstrip("/") == "/heartbeat":
            self._send(200, {"version": "0.86.3", "db_version": "2025.09.25", "access_controlled_batch_ids": []})
            return
        self.server.requests.append(asked)
        if self.server.statuses and (status := self.server.statuses.pop(0)) != 200:
            self._send(status, {"detail": "Invalid authentication credentials" if status == 401 else "not now"})
            return
        if self.headers.get("x-api-key") != KEY:
            self._send(401, {"detail": "Invalid authentication credentials"})
            return
        found = [each for each in self.server.known if _fits(each, asked)]
        skip, limit = int(asked.get("_skip", 0)), int(asked.get("_limit", 1000))
        fields = asked.get("_fields", "material_id").split(",")
        page = [{name: each.get(name) for name in fields} for each in found[skip : skip + limit]]
        self._send(200, {"data": page, "meta": {"total_doc": len(found)}})

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(documents: Sequence[Document]) -> Iterator[Server]:
    """Run a server while the block runs."""
    server = Server(documents)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _fits(each: Document, asked: dict[str, str]) -> bool:
    if "material_ids" in asked and each["material_id"] not in asked["material_ids"].split(","):
        return False
    if "elements" in asked and not set(asked["elements"].split(",")) <= set(_elements(each)):
        return False
    return not ("nsites_max" in asked and each["nsites"] > int(asked["nsites_max"]))


def _elements(each: Document) -> list[str]:
    return [site["species"][0]["element"] for site in each["structure"]["sites"]]

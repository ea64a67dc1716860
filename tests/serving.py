"""A web server for folders that behaves as badly as it is told: the tests and the bench of downloads talk to it."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

BLOCK = 2**20


@dataclass
class Fault:
    """What goes wrong, for paths that match, so many times (per path)."""

    paths: str = ".*"
    times: int = 10**9
    status: int = 0  # answered in place of the file
    retry_after: str = ""
    location: str = ""  # of a redirect; {path} is the path that was asked for, {name} without its first five folders
    cut: float | None = None  # the connection ends after this share of the bytes that were promised
    shorten: float | None = None  # so much is promised and sent, and called whole
    promise: int = 0  # Content-Length says so many bytes more
    flip: float | None = None  # the byte at this share is another one
    extend: int = 0  # so many bytes more are promised and sent
    byte_per_s: float = 0.0
    silent: bool = False  # the connection is taken and nothing comes
    seen: Counter[str] = field(default_factory=Counter)

    def strikes(self, path: str) -> bool:
        if not re.fullmatch(self.paths, path) or self.seen[path] >= self.times:
            return False
        self.seen[path] += 1
        return True


class Served(ThreadingHTTPServer):
    """A folder behind http://127.0.0.1, and what was asked of it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.faults: list[Fault] = []
        self.ranges = True
        self.latency_s = 0.0
        self.asked: list[tuple[str, str]] = []  # path, range
        self.headers: list[dict[str, str]] = []
        self.sent = 0  # bytes of bodies
        self.busy = self.busiest = 0  # requests at the same time, now and at most
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def forget(self) -> None:
        self.asked, self.headers, self.sent = [], [], 0

    def handle_error(self, *_: object) -> None:
        """A client that has gone is no news."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Served]:
    server = Served(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Served

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server, path = self.server, unquote(urlsplit(self.path).path).lstrip("/")
        server.asked.append((path, self.headers.get("Range", "")))
        server.headers.append({name.lower(): value for name, value in self.headers.items()})
        with server.lock:
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        time.sleep(server.latency_s)
        with server.lock:
            server.busy -= 1
        fault = next((each for each in server.faults if each.strikes(path)), Fault())
        if fault.silent:
            time.sleep(3600)
        if fault.location:
            self._short(
                fault.status or 302, Location=fault.location.format(path=path, name="/".join(path.split("/")[5:]))
            )
        elif fault.status:
            self._short(fault.status, **({"Retry-After": fault.retry_after} if fault.retry_after else {}))
        elif not (file := server.folder / path).is_file():
            self._short(404)
        else:
            self._give(file, fault)

    def _short(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _give(self, file: Path, fault: Fault) -> None:
        size = file.stat().st_size
        start, stop = self._range(size)
        partial = (start, stop) != (0, size) or (self.server.ranges and "Range" in self.headers)
        if start >= size > 0:
            self._short(416, **{"Content-Range": f"bytes */{size}"})
            return
        if fault.shorten is not None:
            stop = start + int((stop - start) * fault.shorten)
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(stop - start + fault.promise + fault.extend))
        self.end_headers()
        if self.command == "HEAD":
            return
        end = stop if fault.cut is None else start + int((stop - start) * fault.cut)
        flipped = -1 if fault.flip is None else start + int((stop - 1 - start) * fault.flip)
        self._send(file, (start, end), flipped, fault.byte_per_s)
        if fault.extend:
            self.wfile.write(b"x" * fault.extend)
        if fault.cut is not None or fault.promise:
            self.wfile.flush()
            self.close_connection = True

    def _send(self, file: Path, span: tuple[int, int], flipped: int, byte_per_s: float) -> None:
        block = max(1, int(byte_per_s / 20)) if byte_per_s else BLOCK
        with file.open("rb") as stream:
            if flipped < 0 and not byte_per_s:
                self.wfile.flush()
                if span[1] > span[0]:
                    self.connection.sendfile(stream, span[0], span[1] - span[0])
                self.server.sent += span[1] - span[0]
                return
            stream.seek(span[0])
            for begin in range(*span, block):
                content = bytearray(stream.read(min(block, span[1] - begin)))
                if begin <= flipped < begin + len(content):
                    content[flipped - begin] ^= 0x10
                self.wfile.write(content)
                self.server.sent += len(content)
                if byte_per_s:
                    self.wfile.flush()
                    time.sleep(0.05)

    def _range(self, size: int) -> tuple[int, int]:
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not found or not self.server.ranges:
            return 0, size
        first, last = found.groups()
        if not first:
            return max(0, size - int(last)), size
        return int(first), min(size, int(last) + 1 if last else size)

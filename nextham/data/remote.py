"""Addresses of stores: folders of this machine, and those behind http(s), s3 and the Hugging Face hub (hf://)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

from nextham import __version__
from nextham.data.patience import Patience
from nextham.exceptions import InputError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

Item = TypeVar("Item")
Result = TypeVar("Result")
SCHEMES: Final = ("http", "https", "s3", "hf")
BLOCK: Final = 2**20  # bytes that are handed over at a time
_SILENCE_S: Final = 60.0  # without a byte, a connection counts as broken
_AHEAD: Final = 8 * 2**20  # what is read at a time where bytes do not stream: s3
_AT_ONCE: Final = 16  # requests
_HUB: Final = re.compile(
    r"datasets/(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>refs/(?:pr|convert)/\w+|[\w.%-]+))?(?P<rest>/.*)?"
)
_SOME: Final = Patience()


@dataclass(frozen=True)
class RemotePath:
    """A folder or file at an address: so much of Path's interface as reading a store needs.

    >>> RemotePath("https://example.org/data/") / "store.json"
    RemotePath(url='https://example.org/data/store.json')
    """

    url: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.url.rstrip("/"))

    @property
    def scheme(self) -> str:
        """``http``, ``https``, ``s3`` or ``hf``."""
        return self.url.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> RemotePath:
        """The folder."""
        return RemotePath(self.url.rpartition("/")[0])

    @property
    def host(self) -> str:
        """Who serves it."""
        return urlsplit(self.real).hostname or self.real

    @property
    def real(self) -> str:
        """The address that is asked: a dataset on the hub is files behind https.

        >>> RemotePath("hf://datasets/nextham/soc@v1/store.json").real
        'https://huggingface.co/datasets/nextham/soc/resolve/v1/store.json'
        """
        if self.scheme != "hf":
            return self.url
        found = _HUB.fullmatch(self.url.removeprefix("hf://"))
        assert found is not None  # see located
        hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        return (
            f"{hub}/datasets/{found['repo']}/resolve/{quote(found['revision'] or 'main', safe='')}{found['rest'] or ''}"
        )

    def read_bytes(self, limit: int = 2**28, patience: Patience = _SOME) -> bytes:
        """Return a file's content, of so many bytes at most.

        Raises:
            InputError: if it does not exist, is larger, or cannot be read.
        """

        def whole() -> bytes:
            found = bytearray()
            with stream(self) as (_, blocks):
                for block in blocks:
                    found += block
                    if len(found) > limit:
                        raise InputError(f"{self} is larger than the {limit} bytes that such a file may have")
            return bytes(found)

        return patience.of(whole, self)

    def read_text(self) -> str:
        """Return a file's text."""
        return self.read_bytes().decode()

    def is_file(self) -> bool:
        """Return whether there is a file here."""

        def there() -> bool:
            try:
                with stream(self) as (_, blocks):
                    next(blocks, b"")
            except FileNotFoundError:
                return False
            return True

        return _SOME.of(there, self)

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url}/{name}")

    def __str__(self) -> str:
        return re.sub(r"://[^/@]*@", "://", self.url)  # a password is nobody's business


Location = Path | RemotePath


def located(place: str | Location) -> Location:
    """Return where a store is: a folder, or an address with a scheme.

    >>> str(located("results/dataset")), str(located("hf://datasets/nextham/soc"))
    ('results/dataset', 'hf://datasets/nextham/soc')

    Raises:
        InputError: if nothing can be read from such an address.
    """
    if not isinstance(place, str) or "://" not in place:
        return place if isinstance(place, RemotePath) else Path(place)
    scheme, _, rest = place.partition("://")
    if scheme == "file":
        if not rest.startswith("/"):
            raise InputError(f"{place} names a file of another machine; write file:///folder")
        return Path(unquote(rest))
    if scheme not in SCHEMES:
        raise InputError(f"{place}: {scheme} is not a way to a store; there are file, {', '.join(SCHEMES)}")
    if "?" in rest or "#" in rest or not rest.strip("/"):
        raise InputError(f"{RemotePath(place)} is not the address of a folder; give it without ? and #")
    if scheme == "hf" and not _HUB.fullmatch(rest.rstrip("/")):
        raise InputError(f"{place} is not a dataset on the hub; write hf://datasets/ORGANISATION/NAME[@REVISION]")
    return RemotePath(place)


@contextmanager
def stream(path: Location, start: int = 0) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Open a file for one reading from a byte on; yield where it really begins, and its blocks.

    It begins at 0 where a server does not give parts of files.

    Raises:
        FileNotFoundError: if it is not there; else what the library of the scheme raises.
    """
    if isinstance(path, Path):
        with path.open("rb") as file:
            file.seek(start)
            yield start, iter(lambda: file.read(BLOCK), b"")
    elif path.scheme == "s3":
        with filesystem("s3").open(path.real, "rb", block_size=_AHEAD, cache_type="readahead") as file:
            file.seek(start)
            yield start, iter(lambda: file.read(BLOCK), b"")
    else:
        headers = {"Range": f"bytes={start}-"} if start else {}
        # size: any, so that nobody asks for it; block_size 0: a stream
        with filesystem(path.scheme).open(path.real, "rb", block_size=0, size=1, headers=headers) as file:
            _check_scheme(path, str(file.r.url))
            yield (start if _begins_at(file.r, start) else 0), iter(lambda: file.read(BLOCK), b"")


def _check_scheme(path: RemotePath, answered: str) -> None:
    if path.real.startswith("https:") and not answered.startswith("https:"):
        raise InputError(
            f"{path} is redirected to {urlsplit(answered).hostname} without encryption; it is not followed"
        )


def _begins_at(response: Any, start: int) -> bool:
    given = str(response.headers.get("Content-Range", ""))
    return response.status == 206 and given.startswith(f"bytes {start}-")


def filesystem(scheme: str, *, asynchronous: bool = False) -> AbstractFileSystem:
    """Return fsspec's file system of a scheme; one per process, so that connections are used again.

    Raises:
        InputError: if a library for it is not installed.
    """
    return _filesystem("http" if scheme == "https" else scheme, asynchronous, os.getpid())


@cache
def _filesystem(scheme: str, asynchronous: bool, _pid: int) -> AbstractFileSystem:
    try:
        import fsspec

        if scheme == "s3":
            return fsspec.filesystem("s3", asynchronous=asynchronous, **_s3_options())
        return fsspec.filesystem("http", asynchronous=asynchronous, client_kwargs=_client(scheme))
    except ImportError:
        extra = "s3" if scheme == "s3" else "remote"
        raise InputError(f"addresses with {scheme}:// need more packages: pip install 'nextham[{extra}]'") from None


def _client(scheme: str) -> dict[str, Any]:
    from aiohttp import ClientTimeout

    headers = {"User-Agent": f"nextham/{__version__}", "Accept-Encoding": "identity"}  # parts of files as they are
    if scheme == "hf" and (token := os.environ.get("HF_TOKEN")):
        headers["Authorization"] = f"Bearer {token}"  # which aiohttp drops where another host takes over
    timeout = ClientTimeout(total=None, sock_connect=30.0, sock_read=_SILENCE_S)
    return {"headers": headers, "timeout": timeout, "trust_env": True}


def _s3_options() -> dict[str, Any]:
    """Return options that the environment does not set (FSSPEC_S3_ENDPOINT_URL ...): no credentials, no signature."""
    from botocore.session import get_session

    return {"anon": True} if get_session().get_credentials() is None else {}


def concurrently(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return a function's results for items, asked for at once: what takes long is the way."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(function, items))

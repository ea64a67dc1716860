"""A shard behind an address, for Zarr: parts of files, asked for patiently, and kept while they may be wanted again."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, WrapperStore

from nextham.data.layout import operator_of
from nextham.data.patience import Patience, gone
from nextham.data.remote import RemotePath, filesystem

_KEPT_BYTES: Final = 32 * 2**20  # of each shard: neighbours share chunks of 1 MB, and the index of a file is read often
_KEPT_WHOLE_BYTES: Final = 192 * 2**20  # where a server gives whole files only
_Request = tuple[str, ByteRequest | None]


class Ranged(WrapperStore[FsspecStore]):
    """The files of a shard's folder; of operators' numbers only the parts that are asked for.

    Args:
        path: the folder.
        kept: a folder with some of its files, checked: they are not asked for.
        moved: told how many bytes came.
        patience: with what goes wrong.
    """

    def __init__(
        self,
        path: RemotePath,
        *,
        kept: Path | None = None,
        moved: Callable[[int], object] | None = None,
        patience: Patience = Patience(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(_opened(path.real, path.scheme, os.getpid()))
        self.place = path
        self._kept, self._moved, self._patience = kept, moved, patience
        self._pid = os.getpid()
        self._held: OrderedDict[_Request, bytes] = OrderedDict()
        self._limit = _KEPT_BYTES
        self._coming: dict[_Request, asyncio.Task[bytes | None]] = {}

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return a file or a part of it, None if there is no such file."""
        if self._kept is not None and (file := self._kept / key).is_file():
            return prototype.buffer.from_bytes(_part(file.read_bytes(), byte_range))
        whole = operator_of(key) is None or isinstance(byte_range, OffsetByteRequest)
        found = await self._asked((key, None if whole else byte_range))
        if found is None:
            return None
        return prototype.buffer.from_bytes(_part(found, byte_range) if whole else found)

    def forget(self) -> None:
        """Drop what is held: it turned out to be damaged."""
        self._held.clear()

    async def exists(self, key: str) -> bool:
        """Return whether there is a file."""
        return await self._asked((key, None)) is not None

    async def _asked(self, request: _Request) -> bytes | None:
        """Return what is held or on its way already, or ask for it."""
        if self._pid != os.getpid():  # a forked process has no connection and no loop of its parent's
            self._pid, self._coming = os.getpid(), {}
            self._store = _opened(self.place.real, self.place.scheme, self._pid)
        key, byte_range = request
        for held in ((key, None), request):
            if held in self._held:
                self._held.move_to_end(held)
                return self._held[held] if held == request else _part(self._held[held], byte_range)
        if request not in self._coming:
            self._coming[request] = asyncio.create_task(self._fetched(request))
            self._coming[request].add_done_callback(lambda _: self._coming.pop(request, None))
        return await asyncio.shield(self._coming[request])

    async def _fetched(self, request: _Request) -> bytes | None:
        key, byte_range = request
        path = self.place / key

        async def once() -> bytes | None:
            start, end = _limits(byte_range)
            try:
                found: bytes = await self._store.fs._cat_file(f"{self.place.real}/{key}", start=start, end=end)
            except Exception as error:
                if gone(error):
                    return None
                raise
            if (wanted := _length(byte_range)) is not None and len(found) < wanted:
                raise OSError(f"{len(found)} of {wanted} bytes came")
            return found

        found = await self._patience.of_async(once, path)
        if found is None:
            return None
        if self._moved is not None:
            self._moved(len(found))
        wanted = _length(byte_range)
        if wanted is not None and len(found) > wanted:  # all of the file: no parts are to be had
            _tell_once(self.place.host, self._kept is not None)
            self._limit = _KEPT_WHOLE_BYTES
            self._keep((key, None), found)
            return _part(found, byte_range)
        self._keep(request, found)
        return found

    def _keep(self, request: _Request, content: bytes) -> None:
        self._held[request] = content
        while len(self._held) > 1 and sum(map(len, self._held.values())) > self._limit:
            self._held.popitem(last=False)


def _limits(byte_range: ByteRequest | None) -> tuple[int | None, int | None]:
    match byte_range:
        case RangeByteRequest():
            return byte_range.start, byte_range.end
        case OffsetByteRequest():
            return byte_range.offset, None
        case SuffixByteRequest():
            return -byte_range.suffix, None
        case _:
            return None, None


def _length(byte_range: ByteRequest | None) -> int | None:
    match byte_range:
        case RangeByteRequest():
            return byte_range.end - byte_range.start
        case SuffixByteRequest():
            return byte_range.suffix
        case _:
            return None


def _part(content: bytes, byte_range: ByteRequest | None) -> bytes:
    return content[slice(*_limits(byte_range))]


@cache
def _tell_once(host: str, downloading: bool) -> None:
    faster = "all of the dataset may come sooner than a part" if downloading else "nextham download is faster"
    print(f"{host} gives whole files only, so each part that is read costs its file; {faster}", file=sys.stderr)  # noqa: T201


@cache
def _opened(url: str, scheme: str, _pid: int) -> FsspecStore:
    fs = filesystem(scheme, asynchronous=True)
    _close_at_exit(_pid, scheme)
    return FsspecStore(fs, read_only=True, path=url)


@cache
def _close_at_exit(_pid: int, scheme: str) -> None:
    """Let an HTTP session be closed before Zarr's loop ends, which Python would complain of."""
    fs = filesystem(scheme, asynchronous=True)

    async def close() -> None:
        session = getattr(fs, "_session", None)
        if session is not None and scheme != "s3":
            await session.close()

    atexit.register(lambda: sync(close()) if os.getpid() == _pid else None)

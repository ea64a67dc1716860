"""Calls made in other processes a few ahead of their use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Generic, Self, TypeVar

Result = TypeVar("Result")


class ReadAhead(Generic[Result]):
    """Calls made in processes a few ahead of their use, in order; with one worker they are made when used."""

    def __init__(self, calls: Sequence[Callable[[], Result]], workers: int) -> None:
        self._calls = calls
        self._workers = min(workers, len(calls))
        self._futures: dict[int, Future[Result]] = {}
        self._pool = ProcessPoolExecutor(self._workers, mp_context=get_context("spawn")) if self._workers > 1 else None

    def __call__(self, k: int) -> Result:
        """Return the result of call k."""
        if self._pool is None:
            return self._calls[k]()
        for ahead in range(k, min(k + 2 * self._workers, len(self._calls))):
            if ahead not in self._futures:
                self._futures[ahead] = self._pool.submit(self._calls[ahead])
        result = self._futures[k].result()
        self._futures[k] = Future()  # done with: its system need not stay in memory
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

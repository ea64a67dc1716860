"""Calls made at the same time by threads, which go on where one fails: what can be had is had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final

from nextham.data.patience import UnreachableError
from nextham.data.transfer import StoppedError, Traffic
from nextham.exceptions import NexthamError, WriteError

_ENOUGH: Final = 20  # failures, after which nothing else is tried


class Crew:
    """Threads for the calls of one download, and what failed."""

    def __init__(self, jobs: int, traffic: Traffic) -> None:
        self._jobs, self._traffic = jobs, traffic
        self.failures: list[NexthamError] = []

    def run(self, calls: Sequence[Callable[[], object]]) -> bool:
        """Make the calls; return whether all of them went well, when all are made or given up."""
        before = len(self.failures)
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                for done in as_completed([pool.submit(self._made, call) for call in calls]):
                    done.result()
            except BaseException:  # Ctrl-C
                self._traffic.stop.set()
                raise
        return len(self.failures) == before and not self.given_up

    def note(self, error: NexthamError) -> None:
        """Note a failure; some mean that the rest would fail too."""
        self.failures.append(error)
        if isinstance(error, UnreachableError | WriteError) or len(self.failures) >= _ENOUGH:
            self._traffic.stop.set()

    @property
    def given_up(self) -> bool:
        """Whether nothing else is tried."""
        return self._traffic.stop.is_set()

    def told(self) -> NexthamError:
        """Return one sentence for all failures."""
        first, more = self.failures[0], len(self.failures) - 1
        if isinstance(first, WriteError):
            return first
        others = f" (and {more} more like this)" if more else ""
        return type(first)(f"{first}{others}; what was fetched is kept, run the command again to go on")

    def _made(self, call: Callable[[], object]) -> None:
        if self.given_up:
            return
        try:
            call()
        except StoppedError:
            return
        except NexthamError as error:
            self.note(error)

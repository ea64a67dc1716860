"""What goes wrong on the way to an address: which of it passes, how long to wait, and how to say the rest."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from nextham.exceptions import InputError

if TYPE_CHECKING:
    from nextham.data.remote import Location

Result = TypeVar("Result")
_BUSY: Final = {408, 425, 429, 500, 502, 503, 504}
_CLOSED: Final = {401, 403}
_GONE: Final = {404, 410}
_LONGEST_S: Final = 300.0  # that a server may ask for
_KNOCKS: Final = 2  # more of them at a closed door only keep people waiting: mostly the network is down


class UnreachableError(InputError):
    """There is no way to the host: asking for another file is of no use."""


@dataclass(frozen=True)
class Patience:
    """How often what failed is tried again, and after which waits: 1, 2, 4 ... s, or what the server asks for."""

    retries: int = 5
    first_s: float = 1.0
    longest_s: float = 60.0

    def lasts(self, failures: int, error: Exception) -> bool:
        """Return whether to try again after so many failures in a row."""
        return passes(error) and failures <= (min(self.retries, _KNOCKS) if unreachable(error) else self.retries)

    def wait_s(self, failures: int, error: Exception) -> float:
        """Return the seconds until the next attempt after so many failures in a row (1 or more)."""
        own: float = min(self.first_s * 2 ** (failures - 1), self.longest_s)
        asked = min(_asked_s(error), _LONGEST_S)
        return max(asked, own * random.uniform(0.8, 1.2))  # noqa: S311  (not all at the same time)

    def of(self, call: Callable[[], Result], path: Location) -> Result:
        """Return what a call gives in the end.

        Raises:
            InputError: if it fails for good, or too often.
        """
        failures = 0
        while True:
            try:
                return call()
            except InputError:
                raise
            except Exception as error:
                failures += 1
                if not self.lasts(failures, error):
                    raise told(error, path, failures) from None
                time.sleep(self.wait_s(failures, error))

    async def of_async(self, call: Callable[[], Awaitable[Result]], path: Location) -> Result:
        """Return the same of a coroutine function."""
        failures = 0
        while True:
            try:
                return await call()
            except InputError:
                raise
            except Exception as error:
                failures += 1
                if not self.lasts(failures, error):
                    raise told(error, path, failures) from None
                await asyncio.sleep(self.wait_s(failures, error))


def passes(error: Exception) -> bool:
    """Return whether the same request may go well later: the server is busy, or the connection broke."""
    if status := _status(error):
        return status in _BUSY
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError | ValueError):
        return False
    if _is(error, "RedirectClientError", "TooManyRedirects", "ClientSSLError"):
        return False
    return isinstance(error, OSError) or _is(error, "ClientError", "EndpointConnectionError")  # so is TimeoutError


def unreachable(error: Exception) -> bool:
    """Return whether there is no way to the host."""
    return _is(error, "ClientConnectorError", "EndpointConnectionError") and not _is(error, "ClientSSLError")


def gone(error: Exception) -> bool:
    """Return whether the answer is that there is no such file; s3 says "forbidden" where it may not list a folder."""
    return isinstance(error, FileNotFoundError | PermissionError) or _status(error) in _GONE | _CLOSED


def told(error: Exception, path: Location, attempts: int = 1) -> InputError:
    """Return the sentence for a failure that is final."""
    status, host = _status(error), getattr(path, "host", "this machine")
    if isinstance(error, FileNotFoundError) or status in _GONE:
        return InputError(f"{path} does not exist; check the address")
    if isinstance(error, PermissionError) or status in _CLOSED or _is(error, "NoCredentialsError"):
        return InputError(f"{host} does not give {path} to everybody; {_key(path)}")
    if unreachable(error):
        return UnreachableError(f"{host} cannot be reached ({_reason(error)}); check the network and the address")
    if _is(error, "RedirectClientError", "TooManyRedirects"):
        return InputError(f"{path} is redirected in circles, or to what is no address of a web server")
    if _is(error, "WrongFileError"):
        return InputError(f"{path} is not what files.json says ({error}): it is damaged there, tell who publishes it")
    tries = f" in {attempts} attempts" if attempts > 1 else ""
    return InputError(f"{path} could not be read{tries} ({_reason(error)})")


def _key(path: Location) -> str:
    keys = {"hf": "set HF_TOKEN to a token that may read it", "s3": "set up AWS credentials that may read it"}
    return keys.get(getattr(path, "scheme", ""), "ask who publishes it for access")


def _reason(error: Exception) -> str:
    if status := _status(error):
        return f"the server answers {status}"
    if _is(error, "ClientConnectorDNSError"):
        return "its name is unknown"
    if unreachable(error):
        system = getattr(error, "os_error", None)
        return str(getattr(system, "strerror", None) or "no connection")
    if _is(error, "ClientPayloadError", "ServerDisconnectedError") or isinstance(error, ConnectionError):
        return "the connection broke off"
    if isinstance(error, TimeoutError):
        return "the server went silent"
    return " ".join(str(error).split()) or type(error).__name__


def _status(error: Exception) -> int:
    found = getattr(error, "status", 0)
    return found if isinstance(found, int) else 0


def _asked_s(error: Exception) -> float:
    asked = str((getattr(error, "headers", None) or {}).get("Retry-After", ""))
    return float(asked) if asked.isdecimal() else 0.0


def _is(error: Exception, *names: str) -> bool:
    """Return whether an error is of a class of these names, whose libraries need not be there."""
    return any(cls.__name__ in names for cls in type(error).__mro__)

"""What both command lines share: progress with ETA and errors in one sentence."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nextham.exceptions import InputError, NexthamError, reason_of

Item = TypeVar("Item")
Settings = TypeVar("Settings", bound=BaseModel)
_PLAIN_INTERVAL_S = 5.0
_EXTRA = {
    "h5py": "deeph",
    "torch": "train",
    "e3nn": "train",
    "lightning_fabric": "train",
    "safetensors": "train",
    "tensorboard": "tensorboard",
    "snakemake": "workflow",
    "fsspec": "remote",
    "aiohttp": "remote",
    "s3fs": "s3",
    "botocore": "s3",
    "mp_api": "mp",
    "emmet": "mp",
}


def track(items: Iterable[Item], description: str, *, total: int | None = None) -> Iterator[Item]:
    """Yield items while showing progress and time left on standard error.

    A terminal gets a bar; a log file or pipe gets a plain line every few seconds. No items, nothing shown.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if total == 0:
        return
    if sys.stderr.isatty():
        yield from _bar(items, description, total)
    else:
        yield from _lines(items, description, total)


def _bar(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import track as rich_track

    console = Console(stderr=True)
    yield from rich_track(items, description, total=total, console=console, transient=False)


def _lines(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    start = last = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= _PLAIN_INTERVAL_S or done == total:
            last = now
            print(_line(description, done, total, now - start), file=sys.stderr, flush=True)  # noqa: T201


def _line(description: str, done: int, total: int | None, seconds: float) -> str:
    if not total:
        return f"{description}: {done} in {seconds:.0f} s"
    left = seconds / done * (total - done)
    return f"{description}: {done}/{total} ({100 * done / total:.0f} %), {seconds:.0f} s, ETA {left:.0f} s"


def size_text(n_bytes: float) -> str:
    """Return bytes in words.

    >>> size_text(512), size_text(2.5e6)
    ('512 bytes', '2.5 MB')
    """
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= power:
            return f"{n_bytes / power:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"


@contextmanager
def meter(description: str) -> Iterator[Callable[[float, str], None]]:
    """Yield a function that is told which part of the work is behind, 0 to 1, and where it is, and show both.

    For work whose steps are not known beforehand. A terminal gets a bar, a log file or pipe a plain line every few
    seconds, both with the time left.
    """
    show = _meter_bar if sys.stderr.isatty() else _meter_lines
    with show(description) as tell:
        yield tell


@contextmanager
def _meter_bar(description: str) -> Iterator[Callable[[float, str], None]]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=1.0)
        yield lambda done, where: bar.update(task, completed=done, description=f"{description}, {where}")


@contextmanager
def _meter_lines(description: str) -> Iterator[Callable[[float, str], None]]:
    start = last = time.monotonic()
    first: float | None = None  # what was behind before this began

    def tell(done: float, where: str) -> None:
        nonlocal first, last
        now = time.monotonic()
        first = done if first is None else first
        if now - last >= _PLAIN_INTERVAL_S:
            last = now
            left = f"{(now - start) / (done - first) * (1 - done):.0f} s" if done > first else "?"
            said = f"{description}, {where}: {100 * done:.1f} %, {now - start:.0f} s, ETA {left}"
            print(said, file=sys.stderr, flush=True)  # noqa: T201

    yield tell


@contextmanager
def transfer(description: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told of bytes as they come (from any thread), and show how far it is.

    A terminal gets a bar with speed and time left; a log file or pipe gets a plain line every few seconds.
    """
    show = _transfer_bar if sys.stderr.isatty() else _transfer_lines
    with show(description, total_bytes) as moved:
        yield moved


@contextmanager
def _transfer_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total)
        yield lambda n: progress.advance(task, n)


@contextmanager
def _transfer_lines(description: str, total: int) -> Iterator[Callable[[int], None]]:
    start = last = time.monotonic()
    done, lock = 0, threading.Lock()

    def moved(n: int) -> None:
        nonlocal done, last
        with lock:
            done, now = done + n, time.monotonic()
            if now - last >= _PLAIN_INTERVAL_S:
                last = now
                print(_transfer_line(description, done, total, now - start), file=sys.stderr, flush=True)  # noqa: T201

    yield moved


def _transfer_line(description: str, done: int, total: int, seconds: float) -> str:
    speed = done / max(seconds, 1e-3)
    left = f"{max(0, total - done) / speed:.0f} s" if done > 0 else "?"
    return f"{description}: {done / 1e6:.1f}/{total / 1e6:.1f} MB, {speed / 1e6:.1f} MB/s, {seconds:.0f} s, ETA {left}"


def load_settings(cls: type[Settings], text: str | None) -> Settings:
    """Return settings from a YAML file's path or from YAML/JSON text; None gives the defaults.

    Raises:
        InputError: if a key is unknown or a value is out of range.
    """
    if not text:
        return cls()
    written_out = any(mark in text for mark in ("{", ": ", "\n"))
    where = "the given settings" if written_out else text
    values = _parsed(text, where) if written_out else read_yaml(Path(text), "settings file")
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{where}: {first_problem(error, cls)}") from None


def read_yaml(file: Path, what: str) -> dict[str, Any]:
    """Return the keys of a YAML file, none of an empty one.

    Args:
        file: to read.
        what: it is, for messages, e.g. "settings file".

    Raises:
        InputError: if there is no such file, or it holds something else.
    """
    if not file.is_file():
        raise InputError(f"there is no {what} {file}")
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the {what} {file} cannot be read: {error}") from None
    return _parsed(text, str(file))


def _parsed(text: str, where: str) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from None
    if values is not None and not isinstance(values, dict):
        raise InputError(f"{where} holds a {type(values).__name__}, not keys with values, e.g. engine: lcao")
    return values or {}


def first_problem(error: ValidationError, cls: type[BaseModel]) -> str:
    """Return the first problem of a failed validation as one sentence, with near names of a misspelt key."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        said = problem["msg"].removeprefix("Value error, ")
        return f"{key}: {said}" if key else said
    known: type[BaseModel] = cls
    for part in problem["loc"][:-1]:
        inner = known.model_fields[str(part)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        known = inner
    near = get_close_matches(str(problem["loc"][-1]), known.model_fields, n=1)
    return f"{key} is not a setting" + (f"; did you mean {near[0]}?" if near else "")


def run(app: object, name: str) -> None:
    """Run a typer app; what a user can mend becomes one sentence on standard error and exit status 1.

    OpenBLAS gets one thread unless the user says otherwise: the matrices of one structure are small, the work
    is parallel over structures, and threads that wait for a busy core slow eigenproblems down fifty times. Threads of
    OpenMP sleep while they wait: spinning, two of them take forty times as long over a training step on a busy machine.
    """
    if not any(os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")):
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when numpy is first imported, inside a command
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported
    warnings.showwarning = lambda message, *_, **__: print(f"{name}: warning: {message}", file=sys.stderr)  # noqa: T201
    try:
        app()  # type: ignore[operator]
    except NexthamError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None
    except BrokenPipeError:
        raise SystemExit(141) from None
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRA:
            raise
        extra = _EXTRA[error.name.partition(".")[0]]
        sentence = f"this command needs the package {error.name}: pip install 'nextham[{extra}]'"
        print(f"{name}: {sentence}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"{name}: {where}{reason_of(error)}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None

"""Files and folders that appear under their name whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nextham.exceptions import InputError, WriteError

_SYNCS_AT_ONCE: Final = 32
_OLD: Final = ".old"
_NO_LINKS: Final = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)


def read_list(path: Path, what: str) -> list[str]:
    """Return the lines of a text file, without empty ones and without what follows a # in one.

    Raises:
        InputError: if there is no such file, or it is no text; ``what`` says of what it should be a list.
    """
    if not path.is_file():
        raise InputError(f"there is no list of {what} {path}")
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file, as a list of {what} is") from None
    return [text for line in lines if (text := line.partition("#")[0].strip())]


def partial_of(path: Path) -> Path:
    """Return a hidden name beside a path for what is not finished; it says who is writing."""
    writer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.parent / f".{path.name}.partial-{writer}"


@contextmanager
def partial(path: Path) -> Iterator[Path]:
    """Yield a name to write to, which is removed at the end; move it away before with put_in_place.

    Raises:
        WriteError: naming the path itself, in place of an OSError.
    """
    part = partial_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
    except OSError as error:
        raise WriteError.of(path, error) from error
    finally:
        _remove(part)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a name to write a file or folder to; it gets the name ``path`` if the block ends well."""
    with partial(path) as part:
        yield part
        put_in_place(part, path)


def put_in_place(part: Path, path: Path) -> None:
    """Give a finished file or folder its name, in place of an older one, once it is on disk."""
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:  # the disk serves many at the price of one
        list(pool.map(_sync, [part, *part.rglob("*")]))
    old = None
    if part.is_dir() and path.exists():
        old = part.with_name(part.name + _OLD)
        path.rename(old)
    part.replace(path)
    _sync(path.parent)
    if old is not None:
        _remove(old)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where that cannot be: to another disk, or where there are no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, target)


def clear_leftovers(path: Path) -> None:
    """Remove what killed processes of this machine left beside a path.

    If one was killed while it replaced the path, the path gets its old content back. Unfinished work of living
    processes and of other machines stays.
    """
    name = re.compile(rf"\.{re.escape(path.name)}\.partial-(?P<host>.+)-(?P<pid>\d+)-[0-9a-f]{{8}}(?P<old>\.old)?")
    here = [(found, name.fullmatch(found.name)) for found in sorted(path.parent.glob(".*"))]
    for found, match in here:
        if match is None or match["host"] != socket.gethostname() or _alive(int(match["pid"])):
            continue
        if match["old"] and not path.exists():
            found.rename(path)
        else:
            _remove(found)


def check_plain(path: Path) -> None:
    """Refuse a file or folder that is, or holds, anything but plain files and folders.

    A link may lead anywhere, and reading a pipe or device may never end.

    Raises:
        InputError: naming the first one.
    """
    mode = path.lstat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path} is a link or no plain file; put the file itself in its place")
    if stat.S_ISDIR(mode):
        for inner in sorted(path.iterdir()):
            check_plain(inner)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()  # Z: ended, but nobody has asked how
    except OSError:  # no Linux, or ended just now
        return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        try:
            path.unlink(missing_ok=True)
        except OSError:  # its folder is a file, or may not be changed: then nothing was written there
            return


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Archives from strangers: unpacked into one folder, plain files alone, never much larger than the archive."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO, Final, NamedTuple

from nextham.exceptions import InputError
from nextham.files import whole

ENDINGS: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
_MAX_MEMBERS: Final = 200_000
_GROWTH: Final = 30  # stores are compressed already: an honest archive grows little
_ALLOWANCE: Final = 64 * 2**20
_COPY: Final = 2**20
_DAMAGED: Final = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, NotImplementedError, RuntimeError, ValueError),
)


class _Member(NamedTuple):
    name: str
    stream: IO[bytes] | None  # None for a folder


def is_archive(path: Path) -> bool:
    """Return whether a path looks like an archive that :func:`unpack` reads."""
    return path.is_file() and path.name.lower().endswith(ENDINGS)


def refuse_archive(path: Path) -> None:
    """Refuse an archive where a folder is needed."""
    if is_archive(path):
        raise InputError(f"{path} is an archive; unpack it with nextham-bench unpack {path} -o FOLDER")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into a new folder, which appears whole or not at all.

    Raises:
        InputError: if the folder exists, or the archive is damaged, holds anything but plain files and folders
            inside itself, holds a name twice, or grows beyond what data does.
    """
    if not is_archive(archive):
        raise InputError(f"{archive} is not an archive ({', '.join(ENDINGS)})")
    if folder.exists():
        raise InputError(f"{folder} exists already; choose another name")
    limit = _GROWTH * archive.stat().st_size + _ALLOWANCE
    try:
        with whole(folder) as part:
            part.mkdir()
            _write(_members(archive), part, archive, limit)
    except InputError:
        raise
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{archive} cannot be unpacked ({reason}); make or fetch it again") from None


def _write(members: Iterator[_Member], folder: Path, archive: Path, limit: int) -> None:
    left, seen = limit, set[str]()
    for count, (name, stream) in enumerate(members):
        if count >= _MAX_MEMBERS:
            raise InputError(f"{archive} holds more than {_MAX_MEMBERS} files; a store has few large ones")
        path = folder / _confined(name, archive)
        if stream is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        if name in seen or path.exists():
            raise InputError(f"{archive} holds {name} twice; make it again")
        seen.add(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with stream, path.open("xb") as out:
            while chunk := stream.read(min(_COPY, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise InputError(
                        f"{archive} unpacks to more than {_GROWTH} times its size, which no data of a store does; "
                        "it is not unpacked"
                    )
                out.write(chunk)


def _confined(name: str, archive: Path) -> Path:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name or ":" in name or not pure.parts:
        raise InputError(f"{archive} holds the path {name!r}, which leads out of its folder; it is not unpacked")
    return Path(*pure.parts)


def _members(archive: Path) -> Iterator[_Member]:
    with ExitStack() as opened:
        if archive.name.lower().endswith(".zip"):
            yield from _zipped(opened.enter_context(zipfile.ZipFile(archive)), archive)
        else:
            yield from _tarred(opened.enter_context(tarfile.open(archive, "r|*")), archive)


def _zipped(file: zipfile.ZipFile, archive: Path) -> Iterator[_Member]:
    for info in file.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.flag_bits & 1:
            raise InputError(f"{archive} is encrypted; send it without a password")
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise _no_plain_file(archive, info.filename)
        yield _Member(info.filename, None if info.is_dir() else file.open(info))


def _tarred(file: tarfile.TarFile, archive: Path) -> Iterator[_Member]:
    for info in file:
        if not (info.isdir() or (info.isreg() and not info.issparse())):
            raise _no_plain_file(archive, info.name)
        if info.isdir():
            if PurePosixPath(info.name) != PurePosixPath("."):
                yield _Member(info.name, None)
            continue
        stream = file.extractfile(info)
        assert stream is not None  # a regular file has one
        yield _Member(info.name, stream)


def _no_plain_file(archive: Path, name: str) -> InputError:
    return InputError(f"{archive} holds {name}, which is a link or no plain file; it is not unpacked")

"""Checksums of files and of folders of files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def content_of(path: Path) -> tuple[int, str]:
    """Return the bytes of a folder's files, and the sha256 over their sorted names and contents."""
    files = [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files), digest_of(
        {file.relative_to(path).as_posix(): sha256_of(file) for file in files}
    )


def sha256_of(file: Path) -> str:
    """Return the sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(files: Mapping[str, str]) -> str:
    """Return the sha256 of a shard from those of its files, by their names in its folder."""
    digest = hashlib.sha256()
    for name in sorted(files, key=lambda name: name.split("/")):
        digest.update(f"{name} {files[name]}\n".encode())
    return digest.hexdigest()

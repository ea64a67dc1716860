"""What the operating system refuses is told in one sentence."""

from __future__ import annotations

import errno
import os

import pytest

from nextham.console import run

END = {
    errno.ENOSPC: "the disk is full; make room and start the command again",
    errno.EDQUOT: "the disk is full; make room and start the command again",
    errno.EACCES: "permission denied; choose another place or change the permissions",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another place",
    errno.EMFILE: "Too many open files; check the path",
}


@pytest.mark.parametrize("number", END)
@pytest.mark.parametrize("place", ["out/x", None])
def test_one_sentence_and_exit_status_1(capsys, number, place):
    def app() -> None:
        raise OSError(number, os.strerror(number), *([place] if place else []))

    with pytest.raises(SystemExit) as stopped:
        run(app, "nextham")
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"nextham: {'out/x: ' if place else ''}{END[number]}\n"

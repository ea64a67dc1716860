"""Archives from strangers: honest ones are unpacked whole, every other leaves nothing behind."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from nextham_bench.cli import app
from nextham_bench.submission.archive import unpack
from nextham_bench.submission.folder import Submission
from typer.testing import CliRunner

from nextham.exceptions import InputError

CONTENT = {"card.yml": b"name: x\n", "prediction/store.json": b"{}", "prediction/shard-00000.zarr/zarr.json": b"{}"}


def tarred(path: Path, *members: tarfile.TarInfo, content: bytes = b"x") -> Path:
    ending = path.name.rpartition(".")[2]
    with tarfile.open(path, "w" if ending == "tar" else f"w:{ending}") as archive:  # type: ignore[call-overload]
        for name, data in CONTENT.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in members:
            if info.isreg():
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return path


def zipped(path: Path, members: dict[str, bytes] | None = None, *, mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in CONTENT.items():
            archive.writestr(name, data)
        for name, data in (members or {}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, data, compress_type=zipfile.ZIP_DEFLATED)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refusal(archive: Path) -> str:
    out = archive.parent / "out"
    with pytest.raises(InputError) as error:
        unpack(archive, out)
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]  # nothing is left, nothing escaped
    return str(error.value).removeprefix(f"{archive} ")


@pytest.mark.parametrize("name", ["s.tar", "s.tar.gz", "s.tar.xz", "s.tar.bz2", "s.zip"])
def test_an_honest_archive(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / name) if name.endswith("zip") else tarred(tmp_path / name)
    result = CliRunner().invoke(app, ["unpack", str(archive), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    for file, data in CONTENT.items():
        assert (tmp_path / "out" / file).read_bytes() == data
    with pytest.raises(InputError, match="exists already; choose another name"):
        unpack(archive, tmp_path / "out")


OUTSIDE = ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "C:evil"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_paths_that_lead_outside(tmp_path: Path, name: str) -> None:
    expected = f"holds the path {name!r}, which leads out of its folder; it is not unpacked"
    archive = tarred(tmp_path / "s.tar", member(name))
    assert refusal(archive) == expected
    archive.unlink()
    assert refusal(zipped(tmp_path / "s.zip", {name: b"x"})) == expected


@pytest.mark.parametrize(
    "made",
    [
        lambda path: tarred(path / "s.tar", member("evil", tarfile.SYMTYPE, "/etc/passwd")),
        lambda path: tarred(path / "s.tar", member("evil", tarfile.LNKTYPE, "card.yml")),
        lambda path: tarred(path / "s.tar", member("evil", tarfile.FIFOTYPE)),
        lambda path: tarred(path / "s.tar", member("evil", tarfile.CHRTYPE)),
        lambda path: zipped(path / "s.zip", {"evil": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777),
    ],
)
def test_links_and_devices(tmp_path: Path, made: Callable[[Path], Path]) -> None:
    assert refusal(made(tmp_path)) == "holds evil, which is a link or no plain file; it is not unpacked"


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextham_bench.submission.archive._ALLOWANCE", 1000)
    zeros = bytes(10_000_000)
    expected = "unpacks to more than 30 times its size, which no data of a store does; it is not unpacked"
    archive = zipped(tmp_path / "s.zip", {"zeros": zeros})
    assert archive.stat().st_size < 50_000
    assert refusal(archive) == expected
    archive.unlink()
    archive = tarred(tmp_path / "s.tar.xz", member("zeros"), content=zeros)
    assert refusal(archive) == expected


def test_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextham_bench.submission.archive._MAX_MEMBERS", 5)
    archive = tarred(tmp_path / "s.tar", *(member(str(n)) for n in range(5)))
    assert refusal(archive) == "holds more than 5 files; a store has few large ones"


def test_a_name_twice(tmp_path: Path) -> None:
    assert refusal(tarred(tmp_path / "s.tar", member("card.yml"))) == "holds card.yml twice; make it again"


def test_damaged_archives(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "s.tar.gz", member("large"), content=bytes(range(256)) * 4000)
    archive.write_bytes(archive.read_bytes()[:2000])
    assert "cannot be unpacked (" in refusal(archive)
    archive.unlink()
    archive = zipped(tmp_path / "s.zip")
    archive.write_bytes(b"no archive")
    assert "cannot be unpacked (" in refusal(archive)


def test_an_encrypted_archive(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "s.zip")
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of each header
        content[content.index(signature) + offset] |= 1
    archive.write_bytes(bytes(content))
    assert refusal(archive) == "is encrypted; send it without a password"


def test_archives_are_not_read_in_place(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "s.tar")
    with pytest.raises(InputError) as error:
        Submission.at(archive)
    assert str(error.value) == f"{archive} is an archive; unpack it with nextham-bench unpack {archive} -o FOLDER"
    with pytest.raises(InputError, match=r"is not an archive \(.zip, .tar"):
        unpack(tmp_path, tmp_path / "out")

import numpy as np
import pytest

from nextham.dft.lcao import cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTHAM_CACHE", str(tmp_path))
    cache.forget()
    yield tmp_path
    cache.forget()


def counted():
    calls = []

    def make():
        calls.append(1)
        return np.arange(3.0)

    return make, calls


def test_tables_are_made_once_per_process_and_once_per_disk(folder):
    make, calls = counted()
    for _ in range(2):
        assert np.array_equal(cache.cached("table", "key", make), np.arange(3.0))
    cache.forget()
    cache.cached("table", "key", make)
    assert len(calls) == 1
    cache.cached("table", "other key", make)
    assert len(calls) == 2
    assert not list(folder.rglob("*.part"))


def test_damaged_files_are_made_anew(folder):
    make, calls = counted()
    cache.cached("table", "key", make)
    (file,) = folder.rglob("*.npy")
    for damage in (b"", b"nonsense", file.read_bytes()[:-9]):
        file.write_bytes(damage)
        cache.forget()
        assert np.array_equal(cache.cached("table", "key", make), np.arange(3.0))
    assert len(calls) == 4


def test_a_disk_that_cannot_be_written_is_no_reason_to_stop(folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setenv("NEXTHAM_CACHE", str(folder / "file" / "below"))
    assert len(cache.cached("table", "key", lambda: np.zeros(2))) == 2


def test_tables_cannot_be_changed(folder):
    with pytest.raises(ValueError, match="read-only"):
        cache.cached("table", "key", lambda: np.zeros(2))[0] = 1.0
